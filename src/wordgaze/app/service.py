"""The page's operations without the page: captions of every strategy, explanations, and continued captions."""

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

FEATURE_CACHE_BYTES = 64 * 2**20  # of the images that were requested last


@dataclass(frozen=True)
class ScoredCaption:
    """One caption as plain values.

    ``probability`` is that of all words, with END if it was generated. ``log_prob``, ``score`` and ``finish_reason``
    are those of :class:`wordgaze.generation.outputs.Caption`.
    """

    caption: str
    words: tuple[WordProbability, ...]
    probability: float
    log_prob: float
    score: float
    finish_reason: str

    def to_dict(self) -> dict[str, Any]:
        """The values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class StrategyResult:
    """The captions of one strategy, best first.

    ``seconds`` is the time of the strategy alone, ``encoder_seconds`` that of the image's features: about 0 if they
    were cached.
    """

    strategy: str
    captions: tuple[ScoredCaption, ...]
    seconds: float
    encoder_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The values for JSON."""
        return asdict(self)


class CaptionService:
    """One captioner or several, for many concurrent requests.

    One request is computed at a time, because torch already uses all cores for an image: two at once would each take
    twice as long, and twice the memory. The lock is released between two strategies of a request, so that no request
    waits for all strategies of another.
    """

    def __init__(self, captioners: Sequence[tuple[ModelVersion, Captioner]]) -> None:
        self._captioners = {model.name: (model, captioner) for model, captioner in captioners}
        self._features: OrderedDict[tuple[str, str, tuple[int, int]], Tensor] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def open(cls, models: Sequence[str] = ()) -> "CaptionService":
        """Loads captioner folders or addresses of the registry; by default the registry's champion, else the newest
        folder in models/. Raises ModelError if there is no captioner, TrackingError if the registry cannot be read."""
        addresses = list(dict.fromkeys(models)) or [default_model()]
        names = _names(addresses)
        return cls([_load(address, name) for address, name in zip(addresses, names, strict=True)])

    @property
    def models(self) -> tuple[ModelVersion, ...]:
        """The loaded models, in the order of loading."""
        return tuple(model for model, _ in self._captioners.values())

    def captioner(self, name: str) -> Captioner:
        """A captioner for batch work, which does not take the lock. Raises ModelError for an unknown name."""
        return self._find(name)[1]

    def captions(
        self,
        model: str,
        image: Image.Image,
        settings: Mapping[str, Any],
        strategies: Sequence[str] | None = None,
        seed: int = 0,
    ) -> Iterator[StrategyResult]:
        """Yields the captions of an RGB image for each strategy, named as in PRESETS, as soon as they are computed.

        By default these are all strategies that the captioner supports. ``settings`` are fields of GenerationConfig
        for all strategies; the sampling settings (temperature, top_k, top_p, typical_p, min_p) do not apply to presets
        that set one of them. Raises ParamsError for invalid settings and ModelError for an unknown model, before any
        work.
        """
        captioner = self.captioner(model)
        chosen = captioner.presets if strategies is None else strategies
        configs = {strategy: preset_config(strategy, settings) for strategy in chosen}
        return self._results(model, captioner, image, configs, seed)

    def _results(
        self, model: str, captioner: Captioner, image: Image.Image, configs: dict[str, GenerationConfig], seed: int
    ) -> Iterator[StrategyResult]:
        key = image_key(image)
        for strategy, config in configs.items():
            with self._lock:
                started = time.perf_counter()
                features = self._features_of(model, captioner, image, key)
                encoded = time.perf_counter()
                [captions] = captioner.generate(features, config, [key], seed)
                ended = time.perf_counter()
            yield StrategyResult(strategy, tuple(map(_scored, captions)), ended - encoded, encoded - started)

    def explain(self, model: str, image: Image.Image, words: Sequence[str]) -> Explanation:
        """The attention and the probabilities of these words for an RGB image. Raises ModelError for unknown words."""
        version, captioner = self._find(model)
        key = image_key(image)
        with self._lock:
            explanation = captioner.explain_features(self._features_of(model, captioner, image, key), image, words)
        return replace(explanation, model=version)

    def continue_caption(
        self, model: str, image: Image.Image, prefix_words: Sequence[str], settings: Mapping[str, Any], seed: int = 0
    ) -> ScoredCaption:
        """The best caption that begins with these words; a last word ``(end)`` ends it there.

        ``settings`` are fields of GenerationConfig. Raises ModelError for unknown words.
        """
        if list(prefix_words[-1:]) == [ENDED]:
            return _scored(self.explain(model, image, prefix_words[:-1]).caption)
        captioner = self.captioner(model)
        config, key = parse_generation_config(**settings), image_key(image)
        with self._lock:
            features = self._features_of(model, captioner, image, key)
            return _scored(captioner.generate(features, config, [key], seed, prefix_words)[0][0])

    def _find(self, name: str) -> tuple[ModelVersion, Captioner]:
        if name not in self._captioners:
            raise ModelError(f"model {name!r} is not loaded; there is {', '.join(map(repr, self._captioners))}")
        return self._captioners[name]

    def _features_of(self, model: str, captioner: Captioner, image: Image.Image, key: str) -> Tensor:
        """The features (1, L, D) of the image, computed once; call it with the lock held."""
        entry = (model, key, image.size)
        features = self._features.pop(entry, None)
        if features is None:
            features = captioner.features([image])
        self._features[entry] = features  # the most recent entry is the last one
        while (
            len(self._features) > 1 and sum(cached.nbytes for cached in self._features.values()) > FEATURE_CACHE_BYTES
        ):
            self._features.popitem(last=False)
        return features


def _names(addresses: Sequence[str]) -> list[str]:
    """The names of the models: short ones if these are distinct, else the addresses."""
    short = [address.removeprefix(REGISTRY) if is_registered(address) else Path(address).name for address in addresses]
    return short if len(set(short)) == len(short) else list(addresses)


def _load(address: str, name: str) -> tuple[ModelVersion, Captioner]:
    resolved = resolve(address)
    captioner = Captioner.load(resolved.folder)
    return ModelVersion(name, resolved.version), captioner


def _scored(caption: Caption) -> ScoredCaption:
    probability = math.exp(caption.log_prob)
    return ScoredCaption(
        caption.text, word_probabilities(caption), probability, caption.log_prob, caption.score, caption.finish_reason
    )
