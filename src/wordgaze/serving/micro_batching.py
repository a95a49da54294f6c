"""Micro-batching: images of concurrent requests with equal settings are captioned as one batch.

A batch is computed on one thread, because PyTorch uses all cores for it already. While it is computed, other images
wait, and the next batch takes as many of them as it may. So a busy server has large batches, and an idle one answers
at once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wordgaze.core.errors import RequestTimeoutError
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.deadline import Deadline
from wordgaze.inference.request_cost import hypotheses_of_searches

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

MAX_BATCH_HYPOTHESES = 1280
"""The most captions that a batch follows at once. It bounds the memory of a batch, whatever its settings."""

_RANDOM = frozenset({"sample", "mbr"})  # the strategies that a seed matters to
_POLL = 0.001  # seconds

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class BatchItem:
    """An image that waits for its captions: ``pixels`` (3, S, S) as ``Encoder.pixels`` makes them, and its ``key``.

    ``trace`` is the context of the request's span, for telemetry.
    """

    pixels: Tensor
    key: str
    config: GenerationConfig
    seed: int
    deadline: Deadline
    trace: "SpanContext | None" = None
    future: "asyncio.Future[list[Caption]]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    batch_size: int = 0

    @property
    def settings(self) -> tuple[GenerationConfig, int]:
        """What images that are captioned together have in common."""
        return self.config, self.seed if self.config.strategy in _RANDOM else 0


class MicroBatcher:
    """Captions images one batch after the other; only the thread of the event loop may call it.

    ``max_batch`` is the most images of a batch. ``max_wait`` is the most seconds that the first image of a batch waits
    for others while ``num_expected`` says that there are requests whose images are on their way; it never waits for
    requests that may or may not come. ``observe`` is called with each batch and gives a context for its computation.
    """

    def __init__(
        self,
        captioner: Captioner,
        max_batch: int,
        max_wait: float,
        observe: Callable[[Sequence[BatchItem]], AbstractContextManager[object]] = lambda batch: nullcontext(),
    ) -> None:
        self._captioner, self._max_batch, self._max_wait, self._observe = captioner, max_batch, max_wait, observe
        self._waiting: deque[BatchItem] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "captioner")
        self.num_expected = 0

    @property
    def num_waiting(self) -> int:
        """The images that wait for a batch."""
        return len(self._waiting)

    def submit(self, item: BatchItem) -> None:
        """Lets an image wait for the next batch; ``item.future`` gets its captions."""
        self._waiting.append(item)
        self._arrived.set()

    async def run(self) -> None:
        """Captions what is submitted until it is cancelled."""
        while True:
            await self._arrived.wait()
            await self._let_others_arrive()
            if batch := self._take():
                await self._caption(batch)

    def close(self) -> None:
        """Ends the thread once its batch is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _let_others_arrive(self) -> None:
        end = asyncio.get_running_loop().time() + self._max_wait
        while self.num_expected and len(self._waiting) < self._max_batch and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(_POLL)

    def _take(self) -> list[BatchItem]:
        """The image that has waited longest, and those with the same settings. Images that nobody waits for go."""
        waiting = [item for item in self._waiting if not item.future.done() and item.deadline.remaining]
        batch = [item for item in waiting if item.settings == waiting[0].settings]
        batch = batch[: self._limit(batch[0].config)] if batch else []
        taken = set(map(id, batch))
        self._waiting = deque(item for item in waiting if id(item) not in taken)
        if not self._waiting:
            self._arrived.clear()
        return batch

    def _limit(self, config: GenerationConfig) -> int:
        return max(1, min(self._max_batch, MAX_BATCH_HYPOTHESES // max(hypotheses_of_searches(config))))

    async def _caption(self, batch: Sequence[BatchItem]) -> None:
        for item in batch:
            item.batch_size = len(batch)
        try:
            captions = await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, batch)
        except Exception as error:
            if len(batch) == 1 or isinstance(error, RequestTimeoutError):
                for item in batch:
                    _fail(item, error)
                return
            _log.debug("a batch failed (%s); its images are captioned one by one", type(error).__name__)
            for item in batch:
                await self._caption([item])
            return
        for item, of_image in zip(batch, captions, strict=True):
            if not item.future.done():
                item.future.set_result(of_image)

    def _compute(self, batch: Sequence[BatchItem]) -> list[list[Caption]]:
        config, seed = batch[0].settings
        deadline = _BatchDeadline([item.deadline for item in batch])
        with self._observe(batch):
            deadline.check()
            features = self._captioner.encode(torch.stack([item.pixels for item in batch]))
            return self._captioner.generate(features, config, [item.key for item in batch], seed, deadline=deadline)


class _BatchDeadline(Deadline):
    """Stops a batch once all of its images' deadlines have passed."""

    def __init__(self, deadlines: Sequence[Deadline]) -> None:
        super().__init__()
        self._deadlines = deadlines

    def check(self) -> None:
        """Raises RequestTimeoutError if nobody waits for the batch any more."""
        if not any(deadline.remaining for deadline in self._deadlines):
            raise RequestTimeoutError("nobody waits for the batch any more")


def _fail(item: BatchItem, error: Exception) -> None:
    if not item.future.done():
        item.future.set_exception(error)
