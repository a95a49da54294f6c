"""Batch runs in one process: what is written, how a run is continued, and what is refused."""

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.batch.conftest import NUM_IMAGES, Bucket
from wordgaze.batch import caption_many as module
from wordgaze.batch.caption_many import BatchOptions, BatchResult, caption_many
from wordgaze.core.errors import CaptionsError, DataError, DistributedError, ModelError
from wordgaze.core.storage import AccessError
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.caption_files import caption_files
from wordgaze.vision.image_files import ImageFiles

GREEDY = GenerationConfig(strategy="greedy", max_new_tokens=4)
SAMPLE = GenerationConfig(strategy="sample", max_new_tokens=4)  # the captions of a tiny captioner then differ
SMALL = BatchOptions(partition_size=4)


def run(photos: Path | str, output: Path | str, captioner: Path, **options: Any) -> BatchResult:
    return caption_many(
        [str(photos)], str(output), captioner, GREEDY, options=BatchOptions(partition_size=4, **options)
    )


def table(output: Path | str, name: str = "captions") -> pd.DataFrame:
    return pd.read_parquet(f"{output}/{name}")


def test_captions_are_those_of_wordgaze_caption_and_each_image_is_in_one_table(
    photos: Path, tmp_path: Path, captioner: Path
) -> None:
    done = caption_many([str(photos)], str(tmp_path / "out"), captioner, SAMPLE, seed=7, options=SMALL)
    assert done == (NUM_IMAGES - 1, 1, str(tmp_path / "out" / "failures"))
    captions, failures = table(tmp_path / "out"), table(tmp_path / "out", "failures")
    together = caption_files(ImageFiles((photos,)), [captioner], SAMPLE, seed=7)
    expected = {str(result.path): result.rows[0] for result in together if result.rows}
    assert list(captions["path"]) == sorted(expected)
    assert len({*captions["caption"]}) > 1
    for row in captions.itertuples():
        same = expected[row.path]
        assert (row.name, row.caption, row.is_outlier) == (same.name, same.caption, same.is_outlier)
        assert row.log_prob == pytest.approx(same.log_prob, rel=1e-4)
    assert list(failures.columns) == ["name", "kind", "error", "path"]
    [broken] = failures.itertuples()
    assert (broken.name, broken.kind, broken.path) == ("02.png", "invalid", str(photos / "02.png"))
    assert broken.error.startswith(f"{photos / '02.png'}: is not a JPEG")
    assert len(list((tmp_path / "out" / "captions").iterdir())) == 3


def test_a_run_is_continued_where_it_was(photos: Path, tmp_path: Path, captioner: Path) -> None:
    """A partition without one of its files, or with files of two attempts, was not finished."""
    output = tmp_path / "out"
    run(photos, output, captioner)
    before = {path: path.read_bytes() for path in output.rglob("*.parquet")}
    (output / "captions" / "part-00000.parquet").unlink()
    (output / "failures" / "part-00002.parquet").write_bytes(before[output / "failures" / "part-00001.parquet"])
    assert run(photos, output, captioner)[:2] == (NUM_IMAGES - 1, 1)
    kept = [path for path in before if path.read_bytes() == before[path]]
    assert sorted(path.name for path in kept) == ["images.parquet", "part-00001.parquet", "part-00001.parquet"]
    assert {*Counter([*table(output)["path"], *table(output, "failures")["path"]]).values()} == {1}


