"""Several ranks compute what one computes; they end together, and their failures are named."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.training.ranks import (
    NO_DROPOUT,
    PICTURES,
    Jobs,
    broken,
    curve,
    differing,
    fail_as,
    features,
    finetuned,
    one_step,
    resumed,
    rewarded,
)
from tests.training.test_trainer import changed
from wordgaze.core.errors import DistributedError, ParamsError
from wordgaze.distributed.launch import count_ranks, started_ranks
from wordgaze.distributed.ranks import Ranks

FOUR = changed(devices=4)
TWO = changed(devices=2)
STEPS = 54
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Any]:
    """What the first of one, two and four ranks got, by the name of the work; to start them takes seconds."""
    folder = tmp_path_factory.mktemp("ranks")
    jobs: dict[tuple[str, int], Any] = {("broken", 2): partial(broken, folder=folder), ("differing", 4): differing}
    for n in (2, 4):
        jobs |= {(f"step {name}", n): partial(one_step, name=name) for name in ("xe", "scst", "both") if n < 4}
        jobs["plain", n] = partial(curve, folder=folder / f"plain{n}", model=NO_DROPOUT)
        jobs["rewarded", n] = partial(rewarded, folder=folder / f"rewarded{n}")
        jobs["dropout", n] = partial(curve, folder=folder / f"dropout{n}", model={})
        jobs["finetuned", n] = partial(finetuned, folder=folder / f"finetuned{n}")
        jobs["features", n] = partial(features, folder=folder / f"features{n}")
    jobs["some features", 4] = partial(features, folder=folder / "features", stop=2)
    jobs["more features", 2] = partial(features, folder=folder / "features", stop=3)
    jobs["step hard", 2] = partial(one_step, name="xe", hard=True)
    jobs["first half", 2] = partial(resumed, folder=folder / "resumed", stop=20)
    jobs["second quarter", 4] = partial(resumed, folder=folder / "resumed", stop=40)
    work = Jobs(jobs)
    with started_ranks(FOUR, work) as ranks:  # type: ignore[arg-type]
        found = work(ranks)
    alone = Ranks()
    found["features", 1] = features(alone, folder / "features1")
    found["other features", 1] = features(alone, folder / "features")
    found["finetuned", 1] = finetuned(alone, folder / "finetuned1")
    found["plain", 1] = curve(alone, folder / "plain1", NO_DROPOUT)
    found["dropout", 1] = curve(alone, folder / "dropout1", {})
    found["last quarter", 1] = resumed(alone, folder / "resumed")
    found |= {(f"step {name}", 1): one_step(alone, name) for name in ("xe", "scst", "both")}
    found["step hard", 1] = one_step(alone, "xe", hard=True)
    return found


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("model", ["plain", "dropout"])
def test_the_losses_of_all_steps_are_those_of_one_rank(
    model: str, world_size: int, results: dict[tuple[str, int], Any]
) -> None:
    assert len(results[model, 1]) == STEPS
    assert results[model, world_size] == pytest.approx(results[model, 1], abs=1e-5)
    assert results["plain", 1] != pytest.approx(results["dropout", 1], abs=1e-2)


@pytest.mark.parametrize("world_size", [2, 4])
def test_an_encoder_is_trained_on_the_images_that_one_rank_would_draw(
    world_size: int, results: dict[tuple[str, int], Any]
) -> None:
    assert len(results["finetuned", 1]) == 4
    assert results["finetuned", world_size] == pytest.approx(results["finetuned", 1], abs=1e-4)


def test_captions_are_sampled_by_the_place_of_an_image_in_its_batch(results: dict[tuple[str, int], Any]) -> None:
    assert len(results["rewarded", 2]) == 6
    assert results["rewarded", 4] == pytest.approx(results["rewarded", 2], abs=1e-4)


@pytest.mark.parametrize("name", ["xe", "scst", "both", "hard"])
def test_the_gradient_of_a_batch_of_unequal_captions_is_that_of_one_rank(
    name: str, results: dict[tuple[str, int], Any]
) -> None:
    """Hard attention takes its first baseline from the whole batch."""
    alone, shared = (dict(results[f"step {name}", n]) for n in (1, 2))
    torch.testing.assert_close(shared.pop("gradients"), alone.pop("gradients"), rtol=0, atol=1e-6)
    assert (shared.pop("reward") is None) == (name != "hard")
    reward = alone.pop("reward")
    assert results[f"step {name}", 2]["reward"] == (None if reward is None else pytest.approx(reward, abs=1e-6))
    assert shared == pytest.approx(alone, abs=1e-6)


def test_a_training_goes_on_with_another_number_of_ranks(results: dict[tuple[str, int], Any]) -> None:
    """The checkpoint lies in the folder of the first rank alone."""
    first, second, last = results["first half", 2], results["second quarter", 4], results["last quarter", 1]
    assert (len(first), len(second), len(last)) == (20, 21, 15)  # the step before an end is taken again
    assert [*first[:-1], *second[:-1], *last] == pytest.approx(results["dropout", 1], abs=1e-5)


@pytest.mark.parametrize("world_size", [2, 4])
def test_features_have_the_same_bytes_for_any_number_of_ranks(
    world_size: int, results: dict[tuple[str, int], Any]
) -> None:
    computed, files = results["features", 1]
    assert computed == len(PICTURES) and len(files) > 30
    assert results["features", world_size] == (computed, files)


def test_features_that_were_computed_are_kept_for_another_number_of_ranks(
    results: dict[tuple[str, int], Any],
) -> None:
    computed, files = results["other features", 1]
    assert files == results["features", 1][1]
    assert computed <= len(PICTURES) - 8  # four ranks have written a shard, and after them two ranks two


def test_a_loss_that_is_not_finite_stops_all_ranks(results: dict[tuple[str, int], Any]) -> None:
    assert results["broken", 2].startswith("the loss is nan at step 0; no checkpoint was saved")


def test_a_rank_with_other_params_is_named(results: dict[tuple[str, int], Any]) -> None:
    host = socket.gethostname()
    assert results["differing", 4] == (
        f"rank 3 on {host} has other params.yaml than rank 0 on {host}; make them equal, and start all ranks again"
    )


def no_process_is_left() -> bool:
    return not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            "killed",
            "rank 1 was ended by SIGKILL; run the stage again: it goes on from what it has saved",
        ),
        ("failed", f"rank 1 on {socket.gethostname()}: data/features is damaged; run dvc repro"),
    ],
)
def test_a_rank_that_ends_ends_all_with_its_reason(how: str, message: str) -> None:
    main = fail_as(how)
    with pytest.raises(DistributedError) as caught, started_ranks(TWO, main) as ranks:
        main(ranks)
    assert str(caught.value).startswith(message)
    assert no_process_is_left()


TRAINING = """
import multiprocessing, os, signal, threading
from tests.training.ranks import fail_as
from tests.training.test_trainer import changed
from wordgaze.distributed.launch import started_ranks

