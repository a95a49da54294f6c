"""Options that several commands share. Those of generation are the fields of GenerationConfig, by their names."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from wordgaze.core.errors import ParamsError

if TYPE_CHECKING:
    from wordgaze.generation.config import GenerationConfig

_SEARCHED = "Image files, folders, which are searched with their subfolders, and quoted patterns such as '**/*.jpg'"
PicturePaths = Annotated[list[Path], typer.Argument(metavar="PICTURES", help=f"{_SEARCHED}.", show_default=False)]
InputPaths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PICTURES", help=f"{_SEARCHED}; - reads paths from standard input.", show_default=False),
]
PicturePath = Annotated[Path, typer.Argument(metavar="PICTURE", help="An image file.", show_default=False)]


def _models(repeated: str) -> Any:
    """The option ``--model`` of a command that several captioners may be given to."""
    captioner = "A captioner folder, photos, or an address of the registry such as models:/captioner@champion."
    default = "By default the champion, else your newest in models/ for photographs, else photos."
    return typer.Option("--model", help=f"{captioner} Repeat it {repeated}. {default}")


EnsembleModels = Annotated[list[str] | None, _models("for an ensemble")]
ComparedModels = Annotated[list[str] | None, _models("for several, one row each")]
Model = Annotated[
    str | None,
    typer.Option(
        help="A captioner folder, photos, or an address of the registry such as models:/captioner@champion. By default "
        "the champion, else your newest in models/ for photographs, else photos."
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, help="The random seed (strategy sample, mbr).", show_default="0"),
]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Log more.")]
Quiet = Annotated[int, typer.Option("--quiet", "-q", count=True, show_default=False, help="Log less.")]
Host = Annotated[str, typer.Option(help="The address to listen on. 0.0.0.0 admits other machines, without a password.")]


GENERATION_PANEL = "Generation, by default the captioner's own settings"


class GenerationOption(NamedTuple):
    """The option of a field of GenerationConfig: its type, its help, and the strategies that use it (none: all)."""

    type: Any
    help: str
    strategies: tuple[str, ...] = ()

    def annotation(self, name: str) -> Any:
        """The annotation by which typer makes the option. Without a value the captioner's own holds."""
        used_by = f" (strategy {', '.join(self.strategies)})" if self.strategies else ""
        flags = f"{_flag(name)}/--no-{_flag(name)[2:]}" if self.type is bool and name[:3] != "no_" else _flag(name)
        return Annotated[
            self.type | None, typer.Option(flags, help=f"{self.help}{used_by}.", rich_help_panel=GENERATION_PANEL)
        ]


_BEAMS = ("beam", "diverse", "mbr", "neighbours")
_SAMPLES = ("sample", "mbr")

GENERATION: dict[str, GenerationOption] = {
    "strategy": GenerationOption(str, "The strategy: greedy, beam, diverse, sample, mbr or neighbours"),
    "num_return_sequences": GenerationOption(int, "The number of captions per image"),
    "max_new_tokens": GenerationOption(int, "The largest number of words"),
    "min_new_tokens": GenerationOption(int, "The smallest number of words"),
    "num_beams": GenerationOption(int, "The number of beams", _BEAMS),
    "length_penalty": GenerationOption(float, "The log-probability is divided by the length to this power", _BEAMS),
    "length_normalisation": GenerationOption(str, "The form of the length penalty: power or wu", _BEAMS),
    "num_beam_groups": GenerationOption(int, "The number of groups that the beams are divided into", ("diverse",)),
    "diversity_penalty": GenerationOption(float, "The penalty for a word that another group chose", ("diverse",)),
    "temperature": GenerationOption(float, "The temperature; 0 is greedy, 1 is the model's distribution", _SAMPLES),
    "top_k": GenerationOption(int, "Sample from this number of most probable words; 0 is all", _SAMPLES),
    "top_p": GenerationOption(float, "Sample from the nucleus of this probability; 1 is all", _SAMPLES),
    "typical_p": GenerationOption(float, "Sample from the most typical words of this probability; 1 is all", _SAMPLES),
    "min_p": GenerationOption(
        float, "Sample from words with this share of the highest probability; 0 is all", _SAMPLES
    ),
    "mbr_utility": GenerationOption(str, "The score that the candidates agree by: cider or bleu", ("mbr",)),
    "mbr_samples": GenerationOption(int, "The number of samples among the candidates", ("mbr",)),
    "num_neighbours": GenerationOption(int, "The number of similar training images", ("neighbours",)),
    "neighbour_weight": GenerationOption(float, "The weight of agreement with their captions", ("neighbours",)),
    "regression_weight": GenerationOption(float, "The weight of the predicted n-grams", ("neighbours",)),
    "no_repeat_ngram_size": GenerationOption(int, "N-grams of this size occur at most once; 0 permits all"),
    "no_dangling_end": GenerationOption(bool, 'Captions do not end with a word such as "in" or "a"'),
    "bad_words": GenerationOption(list[str], "A word that must not occur; repeat it for more"),
    "force_words": GenerationOption(list[str], 'A word that must occur, or "dog|puppy" for either; repeat it for more'),
    "name_objects": GenerationOption(bool, "Captions have the name of what the encoder's classifiers see"),
    "naming_threshold": GenerationOption(float, "The probability from which a thing is named"),
}
"""All fields of GenerationConfig."""

