"""The page's operations without the page: captions of every strategy, explanations, and continued captions."""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from threading import Condition, Lock
from typing import Any

from PIL import Image
from torch import Tensor

from wordgaze.app.offers import Offer, find_offers
from wordgaze.app.request_time import current_deadline
from wordgaze.core.errors import CaptionsError, ModelError
from wordgaze.generation.config import GenerationConfig, parse_generation_config
from wordgaze.generation.outputs import Caption
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.comparison import strategy_config, with_own_settings
from wordgaze.inference.deadline import Deadline
from wordgaze.inference.explanation import ENDED, Explanation, ModelVersion, WordProbability, word_probabilities
from wordgaze.inference.inputs import image_key
from wordgaze.inference.request_cost import MAX_GIVEN_WORDS, check_cost
from wordgaze.tracking.resolve import resolve

_CHECK_INTERVAL = 0.5  # seconds between two looks whether a request that waits is still wanted
FEATURE_CACHE_BYTES = 64 * 2**20  # of the images that were requested last

UNSURE_BELOW = 0.5
"""The confidence of a caption that is as probably right as wrong."""


@dataclass(frozen=True)
class ScoredCaption:
    """One caption as plain values.

    ``probability`` is that of all words, with END if it was generated. ``log_prob``, ``score`` and ``finish_reason``
    are those of :class:`wordgaze.generation.outputs.Caption`. ``confidence`` is calibrated, or None where the captioner
    has no calibration; ``unsure`` says that it is below UNSURE_BELOW. ``naming`` says why the caption has the name of
    an object that it lacked otherwise, "" if it does not.
    """

    caption: str
    words: tuple[WordProbability, ...]
    probability: float
    log_prob: float
    score: float
    finish_reason: str
    confidence: float | None = None
    unsure: bool = False
    naming: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class StrategyResult:
    """The captions of one strategy, best first.

    ``seconds`` is the time of the strategy alone, ``encoder_seconds`` that of the image's features: about 0 if they
    were cached. ``is_outlier`` says that the image is unlike those that the captioner was trained on.
    """

    strategy: str
    captions: tuple[ScoredCaption, ...]
    seconds: float
    encoder_seconds: float
    is_outlier: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The values for JSON."""
        return asdict(self)


class CaptionService:
    """One captioner or several, for many concurrent requests.

    One request is computed at a time, because torch already uses all cores for an image: two at once would each take
    twice as long, and twice the memory. The turn ends between two strategies of a request, so that no request
    waits for all strategies of another. A captioner of ``offers`` is loaded by the first request for it, and then kept.
    """

    def __init__(self, captioners: Sequence[tuple[ModelVersion, Captioner]] = (), offers: Sequence[Offer] = ()) -> None:
        self._captioners = {model.name: (model, captioner) for model, captioner in captioners}
        self._offers = {offer.name: offer for offer in offers}
        self.names = tuple(dict.fromkeys([*self._captioners, *self._offers]))
        """The names of all captioners, loaded or not. The first one answers where none is named."""
        self._features: OrderedDict[tuple[str, str, tuple[int, int]], Tensor] = OrderedDict()
        self._turns: deque[object] = deque()  # of the requests; the first one computes
        self._changed, self._loading = Condition(), Lock()

    @classmethod
    def open(cls, models: Sequence[str] = ()) -> "CaptionService":
        """Offers the captioners of :func:`wordgaze.app.offers.find_offers`, and loads the first of them.

        Raises ModelError if there is no captioner or one of ``models`` is none, TrackingError if the registry cannot be
        read.
        """
        service = cls(offers=find_offers(models))
        service.captioner(service.names[0])
        return service

    @property
    def models(self) -> tuple[ModelVersion, ...]:
        """The loaded models, in the order of loading."""
        return tuple(model for model, _ in self._captioners.values())

    def captioner(self, name: str) -> Captioner:
        """A captioner, loaded if need be; batch work takes no turn. Raises WordgazeError for an unknown name,
        and where it cannot be loaded."""
        return self._find(name)[1]

    def is_loaded(self, name: str) -> bool:
        """Whether a request for this captioner is answered at once."""
        return name in self._captioners

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
        that set one of them. Raises ParamsError for settings that are invalid or cost too much, and ModelError for an
        unknown model, before any work.
        """
        captioner = self.captioner(model)
        chosen = captioner.presets if strategies is None else strategies
        configs = {strategy: checked_strategy_config(captioner, strategy, settings) for strategy in chosen}
        return self._results(model, captioner, image, configs, seed)

    def _results(
        self, model: str, captioner: Captioner, image: Image.Image, configs: dict[str, GenerationConfig], seed: int
    ) -> Iterator[StrategyResult]:
        key, deadline = image_key(image), current_deadline()
        for strategy, config in configs.items():
            with self._turn(deadline):
                started = time.perf_counter()
                features = self._features_of(model, captioner, image, key)
                encoded = time.perf_counter()
                [captions] = captioner.generate(features, config, [key], seed, (), deadline)
                ended = time.perf_counter()
            scored = tuple(map(_scored, captions))
            yield StrategyResult(strategy, scored, ended - encoded, encoded - started, captions[0].is_outlier)

    def explain(self, model: str, image: Image.Image, words: str | Sequence[str]) -> Explanation:
        """The attention and the probabilities of these words, or of a caption as text, for an RGB image. Raises
        ModelError for unknown words, and CaptionsError for more than MAX_GIVEN_WORDS."""
        version, captioner = self._find(model)
        _check_length(captioner.tokens(words))
        key = image_key(image)
        with self._turn(current_deadline()):
            explanation = captioner.explain_features(self._features_of(model, captioner, image, key), image, words)
        return replace(explanation, model=version)

    def continue_caption(
        self,
        model: str,
        image: Image.Image,
        prefix_words: str | Sequence[str],
        settings: Mapping[str, Any],
        seed: int = 0,
    ) -> ScoredCaption:
        """The best caption that begins with these words, or with this text; a last word ``(end)`` ends it there.

        ``settings`` are fields of GenerationConfig. Raises what :meth:`captions` and :meth:`explain` do.
        """
        captioner = self.captioner(model)
        _check_length(captioner.tokens(prefix_words))
        if list(prefix_words[-1:]) == [ENDED]:
            return _scored(self.explain(model, image, prefix_words[:-1]).caption)
        config, key = parse_generation_config(**with_own_settings(captioner, settings)), image_key(image)
        check_cost(config, 1)
        deadline = current_deadline()
        with self._turn(deadline):
            features = self._features_of(model, captioner, image, key)
            [[best, *_]] = captioner.generate(features, config, [key], seed, prefix_words, deadline)
        return _scored(best)

    @contextmanager
    def _turn(self, deadline: Deadline) -> Iterator[None]:
        """Waits for the captioner, in the order of coming: a Lock lets some threads wait for minutes. Raises
        RequestTimeoutError where ``deadline`` is over before."""
        ticket = object()
        with self._changed:
            self._turns.append(ticket)
        try:
            with self._changed:
                while self._turns[0] is not ticket:
                    deadline.check()
                    self._changed.wait(min(_CHECK_INTERVAL, deadline.remaining))
            deadline.check()  # who has left is not answered
            yield
        finally:
            with self._changed:
                self._turns.remove(ticket)
                self._changed.notify_all()

    def _find(self, name: str) -> tuple[ModelVersion, Captioner]:
        if name not in self.names:
            raise ModelError(f"captioner {name[:60]!r} is not offered; there is {', '.join(map(repr, self.names))}")
        if name not in self._captioners:
            with self._loading:
                if name not in self._captioners:
                    self._captioners[name] = _load(self._offers[name])
        return self._captioners[name]

    def _features_of(self, model: str, captioner: Captioner, image: Image.Image, key: str) -> Tensor:
        """The features (1, L, D) of the image, computed once; call it within a turn."""
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


def checked_strategy_config(captioner: Captioner, strategy: str, settings: Mapping[str, Any]) -> GenerationConfig:
    """The settings of a strategy: the preset's, before ``settings``, before the captioner's own. Raises ParamsError for
    an unknown strategy, and for settings that are invalid or cost too much."""
    config = strategy_config(captioner, strategy, settings)
    check_cost(config, 1)
    return config


def _check_length(words: Sequence[str]) -> None:
    if len(words) > MAX_GIVEN_WORDS:
        raise CaptionsError(f"the caption has {len(words)} words, more than the {MAX_GIVEN_WORDS} allowed; shorten it")


def _load(offer: Offer) -> tuple[ModelVersion, Captioner]:
    resolved = resolve(offer.address)
    captioner = Captioner.load(resolved.folder)
    return ModelVersion(offer.name, resolved.version), captioner


def _scored(caption: Caption) -> ScoredCaption:
    return ScoredCaption(
        caption.text,
        word_probabilities(caption),
        math.exp(caption.log_prob),
        caption.log_prob,
        caption.score,
        caption.finish_reason,
        caption.confidence,
        caption.confidence is not None and caption.confidence < UNSURE_BELOW,
        caption.naming,
    )
