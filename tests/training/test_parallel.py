"""Several processes compute the gradient of one; they end with the training, and their failures are reported."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from tests.training.test_train_step import UNEQUAL, SumStep, gradients, train_step
from tests.training.test_trainer import STEPS, Killed, changed, killer, nothing, rewarding, trainer, weights
from wordgaze.core.errors import ModelError
from wordgaze.training.batches import Batch
from wordgaze.training.parallel import DataParallel, data_parallel

TWO = {"num_processes": 2}


@pytest.fixture(scope="module")
def two() -> Iterator[DataParallel]:
    """A train step in two processes; to start them takes seconds."""
    with data_parallel(train_step(), 2) as step:
        yield step


def test_the_gradient_is_that_of_one_process_on_the_whole_batch(two: DataParallel) -> None:
    alone = SumStep([UNEQUAL])
    output = two(UNEQUAL)
    assert float(output.loss) == pytest.approx(alone.loss, abs=1e-6)
    assert output.metrics == pytest.approx(alone.metrics, abs=1e-6)
    torch.testing.assert_close(gradients(two.train_step), alone.gradients, rtol=0, atol=1e-6)
    assert two(UNEQUAL) == output


def test_workers_see_the_weights_change(two: DataParallel) -> None:
    before = float(two(UNEQUAL).loss)
    biases = two.train_step.decoder.lm_head.bias
    with torch.no_grad():
        biases[4:] += 1.0
    alone = SumStep([UNEQUAL], two.train_step)
    assert float(two(UNEQUAL).loss) == pytest.approx(alone.loss, abs=1e-6) != pytest.approx(before, abs=1e-2)
    with torch.no_grad():
        biases[4:] -= 1.0


def test_a_batch_of_fewer_images_than_processes_is_not_split(two: DataParallel) -> None:
    single = Batch(UNEQUAL.features[:1], UNEQUAL.captions[:1], UNEQUAL.images[:1])
    output, alone = two(single), SumStep([single])
    assert (float(output.loss), output.metrics) == (alone.loss, alone.metrics)
    torch.testing.assert_close(gradients(two.train_step), alone.gradients, rtol=0, atol=0)


def test_a_loss_that_is_not_finite_in_a_worker_is_not_finite(two: DataParallel) -> None:
    features = UNEQUAL.features.clone()
    features[-1] = math.nan
    assert math.isnan(two(Batch(features, UNEQUAL.captions, UNEQUAL.images)).loss)


def test_an_error_of_a_worker_is_reported(two: DataParallel) -> None:
    captions = UNEQUAL.captions.clone()
    captions[-1, 0, 0] = 99  # not in the vocabulary
    with pytest.raises(ModelError, match=r"a worker process of the training failed: .*index"):
        two(Batch(UNEQUAL.features, captions, UNEQUAL.images))
    assert math.isfinite(two(UNEQUAL).loss)


def test_hard_attention_gets_its_first_baseline_from_the_whole_batch() -> None:
    alone, shared = train_step(hard=True), train_step(hard=True)
    with data_parallel(shared, 2) as step:
        torch.manual_seed(1)
        output = step(UNEQUAL, None)
        baseline = output.reward.value if output.reward else math.nan
        split = step(UNEQUAL, baseline)
    torch.manual_seed(1)
    assert alone(UNEQUAL, None) == output
    assert split.reward
    assert split.reward.words == 23  # of both parts


def test_threads_are_divided_and_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with data_parallel(train_step(), 2) as step:
            assert torch.get_num_threads() == 2
            with step.all_threads():
                assert torch.get_num_threads() == 4
            assert torch.get_num_threads() == 2
            os.kill(step.workers[0].process.pid, signal.SIGKILL)
            with pytest.raises(
                ModelError, match=r"a worker process of the training exited with code -9; run the train"
            ):
                step(UNEQUAL)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_killed_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    objective = rewarding(0.5)
    whole = trainer(tmp_path / "whole", changed(**TWO), objective=objective)
    history = whole.train(nothing, nothing)
    with pytest.raises(Killed):
        trainer(tmp_path, changed(**TWO), objective=objective).train(nothing, killer(STEPS + 1))
    torch.manual_seed(1234)
    again = trainer(tmp_path, changed(**TWO), objective=objective)
    assert (again.train(nothing, nothing), weights(again)) == (history, weights(whole))


TRAINING = """
import os, signal, sys, threading
import torch
from wordgaze.models.decoder import Decoder
from wordgaze.config.params import TrainParams
from wordgaze.models.config import DecoderConfig
from wordgaze.training.batches import Batch
from wordgaze.training.train_step import TrainStep, Objective
from wordgaze.training.parallel import data_parallel

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job is started without
    train_step = TrainStep(Decoder(DecoderConfig(), 3, 8), None, TrainParams(), Objective(), torch.float32)
    batch = Batch(torch.ones(4, 2, 3), torch.tensor([[[4, 5, 2]]] * 4), ("a", "b", "c", "d"))
    with data_parallel(train_step, 2) as step:
        step(batch, None)
        print(step.workers[0].process.pid, flush=True)
        how = signal.SIGKILL if sys.argv[1] == "killed" else signal.SIGINT
        threading.Timer(0.2, os.kill, (os.getpid(), how)).start()  # in the middle of a step
        while True:
            step(batch, None)
"""


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_workers_end_with_the_training_whatever_ended_it(how: str, tmp_path: Path) -> None:
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    paths = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script, how], capture_output=True, text=True, env=paths, timeout=120, check=False
    )
    assert done.returncode == (-signal.SIGKILL if how == "killed" else -signal.SIGINT)
    worker, until = int(done.stdout), time.monotonic() + 30
    while psutil.pid_exists(worker):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert "SpawnProcess" not in done.stderr  # how the traceback of a worker begins
