"""Two runs with equal inputs share their work, unfinished work depends on the code, and memory is bounded."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from tests.disk import full_disk
from wordgaze.config.params import FeaturesParams, Params
from wordgaze.core import paths
from wordgaze.core.errors import DataError, DistributedError, ImageError
from wordgaze.core.parallel import map_ahead
from wordgaze.data.records import Record, write_records
from wordgaze.stages import features
from wordgaze.vision import feature_extraction, feature_shards
from wordgaze.vision.encoders import build_encoder
from wordgaze.vision.feature_store import FeatureStore
from wordgaze.vision.picture_keys import PictureKeys, read_keys, read_picture

CHECKOUT = Path(__file__).parents[2]
IMPORTS = os.pathsep.join(map(str, (CHECKOUT / "src", CHECKOUT)))
SETTINGS = FeaturesParams(
    encoder="timm/test_efficientnet", weights="random", image_size=64, batch_size=2, shard_size=3, device="cpu",
    precision="fp32",
)  # fmt: skip
IMAGES = [f"{n}.png" for n in range(7)]
LIMIT = 120


def write_images(folder: Path, names: Sequence[str] = IMAGES) -> None:
    for name in names:
        number = IMAGES.index(name)
        path = folder / "data" / "raw" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").rotate(40 * number).resize((40, 30)).convert("RGB").save(path)
    write_records(folder / "data" / "raw" / "captions.jsonl", [Record(name, ("a dog",)) for name in names])


def run_untracked(gate: Path | None = None, settings: FeaturesParams = SETTINGS) -> None:
    """The stage without MLflow and contracts; prints each image that it reads, the first after ``gate`` exists."""
    patch = pytest.MonkeyPatch()
    load = read_picture

    def read(path: Path, key: bytes) -> bytes:
        while gate is not None and not gate.exists():
            time.sleep(0.01)
        sys.stdout.write(f"{path.name}\n")  # in one piece: several threads write
        return load(path, key)

    @contextlib.contextmanager
    def untracked(*_: object) -> Iterator[Any]:
        yield SimpleNamespace(metrics=lambda values: None)

    with patch.context() as patched:
        patched.setattr(feature_extraction, "read_picture", read)
        patched.setattr(features, "stage_run", untracked)
        patched.setattr(features, "check", lambda *_: SimpleNamespace(to_json=lambda: "{}"))
        patched.setattr(features, "log_contract", lambda *_: None)
        features.run(Params(features=settings))


def start(folder: Path, root: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "DVC_ROOT": str(root), "OMP_NUM_THREADS": "1", "PYTHONPATH": IMPORTS}
    return subprocess.Popen(
        [sys.executable, __file__, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(condition: Any, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_two_processes_with_equal_inputs_share_their_work(tmp_path: Path) -> None:
    """Fault 8: two queued experiments wrote one scratch folder, and the second failed when the first moved it away."""
    write_images(tmp_path / "one")
    write_images(tmp_path / "two")
    locks = tmp_path / ".scratch" / "locks"
    first = start(tmp_path / "one", tmp_path, str(tmp_path / "gate"))
    wait_for(lambda: list(locks.glob(f"*.*-{first.pid}-*")), first)
    wait_for(lambda: list((tmp_path / ".scratch").glob("features-*")), first)
    second = start(tmp_path / "two", tmp_path)
    wait_for(lambda: list(locks.glob(f"*.*-{second.pid}-*")), second)
    (tmp_path / "gate").touch()
    outputs = [process.communicate(timeout=LIMIT) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    assert sorted(outputs[0][0].split()) == IMAGES
    assert outputs[1][0] == ""  # every shard came from the first process
    stores = [FeatureStore(tmp_path / name / "data" / "features") for name in ("one", "two")]
    assert torch.equal(stores[0].read(IMAGES), stores[1].read(IMAGES))
    assert not list((tmp_path / ".scratch").glob("features-*"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def test_unfinished_work_is_not_resumed_by_other_code(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 2: the scratch key had settings and data, so that shards of old code were taken for those of new code."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(features, "write_manifest", interrupted)
        run_untracked()
    assert len(capsys.readouterr().out.split()) == len(IMAGES)
    monkeypatch.setattr(features, "code_fingerprint", lambda stage: f"another {stage}")
    run_untracked()
    assert len(capsys.readouterr().out.split()) == len(IMAGES)
    monkeypatch.undo()
    monkeypatch.chdir(project)
    run_untracked()
    assert capsys.readouterr().out == ""
    assert not list((project / ".scratch").glob("features-*"))


def stored(project: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project / "data" / "features").iterdir()}


def test_an_added_image_alone_is_computed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The files are those of one run over all images."""
    run_untracked()
    at_once = stored(project)
    shutil.rmtree(project / "data" / "features")
    write_images(project, IMAGES[:5])
    run_untracked()
    capsys.readouterr()
    write_images(project, IMAGES)
    run_untracked()
    assert sorted(capsys.readouterr().out.split()) == IMAGES[5:]
    assert stored(project) == at_once


