"""A request for captions, from what was sent to the captions: checked, decoded, batched and bounded in time."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from wordgaze.core.errors import ParamsError, ServerBusyError
from wordgaze.core.parallel import available_cpus
from wordgaze.generation.config import GenerationConfig, parse_generation_config
from wordgaze.generation.outputs import Caption
from wordgaze.inference.deadline import Deadline
from wordgaze.inference.inputs import image_key
from wordgaze.inference.predictions import decode_sent_image
from wordgaze.inference.request_cost import check_cost
from wordgaze.serving.micro_batching import BatchItem, MicroBatcher
from wordgaze.serving.request_log import RequestRecord
from wordgaze.serving.served_model import ServedModel
from wordgaze.serving.telemetry import current_span
from wordgaze.vision.images import HeavyImageError

DECODERS = 8
"""Threads that decode images. Heavy images, which are decoded in processes, have threads of their own that wait."""

_SEEDS = 2**63


@dataclass(frozen=True)
class RequestSettings:
    """The settings of a request."""

    config: GenerationConfig
    seed: int = 0
    attention: bool = False

    @classmethod
    def parse(cls, params: Mapping[str, Any], default: GenerationConfig) -> "RequestSettings":
        """From the ``params`` that were sent. Raises ParamsError for what is not valid."""
        known = {*GenerationConfig.model_fields, "seed", "attention"}
        if unknown := params.keys() - known:
            names = ", ".join(sorted(name[:40] for name in unknown)[:5])
            raise ParamsError(f"{names}: not a valid parameter; valid are {', '.join(sorted(known))}")
        values = dict(params)
        seed, attention = values.pop("seed", 0), values.pop("attention", False)
        if type(seed) is not int or not -_SEEDS <= seed < _SEEDS:
            raise ParamsError("seed is not an integer of 64 bits; give one such as 0")
        if type(attention) is not bool:
            raise ParamsError("attention is not true or false; give one of them")
        return cls(parse_generation_config(**{**default.model_dump(), **values}), seed, attention)


class CaptionRequests:
    """Answers requests for captions. ``max_queue`` is the number of waiting images from which on none is accepted."""

    def __init__(self, model: ServedModel, batcher: MicroBatcher, max_queue: int, paths_allowed: bool) -> None:
        self.model, self.batcher, self._max_queue, self._paths_allowed = model, batcher, max_queue, paths_allowed
        self._decoders = ThreadPoolExecutor(DECODERS, "decoder")
        self._heavy_decoders = ThreadPoolExecutor(available_cpus(), "heavy-decoder")
        self._num_accepted = 0  # images that are not captioned yet

    @property
    def num_accepted(self) -> int:
        """The images of all requests in progress."""
        return self._num_accepted

    @property
    def is_full(self) -> bool:
        """Whether a request is refused now."""
        return self._num_accepted >= self._max_queue

    def check_queue(self) -> None:
        """Raises ServerBusyError while the queue is full."""
        if self.is_full:
            raise ServerBusyError(f"{self._num_accepted} pictures are waiting already; send this again later")

    async def caption(
        self, images: Sequence[object], settings: RequestSettings, deadline: Deadline, record: RequestRecord
    ) -> list[list[Caption]]:
        """The captions of the images, as they were sent. Raises WordgazeError."""
        check_cost(settings.config, len(images))
        self.check_queue()
        self._num_accepted += len(images)
        record.images = len(images)
        try:
            items = await self._decode(images, settings, deadline)
            for item in items:
                self.batcher.submit(item)
            captions = list(await asyncio.gather(*(item.future for item in items)))
        finally:
            self._num_accepted -= len(images)
        record.batch = max((item.batch_size for item in items), default=0)
        record.best = [of_image[0] for of_image in captions]
        return captions

    def close(self) -> None:
        """Ends the threads."""
        for decoders in (self._decoders, self._heavy_decoders):
            decoders.shutdown(wait=False, cancel_futures=True)

    async def _decode(self, images: Sequence[object], settings: RequestSettings, deadline: Deadline) -> list[BatchItem]:
        span, turn = current_span(), asyncio.Lock()
        self.batcher.num_expected += 1
        decoding = [
            asyncio.ensure_future(self._decode_one(image, number, deadline, turn))
            for number, image in enumerate(images, start=1)
        ]
        try:
            prepared = await asyncio.gather(*decoding)
        finally:
            self.batcher.num_expected -= 1
            for future in decoding:
                future.cancel()
        return [BatchItem(*each, settings.config, settings.seed, deadline, span) for each in prepared]

    async def _decode_one(
        self, image: object, number: int, deadline: Deadline, turn: asyncio.Lock
    ) -> tuple[Tensor, str]:
        """Heavy images keep no others waiting, and those of a request, one after the other, no other request's."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._decoders, self._prepare, image, number, deadline, True)
        except HeavyImageError:
            async with turn:
                return await loop.run_in_executor(self._heavy_decoders, self._prepare, image, number, deadline, False)

    def _prepare(self, image: object, number: int, deadline: Deadline, only_light: bool) -> tuple[Tensor, str]:
        """The pixels (3, S, S) that the encoder takes, and the key; the decoded image is not kept."""
        deadline.check()
        picture = decode_sent_image(image, number, self._paths_allowed, only_light=only_light)
        return self.model.captioner.encoder.pixels([picture])[0], image_key(picture)
