"""What the page can do, without the page: captions by every strategy, the story behind each word, another ending."""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from wordgaze.core import paths
from wordgaze.core.errors import CaptionsError, ModelError, ParamsError
from wordgaze.core.files import atomic_write, sha256, write_json
from wordgaze.generation.config import GenerationConfig, parse_generation_config
from wordgaze.generation.outputs import Caption
from wordgaze.generation.presets import PRESETS
from wordgaze.inference.attention_maps import attention_sheet
from wordgaze.inference.captioner import CARD, WEIGHTS, Captioner
from wordgaze.inference.film import save_gif
from wordgaze.text.tokenizer import tokenize
from wordgaze.text.vocabulary import END, PAD, START, UNK
from wordgaze.vision.images import load_image

ENDED = "(end)"
"""How the end of a caption is shown among the words that could come next."""
LIKELIEST = 5  # words told at each step
REMEMBERED = 64 * 2**20  # bytes of features that are kept, of the pictures asked about last
REGISTRY = "models:/"
CHAMPION = "models:/captioner@champion"
NARROWING = frozenset({"temperature", "top_k", "top_p", "typical_p", "min_p"})


@dataclass(frozen=True)
class Model:
    """A captioner by the name that it is asked for, and its version: of the registry, or of the weights."""

    name: str
    version: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Word:
    """A word, and how likely the model finds it at its place."""

    text: str
    probability: float


@dataclass(frozen=True)
class ScoredCaption:
    """One caption. ``probability`` is that of all its words, END included where it was said; ``log_prob``, ``score``
    and ``ended`` are those of :class:`wordgaze.generation.outputs.Caption`."""

    caption: str
    words: tuple[Word, ...]
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


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where each word of a caption looked, how likely it was, and what else could have been said in its place.

    ``caption.weights`` (T, L) are in row-major order over ``grid`` = (rows, columns); ``size`` is the picture's (width,
    height). ``likeliest`` has the likeliest words of each of T + 1 steps, the last for what follows the last word.
    ``end_probability``: that the caption ends there.
    """

    model: Model
    caption: Caption
    grid: tuple[int, int]
    size: tuple[int, int]
    likeliest: tuple[tuple[Word, ...], ...]
    end_probability: float

    @property
    def words(self) -> tuple[Word, ...]:
        """Each word with its probability."""
        return _words(self.caption)

    @property
    def elsewhere(self) -> tuple[float, ...]:
        """Of each word the share of attention that fell on no cell: the sentinel's, or what local attention cut off."""
        return tuple(max(0.0, 1 - float(weights.sum())) for weights in self.caption.weights)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; ``weights`` is a grid, a list a row, rounded to six digits."""
        grids = self.caption.weights.reshape(-1, *self.grid).astype(float).round(6).tolist()
        parts = zip(self.words, self.elsewhere, grids, self.likeliest[:-1], strict=True)
        return {
            "model": self.model.to_dict(),
            "caption": self.caption.text,
            "probability": math.exp(self.caption.log_prob),
            "log_prob": self.caption.log_prob,
            "grid": list(self.grid),
            "size": list(self.size),
            "words": [
                {
                    **asdict(word),
                    "elsewhere": elsewhere,
                    "weights": weights,
                    "likeliest": [asdict(w) for w in likeliest],
                }
                for word, elsewhere, weights, likeliest in parts
            ],
            "end": {"probability": self.end_probability, "likeliest": [asdict(w) for w in self.likeliest[-1]]},
        }


class CaptionService:
    """One captioner or several, ready to be asked by many people at once.

    One of them is served at a time: torch already spreads a picture's work over all cores, so that two at once would
    each take twice as long and twice the memory. What waits does so between two strategies, never behind all of them.
    """

    def __init__(self, captioners: Sequence[tuple[Model, Captioner]]) -> None:
        self._captioners = {model.name: (model, captioner) for model, captioner in captioners}
        self._features: OrderedDict[tuple[str, str, tuple[int, int]], Tensor] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def open(cls, models: Sequence[str] = ()) -> "CaptionService":
        """Loads captioner folders or addresses of the registry; with none named the registry's champion, else the
        newest folder under models/. Raises ModelError where there is no captioner, TrackingError where the registry
        cannot be read."""
        addresses = list(dict.fromkeys(models)) or [_first_choice()]
        names = _names(addresses)
        return cls([_load(address, name) for address, name in zip(addresses, names, strict=True)])

    @property
    def models(self) -> tuple[Model, ...]:
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
        decodes = {strategy: _decode(strategy, settings) for strategy in chosen}
        return self._answers(model, captioner, image, decodes, seed)

    def _answers(
        self, model: str, captioner: Captioner, image: Image.Image, decodes: dict[str, GenerationConfig], seed: int
    ) -> Iterator[StrategyResult]:
        key = _key(image)
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
        key = _key(image)
        with self._lock:
            caption, log_probs = captioner.force_decode(self._look(model, captioner, image, key), words)
        likeliest = _likeliest(log_probs, captioner.vocabulary.words)
        end = float(log_probs[-1, END].exp())
        return Explanation(which, caption, captioner.encoder.spec.grid, image.size, likeliest, end)

    def continue_caption(
        self, model: str, image: Image.Image, prefix_words: Sequence[str], settings: Mapping[str, Any], seed: int = 0
    ) -> ScoredCaption:
        """The best caption that begins with these words; behind them ``(end)`` ends it. ``settings`` are fields of
        GenerationConfig, ``strategy`` among them (beam if left out). Raises ModelError for unknown words."""
        if list(prefix_words[-1:]) == [ENDED]:
            return _said(self.explain(model, image, prefix_words[:-1]).caption)
        captioner = self.captioner(model)
        decode, key = parse_generation_config(**settings), _key(image)
        with self._lock:
            features = self._look(model, captioner, image, key)
            return _said(captioner.generate(features, decode, [key], seed, prefix_words)[0][0])

    def _find(self, name: str) -> tuple[Model, Captioner]:
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


def explain(
    picture: Path,
    model: str | None,
    words: str | None,
    settings: Mapping[str, Any],
    seed: int = 0,
    *,
    gif: Path | None = None,
    png: Path | None = None,
    json: Path | None = None,
) -> Explanation:
    """Writes the story of a picture as a film, a sheet and JSON, whichever have a path: of ``words``, else of what the
    captioner says by ``settings``. Raises ParamsError where nothing is to be written, CaptionsError for no words."""
    _check_outputs(gif, png, json)
    image = load_image(picture)
    said = None if words is None else tokenize(words)
    if said == []:
        raise CaptionsError(f"{words!r} has no word in it; give --words a caption")
    service = CaptionService.open([] if model is None else [model])
    name = service.models[0].name
    if said is None:
        said = [word.text for word in service.continue_caption(name, image, (), settings, seed).words]
    story = service.explain(name, image, said)
    if gif is not None:
        save_gif(gif, image, story.caption)
    if png is not None:
        with atomic_write(png) as temporary:
            attention_sheet(image, story.caption).save(temporary, "PNG")
    if json is not None:
        write_json(json, story.to_dict())
    return story


def _check_outputs(gif: Path | None, png: Path | None, json: Path | None) -> None:
    outputs = {".gif": gif, ".png": png, ".json": json}
    if not any(outputs.values()):
        raise ParamsError("there is nothing to write; give --gif, --png or --json a file name")
    for ending, path in outputs.items():
        if path is not None and path.suffix.lower() != ending:
            raise ParamsError(f"{path} is no {ending}; give --{ending[1:]} a file name with this ending")


def _first_choice() -> str:
    """The champion's address where there is one, else the newest captioner folder. Raises ModelError."""
    if _version(CHAMPION) is not None:
        return CHAMPION
    cards = paths.STAGE2.parent.glob(f"*/{CARD}")
    newest = max(cards, key=lambda card: (card.stat().st_mtime, str(card)), default=None)
    if newest is None:
        raise ModelError(
            f"there is no captioner: the registry has no {CHAMPION} and {paths.STAGE2.parent}/ no trained model; "
            "run `make` or `dvc repro` here, or name one with --model"
        )
    return str(newest.parent)


