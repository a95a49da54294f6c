"""Where attention is, against where the named things are: hand-made grids, baselines, and what must hold of any."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core.errors import ScoreError
from wordgaze.data.datasets.scenes import Scenes
from wordgaze.data.records import Box
from wordgaze.metrics.grounding import Boxed, Grounding, cells_covered, centre_attention
from wordgaze.text.objects import Lexicon

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AttendedCaption:
    words: tuple[str, ...]
    weights: npt.NDArray[np.float32]


def attended(text: str, *weights: list[float]) -> AttendedCaption:
    return AttendedCaption(tuple(text.split()), np.array(weights, dtype=np.float32))


def one(scores: dict[str, npt.NDArray[np.float64]]) -> dict[str, float]:
    return {name: score.item() for name, score in scores.items()}


def score(grounding: Grounding, captions: list[AttendedCaption]) -> dict[str, float]:
    return one(grounding.scores(grounding.statistics(captions).sum(0)))


def grounding_of(pictures: list[Boxed], grid: tuple[int, int]) -> Grounding:
    """The nouns of the boxes name themselves."""
    return Grounding(pictures, grid, Lexicon({box.noun for boxed in pictures for box in boxed.boxes}))


DOG = Boxed((20, 20), (Box("dog", (0, 0, 10, 10)), Box("cat", (10, 0, 20, 20))))


def test_a_two_by_two_grid_by_hand() -> None:
    caption = attended("a dog and cats", [1, 0, 0, 0], [0.5, 0.2, 0.2, 0.1], [0, 0, 0, 1], [0.4, 0.3, 0.2, 0.1])
    scores = score(grounding_of([DOG], (2, 2)), [caption])
    assert scores["pointing"] == 0.5  # the dog is hit; the attention of "cats" is at the dog
    assert scores["mass"] == pytest.approx((0.5 + 0.4) / 2, abs=1e-6)
    assert scores["pointing_uniform"] == scores["mass_uniform"] == pytest.approx((0.25 + 0.5) / 2)
    assert scores["pointing_centre"] == pytest.approx((0.25 + 0.5) / 2)  # four cells tie for the centre
    assert np.isnan(scores["pointing_shuffled"]) and np.isnan(scores["mass_shuffled"])  # there is no other picture


def test_a_seven_by_seven_grid_by_hand() -> None:
    weights = np.zeros((7, 7))
    weights[3, 3], weights[3, 4], weights[0, 0] = 0.5, 0.3, 0.2
    picture = Boxed((70, 140), (Box("bus", (30, 60, 45, 80)), Box("bus", (0, 0, 5, 20))))
    scores = score(grounding_of([picture], (7, 7)), [attended("buses", weights.ravel().tolist())])
    assert scores["pointing"] == pytest.approx(1, abs=1e-9)
    assert scores["mass"] == pytest.approx(0.5 + 0.3 / 2 + 0.2 / 2, abs=1e-6)
    # Centres at 35 and 5 lie in boxes, the one at 45 on the edge of a box, which counts.
    assert scores["pointing_uniform"] == pytest.approx(3 / 49)
    assert scores["mass_uniform"] == pytest.approx((15 * 20 + 5 * 20) / (70 * 140))
    assert scores["pointing_centre"] == 1
    assert scores["mass_centre"] > scores["mass_uniform"]


def test_overlapping_boxes_are_counted_once_and_end_at_the_picture() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [5, 0, 15, 10], [15, -5, 99, 5]], dtype=np.float64)
    np.testing.assert_allclose(cells_covered(boxes, (20, 20), (1, 2)), [0.5, 0.375], rtol=1e-12)
    np.testing.assert_allclose(cells_covered(boxes, (20, 20), (1, 1)), [0.4375], rtol=1e-12)


def test_only_words_that_name_a_box_of_their_picture_are_measured() -> None:
    pictures = [DOG, Boxed((20, 20), (Box("hot dog", (0, 0, 20, 20)),)), Boxed((20, 20), ())]
    flat = [[0.25] * 4] * 3
    captions = [attended("puppies near cactus", *flat), attended("two hot dogs", *flat), attended("a dog here", *flat)]
    lexicon = Lexicon(["dog", "cat", "hot dog", "cactus"], {"puppy": "dog"})
    report = Grounding(pictures, (2, 2), lexicon).report(captions)
    assert report.words == 2
    assert {noun: counts["words"] for noun, counts in report.nouns.items()} == {"dog": 1, "hot dog": 1}
    assert report.nouns["hot dog"] == {"words": 1, "pointing": 1, "mass": pytest.approx(1)}
    assert grounding_of(pictures, (2, 2)).report(captions).words == 1  # without the synonym


def test_a_name_of_two_words_attends_where_both_look() -> None:
    picture = Boxed((20, 20), (Box("hot dog", (0, 0, 10, 10)),))
    scores = score(grounding_of([picture], (2, 2)), [attended("hot dog", [1, 0, 0, 0], [0, 0.5, 0.5, 0])])
    assert scores["mass"] == pytest.approx(0.5)


def test_attention_that_sums_to_less_than_one_is_measured_by_its_share_on_the_image() -> None:
    """A sentinel or local-p attention."""
    full = attended("a dog", [0.25] * 4, [0.5, 0.25, 0.25, 0])
    part = attended("a dog", [0.05] * 4, [0.1, 0.05, 0.05, 0])
    grounding = grounding_of([DOG], (2, 2))
    one_fifth, whole = score(grounding, [part]), score(grounding, [full])
    assert one_fifth["pointing"] == whole["pointing"] == 1
    assert one_fifth["mass"] == pytest.approx(whole["mass"]) == pytest.approx(0.5)
    assert one_fifth["elsewhere"] == pytest.approx(0.8)  # of "dog"; "a" names nothing
    assert whole["elsewhere"] == 0


def test_hard_attention_is_one_cell() -> None:
    scores = score(grounding_of([DOG], (2, 2)), [attended("dog cat", [1, 0, 0, 0], [1, 0, 0, 0])])
    assert (scores["pointing"], scores["mass"], scores["elsewhere"]) == (0.5, 0.5, 0)


def test_a_word_whose_attention_is_elsewhere_altogether_is_counted_and_not_measured() -> None:
    pictures = [DOG, DOG]
    captions = [attended("dog cat", [0, 0, 0, 0], [0, 0.5, 0, 0]), attended("dog", [0, 0, 0, 0])]
    grounding = grounding_of(pictures, (2, 2))
    report = grounding.report(captions)
    assert report.words == 1
    assert report.scores["pointing"] == report.scores["mass"] == 1
    assert report.scores["elsewhere"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert report.nouns == {"cat": {"words": 1, "pointing": 1, "mass": 1}}
    statistics = grounding.statistics(captions)
    assert statistics[:, 0].tolist() == [1, 0]
    assert statistics[:, 2].tolist() == [2, 1]
    assert np.isfinite(statistics).all()
    nothing = grounding_of([DOG], (2, 2)).report(captions[1:])
    assert nothing.words == 0
    assert np.isnan(nothing.scores["pointing"])
    assert nothing.scores["elsewhere"] == 1


@given(st.floats(1e-3, 1), st.integers(0, 100))
def test_the_amount_of_attention_on_the_image_does_not_change_its_scores(amount: float, seed: int) -> None:
    weights = np.random.default_rng(seed).dirichlet(np.full(4, 0.3))
    grounding = grounding_of([DOG], (2, 2))
    full, part = (score(grounding, [attended("dog", (a * weights).tolist())]) for a in (1.0, amount))
    for name in ("pointing", "mass"):
        assert part[name] == pytest.approx(full[name], abs=1e-5)
    assert part["elsewhere"] == pytest.approx(1 - amount, abs=1e-5)


def scenes(count: int) -> list[Boxed]:
    return [Boxed((96, 96), record.objects) for record in Scenes(count, 96, 3).records()]


def names(boxed: Boxed) -> tuple[str, ...]:
    return tuple(sorted({box.noun for box in boxed.boxes}))


def attentive(pictures: list[Boxed]) -> list[AttendedCaption]:
    """Each word looks at its own boxes and nowhere else."""
    captions = []
    for boxed in pictures:
        boxes = [np.array([b.box for b in boxed.boxes if b.noun == noun], dtype=float) for noun in names(boxed)]
        covers = np.stack([cells_covered(of_noun, boxed.size, (7, 7)) for of_noun in boxes])
        captions.append(AttendedCaption(names(boxed), (covers / covers.sum(1, keepdims=True)).astype(np.float32)))
    return captions


def test_attention_that_is_shuffled_falls_to_the_shuffled_baseline() -> None:
    pictures = scenes(150)
    grounding = grounding_of(pictures, (7, 7))
    right = attentive(pictures)
    good = score(grounding, right)
    pool = [weights for caption in right for weights in caption.weights]
    order = iter(np.random.default_rng(5).permutation(len(pool)))
    mixed = [AttendedCaption(c.words, np.stack([pool[next(order)] for _ in c.words])) for c in right]
    bad = score(grounding, mixed)
    assert good["pointing"] > 0.9 > 0.5 > good["mass_shuffled"]
    for measure in ("pointing", "mass"):
        assert bad[measure] == pytest.approx(good[f"{measure}_shuffled"], abs=0.05)
        assert bad[measure] < good[measure] - 0.4


def test_the_shuffled_baseline_is_the_mean_over_the_words_of_other_pictures() -> None:
    left, right = Boxed((20, 20), (Box("dog", (0, 0, 10, 20)),)), Boxed((20, 20), (Box("dog", (10, 0, 20, 20)),))
    captions = [attended("dog", [1, 0, 0, 0]), attended("dog dog", [0, 1, 0, 0], [0.4, 0.6, 0, 0])]
    grounding = grounding_of([left, right], (2, 2))
    totals = grounding.statistics(captions)
    # The left picture's word gets the right one's two maps; each of the right one's gets the left one's map.
    np.testing.assert_allclose(totals[:, 10:], [[0, 0.2], [0, 0]], atol=1e-6)
    np.testing.assert_array_equal(totals[:, :2], [[1, 1], [2, 2]])


def test_sums_of_parts_give_the_scores_of_the_whole() -> None:
    pictures = scenes(12)
    grounding, captions = grounding_of(pictures, (7, 7)), attentive(scenes(12))
    totals = grounding.statistics(captions)
    several = grounding.scores(np.stack([totals.sum(0), totals[:5].sum(0), np.zeros(12)]))
    assert {value.shape for value in several.values()} == {(3,)}
    report = grounding.report(captions)
    assert report.scores == pytest.approx({name: value[0] for name, value in several.items()})
    assert report.words == totals[:, 0].sum() == sum(counts["words"] for counts in report.nouns.values())
    assert np.isnan(several["pointing"][2])  # no word measured is no score of zero


boxes = st.tuples(st.integers(-5, 40), st.integers(-5, 30), st.integers(1, 30), st.integers(1, 30)).map(
    lambda b: Box("dog", (b[0], b[1], b[0] + b[2], b[1] + b[3]))
)
grids = st.tuples(st.integers(1, 7), st.integers(1, 7))


@given(st.lists(boxes, min_size=1, max_size=4), grids, st.integers(0, 1000))
def test_what_holds_of_any_picture_and_attention(found: list[Box], grid: tuple[int, int], seed: int) -> None:
    cells = grid[0] * grid[1]
    weights = np.random.default_rng(seed).dirichlet(np.full(cells, 0.2))
    flat = np.full(cells, 1 / cells, dtype=np.float32)
    pictures = [Boxed((41, 31), tuple(found))] * 2
    for caption in (attended("dog", weights.tolist()), AttendedCaption(("dog",), flat[None])):
        scores = score(grounding_of(pictures, grid), [caption] * 2)
        assert all(0 <= value <= 1 for value in scores.values())
        assert scores["mass"] == pytest.approx(scores["mass_shuffled"], abs=1e-6)  # both pictures look alike
    assert scores["pointing"] == pytest.approx(scores["pointing_uniform"], abs=1e-12)  # of the flat one, the last
    assert scores["mass"] == pytest.approx(scores["mass_uniform"], abs=1e-12)


@given(st.lists(boxes, min_size=1, max_size=4), grids)
def test_the_covered_area_is_the_number_of_pixels_inside(found: list[Box], grid: tuple[int, int]) -> None:
    inside = np.zeros((31, 41), dtype=bool)
    for box in found:
        left, top, right, bottom = np.maximum(box.box, 0)
        inside[top:bottom, left:right] = True
    corners = np.array([box.box for box in found], dtype=float)
    assert cells_covered(corners, (41, 31), grid).mean() == pytest.approx(inside.mean(), abs=1e-9)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 10), st.integers(1, 10))
def test_attention_inside_the_box_alone_has_all_its_mass_there(left: int, top: int, width: int, height: int) -> None:
    box = Box("dog", (left, top, left + width, top + height))
    weights = np.zeros((40, 40))
    weights[top : top + height, left : left + width] = 1 / (width * height)
    scores = score(grounding_of([Boxed((40, 40), (box,))], (40, 40)), [attended("dog", weights.ravel().tolist())])
    assert scores["mass"] == pytest.approx(1, abs=1e-9)
    assert scores["pointing"] == pytest.approx(1, abs=1e-9)


def test_the_centre_is_a_gaussian_of_the_stated_width() -> None:
    weights = centre_attention((1, 5), 0.2)
    assert weights.sum() == pytest.approx(1)
    assert weights[3] / weights[2] == pytest.approx(np.exp(-0.5))  # 0.2 of the width aside: one sigma
    assert (weights == weights[::-1]).all()


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        ([], "0 captions for 1 images"),
        ([attended("a dog", [1, 0, 0, 0])], r"image number 0 has weights of shape \(1, 4\) instead of \(2, 4\)"),
        ([attended("dog", [1, 0, 0])], r"shape \(1, 3\) instead of \(1, 4\)"),
        ([attended("dog", [np.nan, 1, 0, 0])], "weights that are not valid attention"),
        ([attended("dog", [2, -1, 0, 0])], "weights that are not valid attention"),
        ([attended("dog", [0.6, 0.5, 0, 0])], "weights that are not valid attention"),
    ],
)
def test_what_cannot_be_measured_is_refused(captions: list[AttendedCaption], message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        grounding_of([DOG], (2, 2)).statistics(captions)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Boxed((0, 20), ()), r"image number 0 has the size \(0, 20\)"),
        (Boxed((20, 20), (Box("dog", (5, 5, 5, 9)),)), "empty box of 'dog'"),
    ],
)
def test_a_picture_without_pixels_or_a_box_without_is_refused(picture: Boxed, message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        grounding_of([picture], (2, 2))