SHARED = tuple(
    name for name in GENERATION if name not in ("strategy", "temperature", "top_k", "top_p", "typical_p", "min_p")
)
"""The settings that all presets can share: not what distinguishes them."""

SINGLE = tuple(name for name in GENERATION if name != "num_return_sequences")
"""The settings for a single caption."""

RENAMED_OPTIONS = {
    "--num": "--num-return-sequences",
    "--beam-width": "--num-beams",
    "--max-length": "--max-new-tokens",
    "--min-length": "--min-new-tokens",
    "--groups": "--num-beam-groups",
    "--diversity": "--diversity-penalty",
    "--no-repeat-ngram": "--no-repeat-ngram-size",
    "--complete": "--no-dangling-end",
    "--ban": "--bad-words",
    "--require": "--force-words",
}
"""Options of version 0.1 by their new names."""


class GenerationCommand(TyperCommand):
    """A command with generation options, which refuses their old names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raises ParamsError for an option that was renamed."""
        for option in (arg.partition("=")[0] for arg in takewhile("--".__ne__, args)):
            if option in RENAMED_OPTIONS:
                raise ParamsError(f"{option} is renamed to {RENAMED_OPTIONS[option]}")
        return super().parse_args(ctx, args)


def accept_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """Adds ``--verbose`` and ``--quiet`` to a command; they replace those that are given before the command.

    The lines of each paragraph of its help become one, because typer breaks them as they are in the docstring.
    """

    @wraps(command)
    def with_verbosity(*, verbose: int, quiet: int, **values: Any) -> None:
        if verbose or quiet:
            from wordgaze.core.logs import configure_logging

            configure_logging(verbose - quiet)
        command(**values)

    signature = inspect.signature(command)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=0, annotation=annotation)
        for name, annotation in (("verbose", Verbose), ("quiet", Quiet))
    ]
    own = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in signature.parameters.values()]
    with_verbosity.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    with_verbosity.__doc__ = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(command) or "")
    return with_verbosity


def generation_options(
    names: Sequence[str] = tuple(GENERATION), **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds generation options to a command, which receives those that were given as the mapping ``settings``.

    ``defaults`` are the command's own, where they differ from GenerationConfig.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_settings(**values: Any) -> None:
            options = {name: values.pop(name) for name in names}
            command(**values, settings={name: value for name, value in options.items() if value not in (None, [])})

        signature = inspect.signature(command)
        own = [parameter for name, parameter in signature.parameters.items() if name != "settings"]
        added = [_parameter(name, defaults.get(name)) for name in names]
        with_settings.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        return with_settings

    return decorate


def generation_config(settings: Mapping[str, Any], captioner: Path) -> "GenerationConfig":
    """The generation options as settings; those that are not given are the captioner's own.

    Raises ParamsError for wrong values, and for an option that the strategy does not use, and ModelError if there is no
    captioner in the folder.
    """
    from wordgaze.generation.config import parse_generation_config
    from wordgaze.inference.runtimes import default_generation

    config = parse_generation_config(**(default_generation(captioner).model_dump() | dict(settings)))
    for name in settings:
        if (strategies := GENERATION[name].strategies) and config.strategy not in strategies:
            raise _unused(name, config.strategy, strategies)
    if "naming_threshold" in settings and not config.name_objects:
        raise ParamsError("--naming-threshold has no effect on captions without names; add --name-objects")
    return config


def sampling_seed(seed: int | None, config: "GenerationConfig") -> int:
    """The value of ``--seed``. Raises ParamsError where it is given and the strategy does not sample."""
    if seed is not None and config.strategy not in _SAMPLES:
        raise _unused("seed", config.strategy, _SAMPLES)
    return seed or 0


def refuse_unused(*options: tuple[str, bool, bool, str]) -> None:
    """Raises ParamsError for the first option that was given and has no effect.

    Each of ``options`` is a flag, whether it was given, whether it has an effect, and the flags that give it one.
    """
    for flag, is_given, has_effect, needed in options:
        if is_given and not has_effect:
            raise ParamsError(f"{flag} has no effect without {needed}; add it, or leave {flag} out")


def refuse_settings(settings: Mapping[str, Any], reason: str) -> None:
    """Raises ParamsError when generation options were given that have no effect."""
    if settings:
        raise ParamsError(f"{', '.join(map(_flag, settings))} has no effect {reason}; leave it out")


def _unused(name: str, strategy: str, strategies: Sequence[str]) -> ParamsError:
    use = f"{', '.join(strategies[:-1])} or {strategies[-1]}" if len(strategies) > 1 else strategies[0]
    return ParamsError(f"{_flag(name)} has no effect with strategy {strategy}; use it with {use}")


def _parameter(name: str, default: Any) -> inspect.Parameter:
    annotation = GENERATION[name].annotation(name)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