def test_an_address_has_the_shards_and_the_output_of_the_stage_the_rest(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is computed again where features move to an address and back."""
    run_untracked()
    alone = stored(project)
    shutil.rmtree(paths.FEATURES)
    write_images(project, IMAGES[:5])
    away = SETTINGS.model_copy(update={"address": (project / "bucket").as_uri()})
    with pytest.raises(DataError, match="make the bucket or the folder first, or check the address"):
        run_untracked(settings=away)
    assert capsys.readouterr().out.count("png") == len(IMAGES)  # of the first run alone
    (project / "bucket").mkdir()
    run_untracked(settings=away)
    assert not list(paths.FEATURES.glob("shard-*"))
    assert FeatureStore(paths.FEATURES).read(IMAGES[:5]).isfinite().all()
    capsys.readouterr()
    write_images(project)
    shutil.rmtree(project / ".scratch" / "feature-cache")
    run_untracked(settings=away)
    assert sorted(capsys.readouterr().out.split()) == IMAGES[5:]
    run_untracked()
    assert capsys.readouterr().out == ""
    assert stored(project) == alone


def test_a_broken_image_costs_only_itself(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was computed before it was found is kept when the image is removed from the data."""
    monkeypatch.setattr(feature_shards, "_TOGETHER", 3)
    contents = (f"not an image {n}".encode() for n in count())
    of_last_shard = next(each for each in contents if hashlib.sha256(each).digest()[:2] == b"\xff\xff")
    (project / "data" / "raw" / "images" / "1.png").write_bytes(of_last_shard)
    with pytest.raises(ImageError, match=r"1\.png: "):
        run_untracked()
    before = capsys.readouterr().out.split()
    write_images(project, others := [name for name in IMAGES if name != "1.png"])
    run_untracked()
    again = capsys.readouterr().out.split()
    assert len(set(before)) > len(again)
    assert sorted({*before, *again} - {"1.png"}) == others


def test_two_ranks_write_what_one_writes_and_a_rank_that_fails_ends_all_with_its_reason(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_untracked()
    alone = stored(project)
    shutil.rmtree(paths.FEATURES)
    raw = project / "data" / "raw" / "images"
    for content in (f"not an image {number}".encode() for number in count()):
        (raw / "1.png").write_bytes(content)
        pictures = PictureKeys.of(IMAGES, read_keys(raw, IMAGES), SETTINGS.shard_size)
        shards = [pictures.keys[rows].tobytes() for _, rows in pictures.shards()]
        if hashlib.sha256(content).digest() in shards[1]:  # which the second rank computes
            break
    several = SETTINGS.model_copy(update={"devices": 2})
    with pytest.raises(DistributedError, match=rf"^rank 1 on {socket.gethostname()}: data/raw/images/1.png: "):
        run_untracked(settings=several)
    assert not paths.FEATURES.exists()
    write_images(project)
    run_untracked(settings=several)
    assert stored(project) == alone
    assert not list((project / ".scratch").glob("features-*"))
    assert "Traceback" not in capfd.readouterr().err


def test_other_settings_compute_all(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_untracked()
    capsys.readouterr()
    run_untracked(settings=SETTINGS.model_copy(update={"image_size": 96}))
    assert len(capsys.readouterr().out.split()) == len(IMAGES)
    assert FeatureStore(project / "data" / "features").spec.image_size == 96


def test_the_maps_that_are_set_are_those_that_are_stored(project: Path) -> None:
    run_untracked(settings=SETTINGS.model_copy(update={"grid": 4, "depths": 2, "upsample_last": True}))
    store = FeatureStore(project / "data" / "features")
    encoder = build_encoder("timm/test_efficientnet", "random", 64, 4, 2, True)
    assert len(encoder.spec.networks[0].layers) == 3
    assert store.spec == encoder.spec
    assert store.read(IMAGES).shape == (len(IMAGES), 16, encoder.spec.channels)


@pytest.fixture
def own_threads() -> Iterator[None]:
    """The number of threads that a test sets is that of the test alone."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("own_threads")
def test_each_core_encodes_a_few_images(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The features depend on neither the number of cores nor that of the images that one encodes at a time."""
    run_untracked()
    expected = FeatureStore(paths.FEATURES).read(IMAGES)
    calls: list[tuple[int, int]] = []

    def watched(function: Any, items: Any, threads: int, ahead: int) -> Any:
        calls.append((threads, ahead))
        return map_ahead(function, items, threads, ahead)

    monkeypatch.setattr(feature_extraction, "map_ahead", watched)
    torch.set_num_threads(3)
    shutil.rmtree(paths.FEATURES)
    run_untracked()
    assert set(calls) == {(3, 4)}
    assert torch.equal(FeatureStore(paths.FEATURES).read(IMAGES), expected)


@pytest.mark.usefixtures("project", "own_threads")
def test_threads_that_start_later_compute_with_all_cores() -> None:
    torch.set_num_threads(2)
    run_untracked()
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 2


def test_for_a_gpu_all_cores_open_images_in_bounded_memory(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 14: two reader threads on every machine, and a whole shard of pixels at once."""
    calls: list[tuple[int, int]] = []

    def watched(function: Any, items: Any, threads: int, ahead: int) -> Any:
        calls.append((threads, ahead))
        return map(function, items)

    run_untracked()
    expected = FeatureStore(paths.FEATURES).read(IMAGES)
    encoder = build_encoder(SETTINGS.encoder, "random", SETTINGS.image_size).optimised(
        torch.device("cpu"), torch.float32
    )
    folder = paths.RAW / "images"
    keys = read_keys(folder, IMAGES)
    files = [feature_extraction._ImageFile(folder / name, bytes(key)) for name, key in zip(IMAGES, keys, strict=True)]
    monkeypatch.setattr(feature_extraction, "map_ahead", watched)
    with torch.inference_mode():
        actual = torch.cat(list(feature_extraction._with_gpu(encoder, files, 2, 11)))
        torch.testing.assert_close(actual, expected, atol=0.02, rtol=0.02)
        monkeypatch.setattr(feature_extraction, "PIXEL_MEMORY", 3 * 64 * 64 * 3)
        list(feature_extraction._with_gpu(encoder, files, 2, 11))
    assert calls == [(11, 4), (11, 3)]


if __name__ == "__main__":  # one of the two processes
    run_untracked(Path(sys.argv[1]) if sys.argv[1:] else None)


def test_a_disk_without_room_for_the_encoder_is_named_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    encoder = build_encoder(SETTINGS.encoder, "random", SETTINGS.image_size)
    with full_disk(1000), pytest.raises(OSError, match=r"too large|No space") as caught:
        features._save_weights(encoder)
    assert Path(caught.value.filename) == paths.scratch("encoder")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
