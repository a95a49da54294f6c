"""Two runs with equal inputs share their work, unfinished work depends on the code, and memory is bounded."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from tests.disk import full_disk
from wordgaze.config.params import FeaturesParams, Params
from wordgaze.core import paths
from wordgaze.core.parallel import map_ahead
from wordgaze.data.records import Record, write_records
from wordgaze.stages import features
from wordgaze.vision import feature_extraction
from wordgaze.vision.encoders import build_encoder
from wordgaze.vision.feature_store import FeatureStore

CHECKOUT = Path(__file__).parents[2]
IMPORTS = os.pathsep.join(map(str, (CHECKOUT / "src", CHECKOUT)))
SETTINGS = FeaturesParams(
    encoder="timm/test_efficientnet", weights="random", image_size=64, batch_size=2, shard_size=3, device="cpu",
    precision="fp32",
)  # fmt: skip
IMAGES = [f"{n}.png" for n in range(7)]
LIMIT = 120


def write_images(folder: Path) -> None:
    for number, name in enumerate(IMAGES):
        path = folder / "data" / "raw" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").rotate(40 * number).resize((40, 30)).convert("RGB").save(path)
    write_records(folder / "data" / "raw" / "captions.jsonl", [Record(name, ("a dog",)) for name in IMAGES])


def run_untracked(gate: Path | None = None) -> None:
    """The stage without MLflow and contracts; prints each image that it reads, the first after ``gate`` exists."""
    patch = pytest.MonkeyPatch()
    load = feature_extraction.decode_safely

    def read(path: Path) -> Image.Image:
        while gate is not None and not gate.exists():
            time.sleep(0.01)
        sys.stdout.write(f"{path.name}\n")  # in one piece: several threads write
        return load(path)

    @contextlib.contextmanager
    def untracked(*_: object) -> Iterator[Any]:
        yield SimpleNamespace(metrics=lambda values: None)

    with patch.context() as patched:
        patched.setattr(feature_extraction, "decode_safely", read)
        patched.setattr(features, "stage_run", untracked)
        patched.setattr(features, "check", lambda *_: SimpleNamespace(to_json=lambda: "{}"))
        patched.setattr(features, "log_contract", lambda *_: None)
        features.run(Params(features=SETTINGS))


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
    files = [paths.RAW / "images" / name for name in IMAGES]
    monkeypatch.setattr(feature_extraction, "map_ahead", watched)
    monkeypatch.setattr(feature_extraction, "available_cpus", lambda: 11)
    with torch.inference_mode():
        actual = torch.cat(list(feature_extraction._with_gpu(encoder, files, 2)))
        torch.testing.assert_close(actual, expected, atol=0.02, rtol=0.02)
        monkeypatch.setattr(feature_extraction, "PIXEL_MEMORY", 3 * 64 * 64 * 3)
        list(feature_extraction._with_gpu(encoder, files, 2))
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
