"""Data-parallel training on a CPU: processes that divide the images of every batch.

Below some width the products of a step are too small for several threads, and sampling and rewards are Python; several
processes speed up both. Weights and gradients lie in shared memory; batches and numbers go through pipes. A worker
keeps no state from one step to the next, so a checkpoint does not depend on the workers.
"""

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
import torch.multiprocessing as mp
from torch import Tensor

from wordgaze.core.errors import ModelError
from wordgaze.training.batches import Batch
from wordgaze.training.losses import LossOutput, MeanReward, sum_outputs
from wordgaze.training.train_step import TrainStep


class _Worker(NamedTuple):
    process: Any
    pipe: Connection
    gradients: list[Tensor]


class DataParallel:
    """A train step in ``world_size`` processes, of which this one has rank 0.

    The gradient is that of one process on the whole batch, up to rounding and random numbers: a part of a batch scales
    its loss by its :class:`Shares`, and the parts are summed. Each process uses its share of ``num_threads``.
    """

    def __init__(self, train_step: TrainStep, workers: list[_Worker], num_threads: int) -> None:
        self.train_step, self.workers, self.num_threads = train_step, workers, num_threads

    @property
    def world_size(self) -> int:
        """The number of processes, this one included."""
        return 1 + len(self.workers)

    @contextmanager
    def all_threads(self) -> Iterator[None]:
        """Gives this process the threads of all processes while the workers wait."""
        share = torch.get_num_threads()
        torch.set_num_threads(self.num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(share)

    def __call__(self, batch: Batch, baseline: float | None = None) -> LossOutput:
        """As :class:`TrainStep`. Raises ModelError if a worker failed or exited."""
        # The first reward of hard attention is its own baseline, so it has to be the mean over the whole batch.
        alone = baseline is None and self.train_step.needs_baseline()
        own, *others = [batch] if alone or self.world_size == 1 else batch.split(self.world_size)
        busy = self.workers[: len(others)]
        for worker, part in zip(busy, others, strict=True):
            _send(worker, part, baseline, int(torch.randint(2**62, ())))
        outputs = [self.train_step(own, baseline), *(_receive(worker) for worker in busy)]
        return self._all_reduce(outputs, busy) if busy else outputs[0]

    def _all_reduce(self, outputs: list[LossOutput], workers: list[_Worker]) -> LossOutput:
        """Sums the gradients of this process and the workers into ``grad``, and what their steps returned."""
        for number, parameter in enumerate(self.train_step.parameters()):
            parameter.grad = _gradient(parameter)
            for worker in workers:
                parameter.grad += worker.gradients[number]
        return sum_outputs(outputs)


@contextmanager
def data_parallel(train_step: TrainStep, world_size: int) -> Iterator[DataParallel]:
    """Starts ``world_size - 1`` workers, which end with the block. Moves the weights into shared memory."""
    num_threads = torch.get_num_threads()
    if world_size == 1:
        yield DataParallel(train_step, [], num_threads)
        return
    torch.set_num_threads(max(1, num_threads // world_size))
    workers: list[_Worker] = []
    try:
        train_step.share_memory()
        for _ in range(1, world_size):
            workers.append(_start_worker(train_step, torch.get_num_threads()))
        yield DataParallel(train_step, workers, num_threads)
    finally:
        torch.set_num_threads(num_threads)
        for worker in workers:
            worker.pipe.close()
            worker.process.join()


def _start_worker(train_step: TrainStep, num_threads: int) -> _Worker:
    context = mp.get_context("spawn")  # a fork would inherit OpenMP's locks, but not the threads that hold them
    here, there = context.Pipe()
    gradients = [torch.zeros_like(p).share_memory_() for p in train_step.parameters()]  # type: ignore[no-untyped-call]
    process = context.Process(target=_run_worker, args=(train_step, gradients, there, num_threads), daemon=True)
    process.start()
    there.close()  # so that reading ends when the process does
    return _Worker(process, here, gradients)


def _run_worker(train_step: TrainStep, gradients: list[Tensor], pipe: Connection, num_threads: int) -> None:
    """Computes steps until the pipe is closed, which also happens when the process at its other end is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 ends the workers
    torch.set_num_threads(num_threads)
    with suppress(EOFError, OSError):
        while True:
            shape, dtype, captions, rest, baseline, seed = pipe.recv()
            features = torch.empty(shape, dtype=dtype)
            pipe.recv_bytes_into(features.view(torch.uint8).flatten().numpy().data)
            batch = Batch(features, torch.from_numpy(captions), *rest)
            pipe.send(_step(train_step, gradients, batch, baseline, seed))


def _step(
    train_step: TrainStep, gradients: list[Tensor], batch: Batch, baseline: float | None, seed: int
) -> tuple[float, dict[str, float], MeanReward | None] | str:
    """Writes the gradients of a step into ``gradients`` and returns its output, or the message of its error."""
    torch.manual_seed(seed)
    try:
        output = train_step(batch, baseline)
    except Exception:
        return traceback.format_exc(limit=-1)
    for shared, parameter in zip(gradients, train_step.parameters(), strict=True):
        shared.copy_(_gradient(parameter))
    return float(output.loss), output.metrics, output.reward


def _send(worker: _Worker, batch: Batch, baseline: float | None, seed: int) -> None:
    # As bytes: a tensor would go by a shared file and a server of handles, for what is a few megabytes, and a pickle
    # would copy them twice at either end. numpy has no bf16.
    features, rest = batch.features.contiguous(), (batch.images, batch.whole)
    try:
        worker.pipe.send((features.shape, features.dtype, batch.captions.numpy(), rest, baseline, seed))
        worker.pipe.send_bytes(features.view(torch.uint8).flatten().numpy().data)
    except OSError as error:
        raise _exited(worker) from error


def _receive(worker: _Worker) -> LossOutput:
    try:
        answer = worker.pipe.recv()
    except (EOFError, OSError) as error:
        raise _exited(worker) from error
    if isinstance(answer, str):
        raise ModelError(f"a worker process of the training failed: {' '.join(answer.split())}")
    loss, metrics, reward = answer
    return LossOutput(torch.tensor(loss), metrics, reward)


def _exited(worker: _Worker) -> ModelError:
    worker.process.join()
    code = worker.process.exitcode
    return ModelError(
        f"a worker process of the training exited with code {code}; run the training again, with num_processes: 1 if "
        "memory ran out"
    )


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
