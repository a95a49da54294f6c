"""Only what is not known is computed, and the files do not show in which order it came."""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.disk import full_disk
from tests.stored_features import pictures_named
from wordgaze.config.params import FeatureDtype
from wordgaze.vision import feature_shards
from wordgaze.vision.feature_shards import ShardFolder, write_shards

NAMES = [f"{n}.jpg" for n in range(12)]


class Encoder:
    """Computes features (N, 4, 3), and remembers of which images."""

    def __init__(self) -> None:
        self.computed: list[str] = []

    def __call__(self, names: Sequence[str], keys: Sequence[bytes]) -> Tensor:
        self.computed += names
        numbers = torch.tensor([float(name.removesuffix(".jpg")) for name in names])
        return (numbers[:, None] * 16 + torch.arange(12)).view(-1, 4, 3).to(torch.bfloat16)


def write(
    folder: Path, names: Sequence[str], previous: Path | None = None, dtype: FeatureDtype = "bf16", shard_size: int = 2
) -> list[str]:
    """Writes shards; returns the images that were computed."""
    encoder, before = Encoder(), [ShardFolder.open(previous)] if previous else []
    count = write_shards(folder, pictures_named(names, shard_size), dtype, encoder, before)
    assert count == len(encoder.computed)
    return encoder.computed


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


STEPS = st.lists(st.tuples(st.sets(st.sampled_from(NAMES), min_size=1), st.integers(1, 5)), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(STEPS, st.sampled_from(["bf16", "int8", "fp8"]))
def test_the_files_are_the_same_whatever_was_added_or_removed_before(
    steps: list[tuple[set[str], int]], dtype: FeatureDtype
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        previous, known = None, set[str]()
        for number, (names, shard_size) in enumerate(steps):
            folder = Path(temporary, str(number))
            assert set(write(folder, sorted(names), previous, dtype, shard_size)) == names - known
            previous, known = folder, names
        at_once = Path(temporary, "at once")
        write(at_once, sorted(names, reverse=True), None, dtype, shard_size)
        assert contents(folder) == contents(at_once)


def test_what_is_known_is_said_in_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    write(tmp_path / "before", NAMES[:10])
    assert caplog.messages == []
    assert sorted(write(tmp_path / "after", NAMES, tmp_path / "before")) == sorted(NAMES[10:])
    assert caplog.messages == ["features: 10 of 12 images are known; 2 are computed"]


def test_an_interrupted_run_is_resumed_and_its_shards_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_shards, "_TOGETHER", 4)
    encoder = Encoder()

    def interrupted(names: Sequence[str], keys: Sequence[bytes]) -> Tensor:
        if encoder.computed:
            raise KeyboardInterrupt
        return encoder(names, keys)

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, pictures_named(NAMES, 2), "bf16", interrupted)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("shard-*")}
    assert before
    assert sorted(write(tmp_path, NAMES)) == sorted(set(NAMES) - set(encoder.computed))
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_an_interrupted_run_is_resumed_without_a_picture_that_was_broken(tmp_path: Path) -> None:
    write(tmp_path, NAMES)
    assert write(tmp_path, NAMES[1:]) == []
    assert write(tmp_path, NAMES[:5]) == [NAMES[0]]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings, without what is only told, which another test may have turned on."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("damage", ["empty", "zeros", "flipped"])
def test_a_damaged_shard_is_named_and_computed_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    write(before, NAMES)
    intact = contents(before)
    shard = sorted(before.glob("shard-*"))[1]
    content = bytearray(shard.read_bytes())
    content[8 + int.from_bytes(content[:8], "little")] ^= 0x41  # the first value
    shard.write_bytes({"empty": b"", "zeros": b"\0" * 40, "flipped": bytes(content)}[damage])
    assert 0 < len(write(after, NAMES, before)) < 4
    [line] = warnings_of(caplog)
    assert str(shard) in line and line.endswith("it is computed again")
    assert contents(after) == intact
    caplog.clear()
    assert 0 < len(write(before, NAMES)) < 4
    assert len(warnings_of(caplog)) == 1
    assert contents(before) == intact


def test_damaged_checksums_cost_the_shards(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, NAMES)
    intact = contents(tmp_path)
    (tmp_path / "SHA256SUMS").write_text("no checksum")
    assert len(write(tmp_path, NAMES)) == len(NAMES)
    assert "SHA256SUMS is not a list of checksums" in caplog.text
    assert contents(tmp_path) == intact


def test_a_read_only_shard_gets_a_second_name_and_any_other_is_copied(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    write(before, NAMES)
    first, second, *_ = (path.name for path in sorted(before.glob("shard-*")))
    (before / first).chmod(0o444)
    assert write(after, NAMES, before) == []
    assert (before / first).samefile(after / first)
    assert not (before / second).samefile(after / second)
    assert contents(after) == contents(before)


def test_a_shard_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with full_disk(400), pytest.raises(OSError, match=r"too large|No space"):
        write(tmp_path, NAMES, shard_size=8)
    assert [path.name for path in tmp_path.iterdir()] == []
    assert len(write(tmp_path, NAMES)) == len(NAMES)


def test_no_features_are_computed_with_the_pictures_of_another_name(tmp_path: Path) -> None:
    """Renamed images keep their features: the name is not a part of the key."""
    pictures = pictures_named(NAMES, 2)
    write(tmp_path / "before", NAMES)
    renamed = type(pictures).of([f"new-{name}" for name in pictures.names], pictures.keys[pictures.pictures], 2)
    encoder = Encoder()
    write_shards(tmp_path / "after", renamed, "bf16", encoder, [ShardFolder.open(tmp_path / "before")])
    assert encoder.computed == []
    assert contents(tmp_path / "after") == contents(tmp_path / "before")
