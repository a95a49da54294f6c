"""Data-parallel training on a CPU: processes that divide the pictures of every batch.

Below some width the products of a step are too small for several threads, and what is drawn and rewarded is Python;
processes share out both. Weights lie in shared memory, gradients too; batches and numbers go through pipes. A helper
keeps nothing from one step to the next, so a checkpoint need not know of it.
"""

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
import torch.multiprocessing as mp
from torch import Tensor

from wordgaze.core.errors import ModelError
from wordgaze.training.batches import Batch
from wordgaze.training.train_step import TrainStep, TrainStepOutput


class _Helper(NamedTuple):
    process: Any
    pipe: Connection
    gradients: list[Tensor]


class DataParallel:
    """Learns from a batch in several processes, this one included; with one it is the train_step and nothing more.

    Each process has as many threads as are its share, and each part of a batch counts as much as it has pictures.
    """

    def __init__(self, train_step: TrainStep, helpers: list[_Helper], threads: int) -> None:
        self.train_step, self.helpers, self.threads = train_step, helpers, threads

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Gives this process the threads of all, for what it does alone."""
        share = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(share)

    def learn(self, batch: Batch, baseline: float | None) -> TrainStepOutput:
        """As :meth:`TrainStep.learn`. Raises ModelError where a process has failed or is gone."""
        own, *others = divided(batch, 1 + len(self.helpers))
        if not others:
            return self.train_step.learn(own, baseline)
        busy = self.helpers[: len(others)]
        for helper, part in zip(busy, others, strict=True):
            _ask(helper, part, baseline, int(torch.randint(2**62, ())))
        parts = [self.train_step.learn(own, baseline), *(_answer(helper) for helper in busy)]
        shares = [len(part.images) / len(batch.images) for part in (own, *others)]
        gradients = [[_gradient(p) for p in self.train_step.parameters()], *(helper.gradients for helper in busy)]
        for parameter, *of_all in zip(self.train_step.parameters(), *gradients, strict=True):
            parameter.grad = torch.stack([s * g for s, g in zip(shares, of_all, strict=True)]).sum(0)
        return _together(parts, shares)


@contextmanager
def data_parallel(train_step: TrainStep, processes: int) -> Iterator[DataParallel]:
    """A data_parallel of ``processes`` that ends with the block. The train_step's weights move into shared memory."""
    threads = torch.get_num_threads()
    if processes == 1:
        yield DataParallel(train_step, [], threads)
        return
    torch.set_num_threads(max(1, threads // processes))
    helpers: list[_Helper] = []
    try:
        train_step.share_memory()
        helpers += [_started(train_step, torch.get_num_threads()) for _ in range(processes - 1)]
        yield DataParallel(train_step, helpers, threads)
    finally:
        torch.set_num_threads(threads)
        for helper in helpers:
            helper.pipe.close()
            helper.process.join()


def divided(batch: Batch, parts: int) -> list[Batch]:
    """The pictures of a batch in so many parts, as equal as can be; fewer where it has fewer pictures."""
    count = len(batch.images)
    ends = [count * i // parts for i in range(parts + 1)]
    return [Batch(batch.features[a:b], batch.captions[a:b], batch.images[a:b]) for a, b in pairwise(ends) if a < b]


def _started(train_step: TrainStep, threads: int) -> _Helper:
    spawning = mp.get_context("spawn")  # a fork would inherit OpenMP's locks, but not the threads that hold them
    here, there = spawning.Pipe()
    gradients = [torch.zeros_like(p).share_memory_() for p in train_step.parameters()]  # type: ignore[no-untyped-call]
    process = spawning.Process(target=_help, args=(train_step, gradients, there, threads), daemon=True)
    process.start()
    there.close()  # so that reading ends when the process does
    return _Helper(process, here, gradients)


def _help(train_step: TrainStep, gradients: list[Tensor], pipe: Connection, threads: int) -> None:
    """What a helper does until the pipe is closed, which happens too when the process at its other end is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    torch.set_num_threads(threads)
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_helped(train_step, gradients, *pipe.recv()))


def _helped(
    train_step: TrainStep, gradients: list[Tensor], features: Any, dtype: torch.dtype, captions: Any,
    images: tuple[str, ...], baseline: float | None, seed: int,
) -> TrainStepOutput | str:  # fmt: skip
    """What was learned, its gradients being in ``gradients``; or what went wrong."""
    torch.manual_seed(seed)
    part = Batch(torch.from_numpy(features).view(dtype), torch.from_numpy(captions), images)
    try:
        learned = train_step.learn(part, baseline)
    except Exception:
        return traceback.format_exc(limit=-1)
    for shared, parameter in zip(gradients, train_step.parameters(), strict=True):
        shared.copy_(_gradient(parameter))
    return learned


def _ask(helper: _Helper, part: Batch, baseline: float | None, seed: int) -> None:
    # As bytes: a tensor would go by a shared file and a server of handles, for what is a megabyte. numpy has no bf16.
    features = part.features.contiguous().view(torch.uint8).numpy()
    try:
        helper.pipe.send((features, part.features.dtype, part.captions.numpy(), part.images, baseline, seed))
    except OSError as error:
        raise _gone(helper) from error


def _answer(helper: _Helper) -> TrainStepOutput:
    try:
        answer = helper.pipe.recv()
    except (EOFError, OSError) as error:
        raise _gone(helper) from error
    if isinstance(answer, str):
        raise ModelError(f"a process of the training failed: {' '.join(answer.split())}")
    learned: TrainStepOutput = answer
    return learned


def _gone(helper: _Helper) -> ModelError:
    helper.process.join()
    code = helper.process.exitcode
    return ModelError(
        f"a process of the training is gone (exit code {code}); run it again, with processes: 1 if memory ran out"
    )


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _together(parts: list[TrainStepOutput], shares: list[float]) -> TrainStepOutput:
    def mean(values: list[float]) -> float:
        return sum(share * value for share, value in zip(shares, values, strict=True))

    looked = [(share, part.reward) for share, part in zip(shares, parts, strict=True) if part.reward is not None]
    weight = sum(share for share, _ in looked)
    return TrainStepOutput(
        mean([part.total for part in parts]),
        {name: mean([part.shown[name] for part in parts]) for name in parts[0].shown},
        sum(share * reward for share, reward in looked) / weight if looked else None,
    )
