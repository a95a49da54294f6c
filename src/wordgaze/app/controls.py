"""The page's controls: what they hold, in one order for the page and for the handlers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wordgaze.core.errors import ParamsError
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.presets import PRESETS

_FIRST = ("beam", "neighbours", "mbr", "diverse", "sample", "greedy")
STRATEGIES = (*_FIRST, *(name for name in PRESETS if name not in _FIRST))  # the first chosen one is on the stage
MAX_WORDS_TEXT = 10_000  # characters of the words of bad_words and force_words
MAX_SEED = 2**53 - 1  # the largest integer that a browser holds
LABELS = {
    "name_objects": "Name objects",
    "num_beams": "Number of beams",
    "num_return_sequences": "Captions per strategy",
    "max_new_tokens": "Max words",
    "temperature": "Sampling temperature",
    "top_k": "Top-k",
    "top_p": "Top-p",
    "bad_words": "Banned words",
    "force_words": "Required words",
}
"""The controls that are fields of GenerationConfig, in the page's order: after the strategies, before the seed."""

FIELDS = tuple(LABELS)

RANGES = {
    "num_beams": (1, 50),
    "num_return_sequences": (1, 5),
    "max_new_tokens": (1, 50),
    "temperature": (0, 2),
    "top_k": (0, 100),
    "top_p": (0.05, 1),
}
"""The least and the greatest value of the fields that are sliders."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Choices:
    """What a person chose: captioners, the first of which is shown on the stage; strategies in the order of STRATEGIES;
    the minimum confidence, 0…1; fields of GenerationConfig; and the random seed."""

    models: tuple[str, ...]
    strategies: tuple[str, ...]
    min_confidence: float
    settings: Json
    seed: int

    def supported(self, model: str, presets: Sequence[str]) -> list[str]:
        """The chosen strategies that a captioner supports. Raises ParamsError if there is none."""
        names = [name for name in self.strategies if name in presets]
        if not names:
            raise ParamsError(
                f"{model} supports none of the chosen strategies ({', '.join(self.strategies)}); choose another one"
            )
        return names


def own_preset(config: GenerationConfig) -> str:
    """The strategy of a captioner's own settings, named as in PRESETS."""
    return next(name for name in STRATEGIES if PRESETS[name]["strategy"] == config.strategy)


def own_values(config: GenerationConfig) -> list[Any]:
    """What the strategies and FIELDS hold for a captioner's own settings; a number out of RANGES is cut to them, which
    :func:`cut_note` says."""
    values = config.model_dump()
    words = {name: ", ".join(values[name]) for name in ("bad_words", "force_words")}
    shown = {**values, **words, **_cut(values)}
    return [default_strategies(config), *(shown[name] for name in FIELDS)]


def cut_note(config: GenerationConfig) -> str:
    """One sentence on a captioner's own settings that the controls do not reach; "" if they reach all."""
    values = config.model_dump()
    cut = [(LABELS[name], value, values[name]) for name, value in _cut(values).items() if value != values[name]]
    named = ", ".join(f"{label} {value:g} instead of {own:g}" for label, value, own in cut)
    return f"This page reaches less than its own settings: {named}." if cut else ""


def _cut(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: min(max(values[name], low), high) for name, (low, high) in RANGES.items()}


def default_strategies(config: GenerationConfig) -> list[str]:
    """Two strategies: that of a captioner's own settings, which is on the stage, and greedy search beside it."""
    own = own_preset(config)
    return [own, "nucleus 0.9" if own == "greedy" else "greedy"]


def read_controls(values: Sequence[Any]) -> Choices:
    """What the controls hold. Raises ParamsError where nothing is chosen, and for values that no control can hold."""
    model, others, minimum, strategies, *fields, seed = values
    models = tuple(dict.fromkeys(filter(None, [*_names([model or ""], "Captioner"), *_names(others, "Compare with")])))
    if not models:
        raise ParamsError("no captioner is chosen; choose one at the top of the page")
    named = _names(strategies, "Strategies")
    chosen = tuple(name for name in STRATEGIES if name in named)
    if not chosen:
        raise ParamsError("no strategy is chosen; choose one in the settings")
    settings = dict(zip(FIELDS, fields, strict=True))
    for name in ("bad_words", "force_words"):
        settings[name] = _words(settings[name], name)
    return Choices(models, chosen, _share(minimum), settings, read_seed(seed))


def with_labels(message: str) -> str:
    """A message for the page: it names the controls by their labels, where programs read the names of fields."""
    named = "|".join(name for name in FIELDS if "_" in name)  # "temperature" is also a word of the names of strategies
    return re.sub(rf"\b({named})\b", lambda found: LABELS[found[0]], message)


def _names(value: Any, label: str) -> list[str]:
    """The names that a control holds. Raises ParamsError."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ParamsError(f"{label} does not hold a list of names; choose again")
    return value


def _words(value: Any, label: str) -> list[str]:
    """The words of a text field. Raises ParamsError."""
    if value is None:
        return []
    if not isinstance(value, str) or len(value) > MAX_WORDS_TEXT:
        raise ParamsError(f"{label} is not a text of at most {MAX_WORDS_TEXT} characters; give words with commas")
    return [word for word in re.split(r"[,\s]+", value.lower()) if word]


def _share(value: Any) -> float:
    """The minimum confidence. Raises ParamsError."""
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ParamsError("the minimum confidence is not a number from 0 to 1; choose another one")
    return float(value)


def read_settings(value: Any) -> Json:
    """The settings that a program sent; null stands for none. Raises ParamsError."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ParamsError(f'settings is {str(value)[:60]!r}; give an object such as {{"num_beams": 5}}')
    return dict(value)


def read_strategies(value: Any, default: str) -> list[str]:
    """The strategies that a program asked for, each once; null stands for the default. Raises ParamsError."""
    if value is None:
        return [default]
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise ParamsError(f'strategies is {str(value)[:60]!r}; give a list of names such as ["beam"]')
    return list(dict.fromkeys(value))


def read_seed(value: Any) -> int:
    """A random seed; null stands for 0. Raises ParamsError."""
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():  # as browsers send it
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SEED:
        raise ParamsError(f"the seed is {str(value)[:60]!r}; give an integer from 0 to {MAX_SEED}")
    return value