def _version(address: str) -> str | None:
    """The version that an address of the registry stands for; None where the registry has none, or is not there."""
    name, _, alias = address.removeprefix(REGISTRY).partition("@")
    if not alias:
        return name.partition("/")[2] or None
    from wordgaze.tracking.store import address as store_address
    from wordgaze.tracking.store import open_store, quoted, translate_errors

    database = store_address().removeprefix("sqlite:///")
    if database != store_address() and not Path(database).exists():
        return None
    store = open_store(create=False)
    with translate_errors("ask the registry"):
        found = store.client.search_registered_models(f"name = {quoted(name)}")
    return str(found[0].aliases[alias]) if found and alias in found[0].aliases else None


def _names(addresses: Sequence[str]) -> list[str]:
    """What the models are called: short, where that tells them apart."""
    short = [address.removeprefix(REGISTRY) if address.startswith(REGISTRY) else Path(address).name
             for address in addresses]  # fmt: skip
    return short if len(set(short)) == len(short) else list(addresses)


def _load(address: str, name: str) -> tuple[Model, Captioner]:
    folder, version = Path(address), None
    if address.startswith(REGISTRY):
        from wordgaze.tracking.registry import fetch_model

        folder, version = fetch_model(address), _version(address)
    captioner = Captioner.load(folder)
    return Model(name, f"version {version}" if version else sha256(folder / WEIGHTS)[:12]), captioner


def _decode(strategy: str, settings: Mapping[str, Any]) -> GenerationConfig:
    """The settings of a strategy of PRESETS, whose own stand before the ones given. Raises ParamsError."""
    if strategy not in PRESETS:
        raise ParamsError(f"strategy {strategy!r} is unknown; there is {', '.join(PRESETS)}")
    preset = PRESETS[strategy]
    is_narrowed = not NARROWING.isdisjoint(preset)
    given = {name: value for name, value in settings.items() if not (is_narrowed and name in NARROWING)}
    # A beam of any width divides into groups of one.
    groups = {"num_beam_groups": given["num_beams"]} if "num_beams" in given else {}
    return parse_generation_config(**{**groups, **given, **preset})


def _key(image: Image.Image) -> str:
    """The picture's pixels, as sampling knows them too: the same seed gives what ``wordgaze compare`` gives."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def _said(caption: Caption) -> ScoredCaption:
    probability = math.exp(caption.log_prob)
    return ScoredCaption(
        caption.text, _words(caption), probability, caption.log_prob, caption.score, caption.finish_reason
    )


def _words(caption: Caption) -> tuple[Word, ...]:
    pairs = zip(caption.words, caption.word_log_probs, strict=True)
    return tuple(Word(word, math.exp(log_prob)) for word, log_prob in pairs)


def _likeliest(log_probs: Tensor, words: Sequence[str]) -> tuple[tuple[Word, ...], ...]:
    """Of each step's log_probs (T, V) the likeliest that can be said, best first."""
    log_probs = log_probs.index_fill(1, torch.tensor([PAD, START, UNK]), -torch.inf)
    best = log_probs.topk(min(LIKELIEST, len(words) - 3), dim=1)
    names = {END: ENDED}
    return tuple(
        tuple(Word(names.get(i, words[i]), math.exp(value)) for i, value in zip(row, values, strict=True))
        for row, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
