"""The check of whole data sets: its numbers are those of the import, and whatever is wrong is found and told."""

import json
import random
import zipfile
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.inspection.folders import (
    clean_folder,
    jpeg,
    params_of,
    photograph,
    sentences,
    write_captions,
    write_folder,
)
from wordgaze.config.params import Params, parse_params
from wordgaze.core.errors import DataError
from wordgaze.data.contracts import ContractReport
from wordgaze.data.datasets import open_dataset
from wordgaze.data.datasets.audit import audit
from wordgaze.data.records import write_records
from wordgaze.inspection.check import check_dataset
from wordgaze.inspection.results import DataInspection
from wordgaze.stages import prepare
from wordgaze.text.vocabulary import SPECIAL


def checked(params: Params, folder: Path) -> DataInspection:
    return check_dataset(params, folder / "cache", folder / "page.html", folder / "values.json")


def levels(found: DataInspection) -> list[str]:
    return [each.level for each in found.advice]


def test_a_clean_folder_has_nothing_to_change(tmp_path: Path) -> None:
    found = checked(params_of(clean_folder(tmp_path / "data")), tmp_path)
    assert found.advice == ()
    assert not found.stops
    assert (found.audit.seen, found.audit.kept, found.left_out) == (30, 30, {})
    assert found.captions.num_captions == 60
    assert sum(found.splits.images.values()) == 30
    assert found.splits.given == 0
    assert found.pictures is not None
    assert (found.pictures.formats, found.pictures.aspects) == ({"JPEG": 30}, {"5:4 to 3:1": 30})
    assert (found.duplicates.equal, found.duplicates.near, found.leaks.pictures) == ([], [], [])
    assert [each.code for each in found.languages] == ["en"]


def test_nothing_is_written_but_the_page_and_the_values(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in data.iterdir()}
    found = checked(params_of(data), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in data.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "page.html", "values.json"]
    values = json.loads((tmp_path / "values.json").read_text())
    assert (values["audit"]["kept"], values["stops"]) == (30, found.stops)


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    data, pages = clean_folder(tmp_path / "data"), []
    for _ in range(2):
        checked(params_of(data), tmp_path)
        pages.append([(tmp_path / name).read_bytes() for name in ("page.html", "values.json")])
    assert pages[0] == pages[1]


