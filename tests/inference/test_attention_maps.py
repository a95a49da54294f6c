"""Where a word attended is bright, what it passed over is dim, and every word has its panel."""

import numpy as np
import pytest
from PIL import Image

from wordgaze.generation.outputs import Caption
from wordgaze.inference.attention_maps import MARGIN, PANEL, SHADE, attention_sheet, comparison_sheet, spotlight


def caption(words: int, cells: int) -> Caption:
    """Word number n looks at cell n alone."""
    weights = np.eye(cells, dtype=np.float32)[np.arange(words) % cells]
    side = int(cells**0.5)
    return Caption(("word",) * words, -1.0, -1.0, (-0.5,) * words, weights.reshape(len(weights), side, side), "end")


@pytest.mark.parametrize("size", [(70, 70), (140, 35), (30, 150)])
@pytest.mark.parametrize("cell", [0, 4, 10, 23, 34])
def test_the_light_falls_where_the_weight_is(size: tuple[int, int], cell: int) -> None:
    rows, columns = 5, 7
    weights = np.full(rows * columns, 0.001, dtype=np.float32)
    weights[cell] = 0.966
    lit = np.asarray(spotlight(Image.new("RGB", size, "white"), weights.reshape(rows, columns)).convert("L"))
    assert lit.shape == (size[1], size[0])
    y, x = np.unravel_index(lit.argmax(), lit.shape)
    assert (y * rows // size[1], x * columns // size[0]) == divmod(cell, columns)
    assert lit.max() > 240
    far = lit[-1, -1] if cell < 18 else lit[0, 0]
    assert abs(int(far) - 255 * SHADE) < 3


def test_even_attention_leaves_the_picture_as_it_is() -> None:
    picture = Image.linear_gradient("L").convert("RGB")
    even = np.full((7, 7), 1 / 49, dtype=np.float32)
    assert np.array_equal(np.asarray(spotlight(picture, even)), np.asarray(picture))


def test_weights_of_zero_are_dark_and_no_error() -> None:
    dark = spotlight(Image.new("RGB", (8, 8), "white"), np.zeros((2, 2), dtype=np.float32))
    assert dark.getextrema() == ((64, 64),) * 3


def panels(sheet: Image.Image, width: int, height: int) -> list[tuple[int, int]]:
    """Left upper corners of the places on the sheet where a panel was drawn, by column and row."""
    array = np.asarray(sheet)
    found = []
    for y in range(MARGIN, sheet.height - height, height + 24 + MARGIN):
        for x in range(MARGIN, sheet.width - width, width + MARGIN):
            if (array[y : y + height, x : x + width] < 255).any():
                found.append((x, y))
    return found


@pytest.mark.parametrize(("words", "rows"), [(0, 1), (1, 1), (5, 1), (6, 2), (12, 3)])
def test_a_sheet_has_the_picture_and_a_panel_a_word(words: int, rows: int) -> None:
    sheet = attention_sheet(Image.new("RGB", (90, 60), "red"), caption(words, 4))
    width, height = PANEL, round(PANEL * 60 / 90)
    found = panels(sheet, width, height)
    assert len(found) == words + 1
    assert len({y for _, y in found}) == rows
    assert sheet.getpixel((MARGIN + width // 2, MARGIN + height // 2)) == (255, 0, 0)


def test_each_panel_shows_its_own_word() -> None:
    sheet = attention_sheet(Image.new("RGB", (100, 100), "white"), caption(3, 4))
    brightest = []
    for word in range(3):
        left = MARGIN + (word + 1) * (PANEL + MARGIN)
        panel = np.asarray(sheet.crop((left, MARGIN, left + PANEL, MARGIN + PANEL)).convert("L"))
        y, x = np.unravel_index(panel.argmax(), panel.shape)
        brightest.append(int(y * 2 // PANEL * 2 + x * 2 // PANEL))
    assert brightest == [0, 1, 2]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (4000, 20)])
def test_pictures_of_any_shape_have_a_sheet(size: tuple[int, int]) -> None:
    sheet = attention_sheet(Image.new("RGB", size, "red"), caption(2, 4))
    assert max(sheet.size) < 4 * (PANEL + MARGIN) + 24


def test_captioners_are_compared_in_rows_that_are_wrapped() -> None:
    picture, width, height = Image.new("RGB", (90, 60), "red"), PANEL, round(PANEL * 60 / 90)
    sheet = comparison_sheet(picture, [("one", caption(3, 4)), ("other", caption(7, 9))], columns=5)
    corners = panels(sheet, width, height)
    assert [len([x for x, of_row in corners if of_row == y]) for y in sorted({y for _, y in corners})] == [4, 5, 3]


def ink(weights: list[float]) -> int:
    """Dark pixels of the label under the one word's panel."""
    generated = Caption(("word",), -1.0, -1.0, (-0.5,), np.array([[weights]], dtype=np.float32), "end")
    sheet = attention_sheet(Image.new("RGB", (90, 90), "red"), generated)
    return int((np.asarray(sheet.convert("L"))[MARGIN + PANEL :] < 128).sum())


def test_attention_that_fell_on_no_cell_is_reported_under_the_panel() -> None:
    assert ink([0.1, 0.3]) > ink([0.25, 0.75]) == ink([0.5, 0.498])


def labelled(words: tuple[str, ...], attention: float = 1.0) -> Caption:
    weights = np.full((len(words), 2, 2), attention / 4, dtype=np.float32)
    return Caption(words, -1.0, -1.0, (-0.5,) * len(words), weights, "end")


def test_case_words_drawn_as_boxes_other_words_have_other_labels() -> None:
    picture = Image.new("RGB", (60, 60), "white")
    sheets = [attention_sheet(picture, labelled((word,))).tobytes() for word in ("Bär", "Bör", "кот", "кит", "قطة")]
    assert len(set(sheets)) == 5


def test_panels_of_a_right_to_left_caption_run_to_the_left() -> None:
    picture = Image.new("RGB", (60, 60), "red")
    sheet = attention_sheet(picture, labelled(("قطة",) * 6))
    assert sheet.size == attention_sheet(picture, labelled(("cat",) * 6)).size
    second = np.asarray(sheet)[sheet.height // 2 :]
    assert (second[20:60, -60:-20, 0] > second[20:60, -60:-20, 1]).all()  # the seventh panel, at the right
    assert (second[:, :900] == 255).all()
    assert (second[-30:, -120:] < 128).any()  # its label, at the right too
    comparison = comparison_sheet(picture, [("one", labelled(("قطة",))), ("two", labelled(("قطة",)))])
    assert comparison.width == 2 * (PANEL + MARGIN) + MARGIN


def test_labels_of_a_narrow_picture_do_not_cover_one_another() -> None:
    sheet = attention_sheet(Image.new("RGB", (20, 100), "red"), labelled(("gegenüber",) * 3, 0.8))
    below = (np.asarray(sheet)[-MARGIN - 48 :] < 128).any((0, 2))
    gaps = np.diff(np.flatnonzero(below))
    assert (gaps > 6).sum() >= 2


def test_a_label_never_leaves_the_sheet() -> None:
    sheet = attention_sheet(Image.new("RGB", (60, 60), "red"), labelled(("Donaudampfschifffahrtsgesellschaft" * 3,)))
    assert (np.asarray(sheet)[:, -MARGIN:] == 255).all()