def test_nothing_is_computed_for_a_run_that_is_finished(
    photos: Path, tmp_path: Path, captioner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(photos, tmp_path / "out", captioner)
    monkeypatch.setattr(module, "_caption", lambda *_: pytest.fail("the captioner is loaded again"))
    assert run(photos, tmp_path / "out", captioner) == first


def test_a_run_with_something_else_is_refused(
    photos: Path, tmp_path: Path, captioner: Path, write_captioner: Any
) -> None:
    output, sources = str(tmp_path / "out"), [str(photos)]
    run(photos, output, captioner)
    beam = GenerationConfig(strategy="beam")
    refused = "give the same to continue it, or another --output"
    with pytest.raises(CaptionsError, match=f"out was begun with other decoding settings; {refused}"):
        caption_many(sources, output, captioner, beam, options=SMALL)
    with pytest.raises(CaptionsError, match=f"begun with another captioner; {refused}"):
        caption_many(sources, output, write_captioner(tmp_path / "other", seed=11), GREEDY, options=SMALL)
    with pytest.raises(CaptionsError, match=f"begun with another seed; {refused}"):
        caption_many(sources, output, captioner, GREEDY, 5, SMALL)
    with pytest.raises(CaptionsError, match=f"begun with another --partition-size; {refused}"):
        caption_many(sources, output, captioner, GREEDY)
    (photos / "11.png").write_bytes((photos / "01.png").read_bytes())
    images = r"other images \(11, in .*/out/images.parquet\)"
    with pytest.raises(CaptionsError, match=f"begun with {images}; {refused}"):
        run(photos, output, captioner)
    assert run(tmp_path / "out" / "images.parquet", output, captioner).captioned == NUM_IMAGES - 1  # what it proposes


def test_failures_are_tried_again_when_that_is_asked_for(photos: Path, tmp_path: Path, captioner: Path) -> None:
    output = tmp_path / "out"
    run(photos, output, captioner)
    (photos / "02.png").write_bytes((photos / "01.png").read_bytes())
    assert run(photos, output, captioner).failed == 1
    untouched = (output / "captions" / "part-00001.parquet").read_bytes()
    assert run(photos, output, captioner, retry_failures=True)[:2] == (NUM_IMAGES, 0)
    assert list(table(output)["name"]) == [f"{number:02}.png" for number in range(NUM_IMAGES)]
    assert table(output, "failures").empty
    assert (output / "captions" / "part-00001.parquet").read_bytes() == untouched


def test_a_bucket_is_read_and_written(bucket: Bucket, tmp_path: Path, captioner: Path, photos: Path) -> None:
    run("memory://team/photos", "memory://team/out", captioner)
    run(photos, tmp_path / "out", captioner)
    assert len(bucket.paths("/team/out/")) == 2 + 2 * 3
    (tmp_path / "copy.parquet").write_bytes(bucket.system.cat_file("/team/out/captions/part-00001.parquet"))
    copy, local = pd.read_parquet(tmp_path / "copy.parquet"), table(tmp_path / "out").iloc[3:7]
    assert list(copy["caption"]) == list(local["caption"])
    assert copy["path"][0] == "memory:///team/photos/04.png"
    assert run("memory://team/photos", "memory://team/out", captioner)[:2] == (NUM_IMAGES - 1, 1)


def test_a_store_that_is_busy_is_asked_again_and_what_it_never_gives_is_a_failure(
    bucket: Bucket, tmp_path: Path, captioner: Path
) -> None:
    bucket.failing = {
        "/team/photos/01.png": [OSError("503 Slow Down"), TimeoutError("no answer")],
        "/team/photos/03.png": [OSError("503 Slow Down")] * 100,
        "/team/photos/04.png": [PermissionError("403")] * 100,
        "/team/photos/05.png": [FileNotFoundError("404")] * 100,
    }
    assert run("memory://team/photos", tmp_path / "out", captioner).failed == 4
    failures = table(tmp_path / "out", "failures").set_index("name")
    assert dict(failures["kind"]) == {
        "02.png": "invalid", "03.png": "unreachable", "04.png": "denied", "05.png": "missing",
    }  # fmt: skip
    assert failures["error"]["03.png"] == (
        "memory:///team/photos/03.png: cannot be reached (503 Slow Down); try again later"
    )
    assert "01.png" in set(table(tmp_path / "out")["name"])


def test_several_captions_of_an_image_are_rows_of_one_partition(photos: Path, tmp_path: Path, captioner: Path) -> None:
    config = GenerationConfig(strategy="beam", num_beams=3, num_return_sequences=2, max_new_tokens=4)
    result = caption_many([str(photos)], str(tmp_path / "out"), captioner, config, options=SMALL)
    assert result.captioned == NUM_IMAGES - 1
    assert {*Counter(table(tmp_path / "out")["path"]).values()} == {2}


def test_what_cannot_be_captioned_at_all_is_refused_before_any_work(
    photos: Path, tmp_path: Path, captioner: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(DataError, match="full has other files in it; give --output a folder of its own"):
        run(photos, tmp_path / "full", captioner)
    with pytest.raises(AccessError, match="nowhere: there is no such file"):
        run(tmp_path / "nowhere", tmp_path / "out", captioner)
    with pytest.raises(ModelError, match=r"holds no captioner \(.*captioner.json is missing\)"):
        run(photos, tmp_path / "out", tmp_path / "full")
    assert not (tmp_path / "out").exists()


def test_partitions_that_another_run_spoils_are_named(
    photos: Path, tmp_path: Path, captioner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_caption", lambda *_: None)
    with pytest.raises(DistributedError, match="out: 3 partitions not done; run the same command again"):
        run(photos, tmp_path / "out", captioner)
