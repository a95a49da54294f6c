"""Several processes learn what one would; they end with the training, and what happens to them is told."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from tests.training.test_loop import (
    EXAMPLES,
    PLAIN,
    STEPS,
    Killed,
    Store,
    changed,
    killer,
    nothing,
    rewarding,
    trainer,
    weights,
)
from torch import Tensor

from wordgaze.core.errors import ModelError
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.training.batches import Batch, BatchLoader
from wordgaze.training.parallel import data_parallel, divided
from wordgaze.training.train_step import Objective, TrainStep

STEADY = DecoderConfig(
    embedding_size=5, hidden_size=6, attention_size=4, feature_size=5,
    dropout_embedding=0, dropout_features=0, dropout_output=0,
)  # fmt: skip
TWO = {"num_processes": 2}


def train_step(objective: Objective | None = None) -> TrainStep:
    torch.manual_seed(5)
    return TrainStep(Decoder(STEADY, 3, 8), None, PLAIN, objective or Objective(), torch.float32)


def batch(size: int = 5) -> Batch:
    return next(BatchLoader(EXAMPLES, Store(), size, 5).epoch(0))  # type: ignore[arg-type]


def gradients(of: TrainStep) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in of.parameters()]


def test_the_gradient_is_the_mean_of_the_parts_by_their_pictures() -> None:
    alone, whole = train_step(), batch()
    parts = divided(whole, 2)
    assert [part.images for part in parts] == [whole.images[:2], whole.images[2:]]
    wanted = [torch.zeros_like(p) for p in alone.parameters()]
    loss = 0.0
    for part in parts:
        share = len(part.images) / 5
        loss += share * alone.learn(part, None).total
        wanted = [w + share * g for w, g in zip(wanted, gradients(alone), strict=True)]
    together = train_step()
    with data_parallel(together, 2) as two:
        learned = two.learn(whole, None)
        again = two.learn(whole, None)
    assert learned.total == pytest.approx(loss, rel=1e-6)
    assert again == learned
    torch.testing.assert_close(gradients(together), wanted)


def test_helpers_see_the_weights_change() -> None:
    together, alone = train_step(), train_step()
    with data_parallel(together, 2) as two:
        two.learn(batch(), None)
        for of in (together, alone):
            with torch.no_grad():
                of.decoder.lm_head.bias[4:] += 1.0
        changed = two.learn(batch(), None).total
    parts = divided(batch(), 2)
    assert changed == pytest.approx(sum(len(p.images) / 5 * alone.learn(p, None).total for p in parts), rel=1e-6)


def test_a_batch_of_fewer_pictures_than_processes_is_learned_from() -> None:
    together, alone = train_step(), train_step()
    with data_parallel(together, 2) as two:
        learned = two.learn(batch(1), None)
    assert learned == alone.learn(batch(1), None)
    torch.testing.assert_close(gradients(together), gradients(alone))


@pytest.mark.parametrize("objective", [None, rewarding(0.5)])
def test_killed_it_ends_with_the_same_bytes(objective: Objective | None, tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", changed(**TWO), objective=objective)
    history = whole.run(nothing, nothing)
    with pytest.raises(Killed):
        trainer(tmp_path, changed(**TWO), objective=objective).run(nothing, killer(STEPS + 1))
    torch.manual_seed(1234)
    again = trainer(tmp_path, changed(**TWO), objective=objective)
    assert (again.run(nothing, nothing), weights(again)) == (history, weights(whole))
    assert not [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]


def test_threads_are_shared_out_and_come_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with data_parallel(train_step(), 2) as two:
            assert torch.get_num_threads() == 2
            with two.resting():
                assert torch.get_num_threads() == 4
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_a_helper_that_is_killed_is_told_of() -> None:
    with data_parallel(train_step(), 2) as two:
        os.kill(two.helpers[0].process.pid, signal.SIGKILL)
        with pytest.raises(ModelError, match=r"a process of the training is gone \(exit code -9\); run it again"):
            two.learn(batch(), None)


def test_what_goes_wrong_in_a_helper_is_told() -> None:
    broken = batch()
    broken.captions[-1, 0, 0] = 99  # no such word
    with (
        data_parallel(train_step(), 2) as two,
        pytest.raises(ModelError, match=r"a process of the training failed: .*index"),
    ):
        two.learn(broken, None)


def test_a_loss_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the loss is nan at step 0; try a lower learning_rate"):
        trainer(tmp_path, changed(**TWO), scale=float("nan")).run(nothing, nothing)


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
    with data_parallel(train_step, 2) as two:
        two.learn(batch, None)
        print(two.helpers[0].process.pid, flush=True)
        how = signal.SIGKILL if sys.argv[1] == "killed" else signal.SIGINT
        threading.Timer(0.5, os.kill, (os.getpid(), how)).start()  # in the middle of a step
        while True:
            two.learn(batch, None)
"""


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_helpers_end_with_the_training_whatever_ended_it(how: str, tmp_path: Path) -> None:
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    paths = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run(
        [sys.executable, script, how], capture_output=True, text=True, env=paths, timeout=120, check=False
    )
    assert done.returncode == (-signal.SIGKILL if how == "killed" else -signal.SIGINT)
    helper, until = int(done.stdout), time.monotonic() + 30
    while psutil.pid_exists(helper):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert "SpawnProcess" not in done.stderr  # what a process that ends with an error begins with