@settings(max_examples=15)
@given(st.data())
def test_kept_and_left_out_are_what_was_seen_and_what_the_import_keeps(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("mixed")
    kinds = data.draw(
        st.lists(st.sampled_from(["good", "broken", "missing", "uncaptioned", "bitten"]), min_size=1, max_size=9)
    )
    rows = []
    for number, kind in enumerate(kinds):
        picture = jpeg(photograph(number))
        if kind != "missing":
            (folder / f"{number}.jpg").write_bytes({"broken": b"nothing", "bitten": picture[:-90]}.get(kind, picture))
        if kind != "uncaptioned":
            rows.append((f"{number}.jpg", sentences(number)[0]))
    write_captions(folder / "captions.csv", rows or [("absent.jpg", "a dog")])
    params = params_of(folder, dataset={"max_faulty": 1.0})
    found = checked(params, tmp_path_factory.mktemp("out"))
    counts = [finding.count for finding in found.left_out.values()]
    assert found.audit.kept + sum(counts) == found.audit.seen
    assert found.uncaptioned == kinds.count("uncaptioned")
    assert found.audit.kept == kinds.count("good")
    assert imported(params, tmp_path_factory.mktemp("raw")) == (found.audit.kept if found.audit.kept else None)


def imported(params: Params, folder: Path) -> int | None:
    """The number of images that stage download keeps; None where it stops."""
    try:
        collected = open_dataset(params.dataset, params.prepare, folder / "cache").collect(folder)
        return audit(collected.records, folder, params.dataset.max_faulty, collected.faults)[1].kept
    except DataError:
        return None


@pytest.mark.parametrize("tokenizer", ["ptb", "unicode", "characters"])
def test_the_words_are_those_that_prepare_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wordgaze.stages.prepare.stage_run", lambda *_: nullcontext(Mock()))
    monkeypatch.setattr("wordgaze.stages.prepare.log_contract", lambda *_: None)
    monkeypatch.setattr(
        "wordgaze.stages.prepare.check", lambda name, table: ContractReport(name, len(table), (), Mock())
    )
    data = write_folder(
        tmp_path / "own", {f"{n}.jpg": [*sentences(n), f"Rare{n}, <unk> twice: it’s 3.5!", "..."] for n in range(30)}
    )
    params = params_of(data, prepare={"min_count": 3, "max_vocabulary": 12, "tokenizer": tokenizer})
    found = checked(params, tmp_path)
    collected = open_dataset(params.dataset, params.prepare, tmp_path / "cache").collect(tmp_path)
    write_records(tmp_path / "data/raw/captions.jsonl", audit(collected.records, tmp_path, 0)[0])
    prepare.run(params)
    summary = json.loads((tmp_path / "data/prepared/summary.json").read_text())
    assert {f"images_{split}": count for split, count in found.splits.images.items()}.items() <= summary.items()
    assert found.captions.num_captions == summary["captions"]
    assert found.captions.without_words == summary["captions_without_words"] == 30
    assert found.captions.vocabulary.words == summary["vocabulary"] - len(SPECIAL) == 12
    assert found.captions.num_words == summary["words_in_train"]
    assert 1 - found.captions.vocabulary.unknown_train == pytest.approx(
        summary["known_share_of_train_tokens"], abs=1e-6
    )
    assert found.captions.mean_length == pytest.approx(summary["mean_length"], abs=1e-6)


def test_the_error_is_the_one_of_the_import(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data", 10)
    for number in range(3):
        (data / f"photo{number:02}.jpg").write_bytes(b"nothing")
    found = checked(params_of(data), tmp_path)
    assert found.stops
    assert found.advice[0].text.startswith(
        f"{data}: 30.00% of 10 images are faulty, more than dataset.max_faulty = 0.05"
    )
    assert not checked(params_of(data, dataset={"max_faulty": 0.3}), tmp_path).stops


def test_captions_without_any_image_are_told_and_a_page_is_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    photograph(1).save(data / "z.jpg")
    write_captions(data / "captions.csv", [("a.jpg", "a dog runs"), ("b.jpg", "a cat sleeps")])
    found = checked(params_of(data), tmp_path)
    assert found.stops
    assert found.advice[0].level == "stop"
    assert "none of the 2 captioned images" in found.advice[0].text
    assert (tmp_path / "page.html").stat().st_size > 1000


def test_a_folder_without_captions_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="no caption file"):
        checked(params_of(tmp_path / "data"), tmp_path)
    assert not (tmp_path / "page.html").exists()


def test_copies_near_duplicates_and_captions_in_two_splits_leak(tmp_path: Path) -> None:
    data, rows = tmp_path / "data", []
    data.mkdir()
    for number in range(12):
        photograph(number, (400, 300)).save(data / f"{number}.jpg")
        rows.append(
            (f"{number}.jpg", sentences(number)[0], "train" if number < 8 else "dev" if number < 10 else "test")
        )
    (data / "copy.jpg").write_bytes((data / "0.jpg").read_bytes())
    photograph(1, (400, 300)).resize((200, 150)).save(data / "small.jpg", quality=60)
    rows += [("copy.jpg", sentences(0)[0].upper(), "test"), ("small.jpg", "Another one.", "dev")]
    write_captions(data / "captions.csv", rows, ("image", "caption", "split"))
    found = checked(params_of(data, prepare={"min_count": 1}), tmp_path)
    assert found.splits.given == 14
    assert [list(names) for names in found.duplicates.equal] == [["0.jpg", "copy.jpg"]]
    assert [(pair.first, pair.second) for pair in found.duplicates.near] == [("1.jpg", "small.jpg")]
    assert found.leaks.pictures == [("0.jpg", "copy.jpg"), ("1.jpg", "small.jpg")]
    assert (found.leaks.captions["test"].shared, found.leaks.captions["test"].num_captions) == (1, 3)
    assert found.leaks.captions["dev"].shared == 0
    assert "0.jpg and copy.jpg" in next(each.text for each in found.advice)
    html = (tmp_path / "page.html").read_text()
    assert html.count("in different splits</p>") == 2


def test_the_splits_are_those_of_prepare_with_a_maximum_too(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data", 32)
    whole = checked(params_of(data), tmp_path)
    some = checked(params_of(data, dataset={"max_train_images": 9}), tmp_path)
    assert some.splits.images == whole.splits.images | {"train": 9}
    assert some.audit.kept == sum(some.splits.images.values())


@pytest.mark.parametrize("name", ["flickr8k", "coco"])
def test_public_data_sets_as_published_are_read_from_their_archives(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.mkdir()
    {"flickr8k": write_flickr8k, "coco": write_coco}[name](source)
    params = parse_params({"dataset": {"name": name, "source": str(source)}, "prepare": {"min_count": 1}}, "test")
    found = checked(params, tmp_path)
    assert not found.stops
    assert (found.audit.kept, found.captions.num_captions) == (12, 24)
    assert found.splits.given == 12
    assert found.pictures is not None
    assert found.pictures.formats == {"JPEG": 12}


def write_flickr8k(folder: Path) -> None:
    names = [f"{number}.jpg" for number in range(12)]
    with zipfile.ZipFile(folder / "Flickr8k_Dataset.zip", "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(f"Flicker8k_Dataset/{name}", jpeg(photograph(number)))
    lines = [f"{name}#{at}\t{text}" for n, name in enumerate(names) for at, text in enumerate(sentences(n))]
    with zipfile.ZipFile(folder / "Flickr8k_text.zip", "w") as archive:
        archive.writestr("Flickr8k.token.txt", "\n".join(lines))
        for part, chosen in (("train", names[:8]), ("dev", names[8:10]), ("test", names[10:])):
            archive.writestr(f"Flickr_8k.{part}Images.txt", "\n".join(chosen))


def write_coco(folder: Path) -> None:
    with zipfile.ZipFile(folder / "annotations_trainval2017.zip", "w") as archive:
        for part, numbers in (("train", range(8)), ("val", range(8, 12))):
            images = [{"id": number, "file_name": f"{number:012}.jpg"} for number in numbers]
            annotations = [{"image_id": number, "caption": text} for number in numbers for text in sentences(number)]
            content = json.dumps({"images": images, "annotations": annotations})
            archive.writestr(f"annotations/captions_{part}2017.json", content)
            with zipfile.ZipFile(folder / f"{part}2017.zip", "w") as pictures:
                for number in numbers:
                    pictures.writestr(f"{part}2017/{number:012}.jpg", jpeg(photograph(number)))


def test_the_built_in_scenes_are_checked_too(tmp_path: Path) -> None:
    params = parse_params({"dataset": {"scenes": {"num_images": 60, "image_size": 64}}}, "test")
    found = checked(params, tmp_path)
    assert found.audit.kept == 60
    assert "stop" not in levels(found)


def test_hostile_images_and_texts_stop_nothing(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data", 20)
    rng = random.Random(1)
    rows = [(f"photo{number:02}.jpg", sentences(number)[0]) for number in range(20)]
    for number in range(6):
        name = f"hostile{number}.png"
        (data / name).write_bytes(rng.randbytes(300) if number % 2 else b"\x89PNG\r\n\x1a\n" + rng.randbytes(300))
        rows.append((name, "<script>alert(1)</script> \u202e {{ 7 * 7 }} %s & \" '"))
    Image.new("1", (9000, 9000)).save(data / "bomb.png")
    rows.append(("bomb.png", "a bomb"))
    rows.append(("photo00.jpg", "<img src=http://example.org/x onerror=alert(1)> {{ 7 * 7 }}"))
    write_captions(data / "captions.csv", rows)
    found = checked(params_of(data, dataset={"max_faulty": 0.9}), tmp_path)
    assert found.left_out["images that cannot be decoded"].count == 7
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img src=http" not in html
    assert "{{ 7 * 7 }}" in html


def test_a_long_check_says_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wordgaze.core.progress.INTERVAL", 0.0)
    checked(params_of(clean_folder(tmp_path / "data")), tmp_path)
    assert "check images: 100% of 30" in capsys.readouterr().err


def test_an_unread_picture_shows_no_thumbnail_but_its_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clean_folder(tmp_path / "data", 8)
    monkeypatch.setattr("wordgaze.inspection.sheet.read_pictures", lambda files: iter(()))
    checked(params_of(data), tmp_path)
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" not in html
    assert sentences(3)[0] in html


def test_many_captions_of_one_image_are_bounded_on_the_page(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", {f"{n}.jpg": [f"Text {n} {i}." for i in range(40)] for n in range(6)})
    checked(params_of(data), tmp_path)
    assert "and 35 more captions" in (tmp_path / "page.html").read_text(encoding="utf-8")