if __name__ == "__main__":
    main = fail_as("left alone")
    with started_ranks(changed(devices=2), main) as ranks:
        print(multiprocessing.active_children()[0].pid, flush=True)
        threading.Timer(4, os.kill, (os.getpid(), signal.SIGKILL)).start()
        main(ranks)
"""


def test_ranks_end_with_the_first_one(tmp_path: Path) -> None:
    """Which is killed while it waits for the other."""
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    root = Path(__file__).parents[2]
    paths = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=paths, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    worker, until = int(done.stdout), time.monotonic() + 30
    while psutil.pid_exists(worker):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert "Traceback" not in done.stderr


def test_an_interrupted_training_leaves_no_process() -> None:
    main = fail_as("interrupted")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts without it
    try:
        with pytest.raises(KeyboardInterrupt), started_ranks(TWO, main) as ranks:
            main(ranks)
    finally:
        signal.signal(signal.SIGINT, before)
    assert no_process_is_left()


def test_a_rank_has_its_share_of_the_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with Ranks(local_world_size=3).divided_threads():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("devices", "gpus", "expected"), [("auto", 0, 1), (3, 0, 3), ("auto", 8, 8), (2, 8, 2), (2, 1, 1)]
)
def test_there_is_a_rank_for_each_device(
    devices: object, gpus: int, expected: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert count_ranks(changed(devices=devices), torch.device("cuda" if gpus else "cpu")) == expected
    assert caplog.messages == (["devices is 2, and torch finds 1 GPU(s), which are used"] if gpus == 1 else [])


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment that torchrun gives to the second of two ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = {"RANK": 1, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in {**values, "WORDGAZE_RENDEZVOUS_TIMEOUT": 0.5}.items():
        monkeypatch.setenv(name, str(value))
    return monkeypatch


def test_an_unreachable_rendezvous_is_named(launcher: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{os.environ['MASTER_PORT']}"
    message = rf"rank 1 cannot reach the rendezvous at {address} within 0.5 s \(.+\); check MASTER_ADDR"
    with pytest.raises(DistributedError, match=message), started_ranks(TWO, lambda _: None):
        pass


def test_a_rank_that_does_not_come_is_named(launcher: pytest.MonkeyPatch) -> None:
    launcher.setenv("RANK", "0")
    message = r"rank 1 of 2 has not come to 127.0.0.1:\d+ within 0.5 s; start it"
    with started_ranks(TWO, lambda _: None) as ranks, pytest.raises(DistributedError, match=message):
        ranks.join({}, CPU)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RANK", "2", "RANK is 2, and WORLD_SIZE 2; give each process a rank below WORLD_SIZE"),
        ("RANK", "one", "the environment variable RANK is 'one'; a launcher such as torchrun sets it to a number"),
        ("MASTER_ADDR", "", "RANK and WORLD_SIZE are set, but not MASTER_ADDR; set it to the machine of rank 0"),
        (
            "WORDGAZE_RENDEZVOUS_TIMEOUT",
            "soon",
            "WORDGAZE_RENDEZVOUS_TIMEOUT is 'soon'; set it to a number of seconds above 0",
        ),
    ],
)
def test_an_environment_that_is_not_of_a_launcher_is_refused(
    name: str, value: str, message: str, launcher: pytest.MonkeyPatch
) -> None:
    launcher.setenv(name, value)
    with pytest.raises(ParamsError) as caught, started_ranks(TWO, lambda _: None):
        pass
    assert str(caught.value) == message


def test_a_launcher_of_one_process_starts_no_other(launcher: pytest.MonkeyPatch) -> None:
    launcher.setenv("RANK", "0")
    launcher.setenv("WORLD_SIZE", "1")
    with started_ranks(TWO, lambda _: None) as ranks:
        assert (ranks.world_size, no_process_is_left()) == (1, True)
