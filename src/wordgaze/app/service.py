"""What the page can do, without the page: captions by every strategy, the story behind each word, another ending."""

import math
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image
from torch import Tensor

from wordgaze.core.errors import ModelError
from wordgaze.generation.config import GenerationConfig, parse_generation_config
from wordgaze.generation.outputs import Caption
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.comparison import preset_config
from wordgaze.inference.explanation import ENDED, Explanation, ModelVersion, WordProbability, word_probabilities
from wordgaze.inference.inputs import image_key
from wordgaze.tracking.resolve import REGISTRY, default_model, is_registered, resolve

REMEMBERED = 64 * 2**20  # bytes of features that are kept, of the pictures asked about last


@dataclass(frozen=True)
class ScoredCaption:
    """One caption. ``probability`` is that of all its words, END included where it was said; ``log_prob``, ``score``
    and ``ended`` are those of :class:`wordgaze.generation.outputs.Caption`."""

    caption: str
    words: tuple[WordProbability, ...]
    probability: float
    log_prob: float
    score: float
    finish_reason: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class StrategyResult:
    """What one strategy says of a picture, best first. ``seconds`` are the strategy's own; ``encoder_seconds`` went
    into the picture's features, 0 where they were known already."""

    strategy: str
    captions: tuple[ScoredCaption, ...]
    seconds: float
    encoder_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


class CaptionService:
    """One captioner or several, ready to be asked by many people at once.

    One of them is served at a time: torch already spreads a picture's work over all cores, so that two at once would
    each take twice as long and twice the memory. What waits does so between two strategies, never behind all of them.
    """

    def __init__(self, captioners: Sequence[tuple[ModelVersion, Captioner]]) -> None:
        self._captioners = {model.name: (model, captioner) for model, captioner in captioners}
        self._features: OrderedDict[tuple[str, str, tuple[int, int]], Tensor] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def open(cls, models: Sequence[str] = ()) -> "CaptionService":
        """Loads captioner folders or addresses of the registry; with none named the registry's champion, else the
        newest folder under models/. Raises ModelError where there is no captioner, TrackingError where the registry
        cannot be read."""
        addresses = list(dict.fromkeys(models)) or [default_model()]
        names = _names(addresses)
        return cls([_load(address, name) for address, name in zip(addresses, names, strict=True)])

    @property
    def models(self) -> tuple[ModelVersion, ...]:
        """What is loaded, in the order of loading."""
        return tuple(model for model, _ in self._captioners.values())

    def captioner(self, name: str) -> Captioner:
        """A captioner for work in bulk, which does not wait its turn. Raises ModelError for an unknown name."""
        return self._find(name)[1]

    def captions(
        self,
        model: str,
        image: Image.Image,
        settings: Mapping[str, Any],
        strategies: Sequence[str] | None = None,
        seed: int = 0,
    ) -> Iterator[StrategyResult]:
        """What each strategy, by its name in PRESETS, says of an RGB picture: yielded as soon as it is known. With none
        named it is all that the captioner can follow.

        ``settings`` are fields of GenerationConfig and hold for all strategies; but what sampling is narrowed by
        (temperature, top_k, top_p, typical_p, min_p) only for those that do not set it themselves, whose names would
        else be wrong. Raises ParamsError for wrong settings and ModelError for an unknown model, before any work.
        """
        captioner = self.captioner(model)
        chosen = captioner.presets if strategies is None else strategies
        decodes = {strategy: preset_config(strategy, settings) for strategy in chosen}
        return self._answers(model, captioner, image, decodes, seed)

    def _answers(
        self, model: str, captioner: Captioner, image: Image.Image, decodes: dict[str, GenerationConfig], seed: int
    ) -> Iterator[StrategyResult]:
        key = image_key(image)
        for strategy, decode in decodes.items():
            with self._lock:
                started = time.perf_counter()
                features = self._look(model, captioner, image, key)
                looked = time.perf_counter()
                [found] = captioner.generate(features, decode, [key], seed)
                ended = time.perf_counter()
            yield StrategyResult(strategy, tuple(map(_said, found)), ended - looked, looked - started)

    def explain(self, model: str, image: Image.Image, words: Sequence[str]) -> Explanation:
        """Where the captioner looks when it says these words of an RGB picture. Raises ModelError for unknown ones."""
        which, captioner = self._find(model)
        key = image_key(image)
        with self._lock:
            explanation = captioner.explain_features(self._look(model, captioner, image, key), image, words)
        return replace(explanation, model=which)

    def continue_caption(
        self, model: str, image: Image.Image, prefix_words: Sequence[str], settings: Mapping[str, Any], seed: int = 0
    ) -> ScoredCaption:
        """The best caption that begins with these words; behind them ``(end)`` ends it. ``settings`` are fields of
        GenerationConfig, ``strategy`` among them (beam if left out). Raises ModelError for unknown words."""
        if list(prefix_words[-1:]) == [ENDED]:
            return _said(self.explain(model, image, prefix_words[:-1]).caption)
        captioner = self.captioner(model)
        decode, key = parse_generation_config(**settings), image_key(image)
        with self._lock:
            features = self._look(model, captioner, image, key)
            return _said(captioner.generate(features, decode, [key], seed, prefix_words)[0][0])

    def _find(self, name: str) -> tuple[ModelVersion, Captioner]:
        if name not in self._captioners:
            raise ModelError(f"model {name!r} is not loaded; there is {', '.join(map(repr, self._captioners))}")
        return self._captioners[name]

    def _look(self, model: str, captioner: Captioner, image: Image.Image, key: str) -> Tensor:
        """The picture's features (1, L, channels), computed once; to be called with the lock held."""
        place = (model, key, image.size)
        features = self._features.pop(place, None)
        if features is None:
            features = captioner.features([image])
        self._features[place] = features  # the one asked about last stands last
        while len(self._features) > 1 and sum(kept.nbytes for kept in self._features.values()) > REMEMBERED:
            self._features.popitem(last=False)
        return features


def _names(addresses: Sequence[str]) -> list[str]:
    """What the models are called: short, where that tells them apart."""
    short = [address.removeprefix(REGISTRY) if is_registered(address) else Path(address).name for address in addresses]
    return short if len(set(short)) == len(short) else list(addresses)


def _load(address: str, name: str) -> tuple[ModelVersion, Captioner]:
    resolved = resolve(address)
    captioner = Captioner.load(resolved.folder)
    return ModelVersion(name, resolved.version), captioner


def _said(caption: Caption) -> ScoredCaption:
    probability = math.exp(caption.log_prob)
    return ScoredCaption(
        caption.text, word_probabilities(caption), probability, caption.log_prob, caption.score, caption.finish_reason
    )
