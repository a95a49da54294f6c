"""Every piece of advice works: what it names, set as it says, makes it go away."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.inspection.folders import clean_folder, params_of, photograph, sentences, write_captions, write_folder
from wordgaze.config.params import Params
from wordgaze.inspection.check import check_dataset
from wordgaze.inspection.results import Advice


def advice(params: Params, tmp_path: Path) -> Sequence[Advice]:
    return check_dataset(params, tmp_path / "cache").advice


def value(texts: Sequence[Advice], key: str) -> str:
    """The value that an advice sets ``key`` to."""
    found = [match[1] for each in texts if (match := re.search(rf"{re.escape(key)} to ([\w.]*\w)", each.text))]
    assert len(found) == 1, texts
    return found[0]


def test_a_minimum_count_that_leaves_no_word(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data", 12)
    found = advice(params_of(data, prepare={"min_count": 90}), tmp_path)
    assert found[0].level == "stop"
    lower = int(value(found, "prepare.min_count"))
    assert advice(params_of(data, prepare={"min_count": lower}), tmp_path) == ()


def test_a_minimum_count_that_leaves_few_words(tmp_path: Path) -> None:
    words = [f"w{a}{b}" for a in "abcdefgh" for b in "xyz"]
    data = write_folder(tmp_path / "data", {f"{n}.jpg": [f"a {words[n]} and a {words[n]}"] for n in range(20)})
    found = advice(params_of(data, prepare={"min_count": 5}), tmp_path)
    assert [each.level for each in found] == ["warning"]
    lower = int(value(found, "prepare.min_count"))
    assert lower == 2
    assert advice(params_of(data, prepare={"min_count": lower}), tmp_path) == ()


def test_a_maximum_vocabulary_that_leaves_few_words(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data")
    [found] = advice(params_of(data, prepare={"max_vocabulary": 3}), tmp_path)
    assert "raise prepare.max_vocabulary above 3" in found.text


CHINESE = [
    "一只狗在沙滩上奔跑着", "两个男人在街上骑自行车", "一个女人坐在公园的长椅上", "一个孩子在草地上玩球",
    "一只猫睡在红色的沙发上", "一列火车停在车站的旁边",
]  # fmt: skip


def test_case_language_without_spaces_is_told_the_tokenizer_of_characters(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", {f"{n}.jpg": [CHINESE[n % 6]] for n in range(24)})
    found = advice(params_of(data, prepare={"min_count": 5}), tmp_path)
    assert found[0].text.startswith("Most captions are one long word to the tokenizer ptb")
    changes: dict[str, object] = {"tokenizer": value(found, "prepare.tokenizer"), "min_count": 5}
    if "prepare.min_count to" in found[0].text:
        changes["min_count"] = int(value(found, "prepare.min_count"))
    assert [a for a in advice(params_of(data, prepare=changes), tmp_path) if a.level != "note"] == []


def test_captions_in_german_are_told_the_tokenizer_of_any_language(tmp_path: Path) -> None:
    texts = [
        "Ein Hund läuft am Strand entlang",
        "Zwei Männer fahren auf der Straße Fahrrad",
        "Eine Frau sitzt im Garten",
    ]
    data = write_folder(tmp_path / "data", {f"{n}.jpg": [f"{texts[n % 3]}"] for n in range(24)})
    found = advice(params_of(data), tmp_path)
    tokenizer = value(found, "prepare.tokenizer")
    assert tokenizer == "unicode"
    assert not any("tokenizer" in a.text for a in advice(params_of(data, prepare={"tokenizer": tokenizer}), tmp_path))


def test_long_captions(tmp_path: Path) -> None:
    data = write_folder(
        tmp_path / "data", {f"{n}.jpg": [" ".join([*sentences(n), *sentences(n + 1)])] for n in range(20)}
    )
    found = advice(params_of(data, prepare={"max_words": 10}), tmp_path)
    longer = int(value(found, "prepare.max_words"))
    assert not any("max_words" in a.text for a in advice(params_of(data, prepare={"max_words": longer}), tmp_path))


def test_a_split_without_an_image(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data", 9)
    rows = [(f"photo{n:02}.jpg", text, "train" if n else "test") for n in range(9) for text in sentences(n)]
    write_captions(data / "captions.csv", rows, ("image", "caption", "split"))
    found = advice(params_of(data), tmp_path)
    assert found[0].level == "stop"
    assert "(train 8, dev 0, test 1)" in found[0].text
    assert "give some images the split dev" in found[0].text
    two = advice(params_of(clean_folder(tmp_path / "two", 2), prepare={"min_count": 1}), tmp_path)
    assert "add images with captions" in two[0].text


def test_splits_of_file_names_without_a_test_split(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data")
    (data / "captions.csv").unlink()
    for split, numbers in (("train", range(25)), ("val", range(25, 30))):
        rows = [(f"photo{n:02}.jpg", text) for n in numbers for text in sentences(n)]
        write_captions(data / f"{split}.csv", rows)
    found = advice(params_of(data), tmp_path)
    assert found[0].level == "stop"
    assert "set dataset.captions to the file of one split" in found[0].text
    one = advice(params_of(data, dataset={"captions": "train.csv"}), tmp_path)
    assert not any(each.level == "stop" for each in one)


def test_markers_and_a_wrong_encoding(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", {f"{n}.jpg": [f"[INST] {sentences(n)[0]} cafÃ©"] for n in range(20)})
    found = " ".join(each.text for each in advice(params_of(data), tmp_path))
    assert "markers ([INST] 20 times)" in found
    assert "20 captions with characters of a wrong encoding" in found


def test_the_same_caption_on_many_images(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", {f"{n}.jpg": [sentences(n)[0], "No text."] for n in range(20)})
    notes = [each for each in advice(params_of(data), tmp_path) if each.level == "note"]
    assert any("20 of 20 images have the caption “No text.”" in each.text for each in notes)


def test_captions_in_several_languages(tmp_path: Path) -> None:
    german = ["Ein Hund läuft am Strand", "Zwei Männer fahren Fahrrad", "Eine Frau sitzt auf einer Bank"]
    data = write_folder(tmp_path / "data", {f"{n}.jpg": [sentences(n)[0], german[n % 3]] for n in range(24)})
    assert any("several languages (" in each.text for each in advice(params_of(data), tmp_path))


def test_copies_in_one_split_are_a_note(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data", 20)
    rows = [
        (f"photo{n:02}.jpg", text, "train" if n < 16 else "dev" if n < 18 else "test")
        for n in range(20)
        for text in sentences(n)
    ]
    (data / "copy.jpg").write_bytes((data / "photo00.jpg").read_bytes())
    write_captions(
        data / "captions.csv", [*rows, ("copy.jpg", "This is seen today.", "train")], ("image", "caption", "split")
    )
    [found] = advice(params_of(data, prepare={"min_count": 1}), tmp_path)
    assert found == Advice("note", "Copies of other images: 1; keep one of each, with the captions of all.")


@pytest.mark.parametrize("size", [(30, 20), (400, 300)])
def test_the_size_of_the_images_is_no_matter(tmp_path: Path, size: tuple[int, int]) -> None:
    data = clean_folder(tmp_path / "data")
    for number in range(30):
        photograph(number, size).save(data / f"photo{number:02}.jpg")
    assert advice(params_of(data), tmp_path) == ()
