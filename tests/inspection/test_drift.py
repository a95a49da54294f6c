import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.inspection.captioners import calibrated
from wordgaze.core.errors import CaptionsError, DataError, ParamsError
from wordgaze.core.files import write_json
from wordgaze.inference.table import FILE_COLUMNS, Row, write_table
from wordgaze.inspection.drift import DriftReport, DriftThresholds, Watched, compare_observations, edit_rate
from wordgaze.inspection.drift_page import render_drift
from wordgaze.inspection.observations import Observations, observe, read_log, reference_observations
from wordgaze.text.vocabulary import SPECIAL, Vocabulary

VOCABULARY = Vocabulary((*SPECIAL, "a", "dog", "cat", "runs", "sleeps", "outside"))
NAMED = Watched("photos", "today", "the dev images")


def observed(captions: list[str], shift: float = 0.0, seed: int = 1) -> Observations:
    generator = np.random.default_rng(seed)
    embeddings = generator.normal(size=(len(captions), 5)) + shift
    confidence = tuple(generator.uniform(0.3, 0.9, len(captions)))
    return Observations(tuple(captions), confidence, embeddings, tuple(f"{i}.jpg" for i in range(len(captions))))


def compare(today: Observations, corrections: list[tuple[str, str]] | None = None) -> DriftReport:
    reference = observed(["a dog runs", "a cat sleeps", "a dog sleeps"] * 80)
    return compare_observations(NAMED, reference, today, corrections or [], VOCABULARY, DriftThresholds())


def verdicts(report: DriftReport) -> dict[str, bool | None]:
    return {each.name: None if each.value is None else each.is_drift for each in report.measures}


def test_images_and_captions_of_the_same_kind_are_stable() -> None:
    report = compare(observed(["a dog runs", "a dog sleeps", "a cat sleeps"] * 20, seed=2))
    assert not report.has_drift
    assert [each.is_drift for each in report.measures] == [False] * 5


@pytest.mark.parametrize(
    ("today", "drifted"),
    [
        (observed(["a cat outside"] * 60, seed=2), {"words"}),
        (observed(["a dog runs", "a dog sleeps", "a cat sleeps"] * 20, 2.0, seed=2), {"embeddings"}),
    ],
)
def test_other_words_and_other_images_are_drift(today: Observations, drifted: set[str]) -> None:
    assert {name for name, is_drift in verdicts(compare(today)).items() if is_drift} == drifted


def test_captions_without_a_word_of_content_are_compared_too() -> None:
    reference = observed(["a a a"] * 75 + ["a dog"] * 5)
    same = compare_observations(NAMED, reference, reference, [], VOCABULARY, DriftThresholds())
    [words] = [each for each in same.measures if each.name == "words"]
    assert words.value == 0
    assert words.by_chance is not None
    assert words.by_chance < 0.5
    other = observed(["a dog runs"] * 80)
    assert verdicts(compare_observations(NAMED, reference, other, [], VOCABULARY, DriftThresholds()))["words"]


def test_of_a_long_log_some_captions_are_compared_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordgaze.inspection.drift.MAX_OBSERVATIONS", 50)
    report = compare(observed(["a dog runs", "a dog sleeps", "a cat sleeps"] * 40, seed=2))
    assert (report.num_today, report.has_drift) == (120, False)


def test_corrections_with_unknown_words_are_drift_and_few_are_not_judged() -> None:
    today = observed(["a dog runs", "a dog sleeps", "a cat sleeps"] * 20, seed=2)
    corrections = [("a dog runs", "a zebra gallops")] * 20
    report = compare(today, corrections)
    assert verdicts(report)["unknown words in corrections"]
    assert verdicts(report)["edit rate of corrections"]
    assert report.unknown_words == {"zebra": 20, "gallops": 20}
    assert verdicts(compare(today, corrections[:19]))["unknown words in corrections"] is None


def test_the_edit_rate_is_the_share_of_words_that_change() -> None:
    assert edit_rate("a dog runs".split(), "a dog runs".split()) == 0
    assert edit_rate("a dog".split(), "the cats".split()) == 1
    assert edit_rate("a dog runs fast".split(), "a cat runs fast".split()) == 0.25


def test_too_few_captions_are_an_error() -> None:
    with pytest.raises(
        DataError, match="today has 3 captions that can be compared; give a folder or a log with at least 20"
    ):
        compare(observed(["a dog runs"] * 3))
    with pytest.raises(ParamsError, match="psi 0"):
        DriftThresholds(psi=0)


def test_a_threshold_that_nothing_exceeds_is_refused() -> None:
    for psi in (0.0, math.nan):
        with pytest.raises(ParamsError, match="psi has to be above 0"):
            DriftThresholds(psi=psi)


def test_file_names_that_are_not_utf_8_are_escaped_in_the_values(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    report = replace(compare(observed(["a dog runs"] * 40)), source=name, unlike=(name,), unread=(f"{name}: broken",))
    write_json(tmp_path / "drift.json", report.to_json())
    values = json.loads((tmp_path / "drift.json").read_text(encoding="utf-8"))
    shown = r"caf\xe9.jpg"
    assert (values["source"], values["unlike"], values["unread"]) == (shown, [shown], [f"{shown}: broken"])


def test_the_page_is_whole_escaped_and_has_every_measure() -> None:
    report = compare(observed(["a <b> dog"] * 60, seed=2))
    page = render_drift(report, {"0.jpg": "data:image/jpeg;base64,AA"})
    HTMLParser().feed(page)
    assert "&lt;b&gt;" in page or "<b>" not in page
    assert all(each.name in page for each in report.measures)
    assert "http" not in page.replace("http-equiv", "")
    assert page == render_drift(report, {"0.jpg": "data:image/jpeg;base64,AA"})
    assert json.loads(json.dumps(report.to_json()))["has_drift"] is True


ROWS = [
    Row(name="a.jpg", caption="a dog", confidence=0.5, path="x/a.jpg"),
    Row(name="a.jpg", caption="second best", confidence=0.1, path="x/a.jpg"),
    Row(name="b.jpg", error="broken", path="x/b.jpg"),
    Row(name="a.jpg", caption="=a cat", path="y/a.jpg"),
]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_every_table_of_caption_is_read_alike(tmp_path: Path, ending: str) -> None:
    write_table(ROWS, tmp_path / f"log{ending}", FILE_COLUMNS)
    found = read_log(tmp_path / f"log{ending}")
    assert (found.captions, found.confidence, found.names) == (("a dog", "=a cat"), (0.5,), ("x/a.jpg", "y/a.jpg"))


def test_the_log_of_the_server_is_read_up_to_where_it_is_cut_off(tmp_path: Path) -> None:
    lines = [
        {"time": "2026-01-01T00:00:00Z", "event": "request", "status": 200},
        {"event": "caption", "caption": "a dog", "confidence": 0.5},
        {"event": "caption", "caption": "a dog", "confidence": None},
    ]
    text = "\n".join(["starting", *map(json.dumps, lines), '{"event": "capti'])
    (tmp_path / "server.log").write_text(text, encoding="utf-8")
    found = read_log(tmp_path / "server.log")
    assert (found.captions, found.confidence) == (("a dog", "a dog"), (0.5,))


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", b"x\n1\n"), ("a.parquet", b"no"), ("a.jsonl", b""), ("a.txt", b"")]
)
def test_a_file_without_captions_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CaptionsError, match=name):
        read_log(tmp_path / name)


def test_a_folder_is_observed_and_a_reference_is_kept(write_captioner: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_captioner(tmp_path / "captioner")
    captioner = calibrated(folder)
    (tmp_path / "images").mkdir()
    for i in range(3):
        Image.new("RGB", (70, 70), (80 * i, 40, 9)).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "images/broken.jpg").write_bytes(b"no")
    found = observe(tmp_path / "images", captioner)
    assert (found.names, len(found.unread)) == (("0.png", "1.png", "2.png"), 1)
    assert found.embeddings is not None
    assert len(found.embeddings) == len(found.captions) == len(found.confidence) == 3
    names = ["0.png", "1.png"]
    images = [tmp_path / "images" / name for name in names]
    first = reference_observations(captioner, folder, images, names, tmp_path / "cache")
    [kept] = (tmp_path / "cache").iterdir()
    again = reference_observations(captioner, folder, images, names, tmp_path / "cache")
    assert first.embeddings is not None
    assert np.array_equal(first.embeddings, again.embeddings)
    assert first.captions == again.captions
    kept.write_text("{", encoding="utf-8")
    assert reference_observations(captioner, folder, images, names, tmp_path / "cache").captions == first.captions
    size = images[0].stat().st_size
    images[0].write_bytes(images[1].read_bytes()[:size].ljust(size, b"\0"))  # another image of as many bytes
    changed = reference_observations(captioner, folder, images, names, tmp_path / "cache")
    assert changed.embeddings is not None
    assert not np.array_equal(first.embeddings, changed.embeddings)
