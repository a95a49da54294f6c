"""Recipes: published systems as settings of ``params.yaml``, one YAML file each in this folder.

All recipes set the same keys, so that one replaces another completely. Keys that no recipe sets (devices, seeds, the
source of the data) keep their values.
"""

import difflib
import io
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from wordgaze.config.params import load_params, parse_params
from wordgaze.config.yaml_files import parse_yaml, read_yaml
from wordgaze.core import paths
from wordgaze.core.errors import ParamsError
from wordgaze.core.files import write_text

RECIPES = Path(__file__).parent


@dataclass(frozen=True)
class Recipe:
    """A named set of settings. ``settings`` maps dotted keys of ``params.yaml`` to their values."""

    name: str
    about: str
    settings: dict[str, object]


def list_recipes() -> list[Recipe]:
    """All recipes of the package, sorted by name. Raises ParamsError if one cannot be read."""
    return [_read(path) for path in _files().values()]


def load_recipe(name: str) -> Recipe:
    """One recipe. Raises ParamsError, which lists similar names, if there is none of this name."""
    files = _files()
    if name not in files:
        near = ", ".join(difflib.get_close_matches(name, files, 3, 0.4) or files)
        raise ParamsError(f"recipe {name!r} is unknown; similar names: {near}")
    return _read(files[name])


def overrides(recipe: Recipe) -> list[str]:
    """The settings as arguments of ``dvc exp run -S``, in Hydra's basic override grammar."""
    return [f"{key}={_hydra(value)}" for key, value in recipe.settings.items()]


def use_recipe(name: str, extra: Sequence[str] = ()) -> list[str]:
    """Writes a recipe's settings, then those of ``extra`` (``key=value``, read as YAML), into ``params.yaml``.

    Comments and all other keys stay unchanged, and nothing is written unless the result is valid. Returns the keys
    whose values have changed. Raises ParamsError.
    """
    settings = load_recipe(name).settings | dict(map(parse_setting, extra))
    read_yaml(paths.PARAMS)  # reports a missing or broken file before it is changed
    text, changed = _changed(paths.PARAMS.read_text(encoding="utf-8"), settings)
    origin = f"{paths.PARAMS} with recipe {name}"
    parse_params(parse_yaml(text, origin), origin)
    if changed:
        write_text(paths.PARAMS, text)
    return changed


def print_recipes() -> None:
    """Prints a table of all recipes."""
    table = Table("recipe", "encoder", "data set", "about")
    for recipe in list_recipes():
        encoder, dataset = (str(recipe.settings[key]) for key in ("features.encoder", "dataset.name"))
        table.add_row(*map(escape, (recipe.name, encoder, dataset, recipe.about)))
    _console().print(table)


def print_recipe(name: str) -> None:
    """Prints a recipe's settings beside the current ones, and the command that runs it as a DVC experiment."""
    recipe = load_recipe(name)
    current = dict(flatten(load_params(paths.PARAMS).model_dump(mode="json")))
    changes = {key: value for key, value in recipe.settings.items() if current.get(key) != value}
    table = Table("key", "current", "recipe")
    for key, value in recipe.settings.items():
        row = (key, _hydra(current.get(key, "")), _hydra(value))
        table.add_row(*map(escape, row), style="bold" if key in changes else "")
    console = _console()
    console.print(recipe.about, markup=False)
    console.print(table)
    command = ["dvc exp run", *(f"-S {shlex.quote(one)}" for one in overrides(replace(recipe, settings=changes)))]
    console.print(" ".join(command), markup=False, soft_wrap=True)


def _files() -> dict[str, Path]:
    return {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}


def _read(path: Path) -> Recipe:
    match read_yaml(path):
        case {"about": str(about), "params": dict(params), **rest} if not rest and params:
            return Recipe(path.stem, about, dict(flatten(params)))
    raise ParamsError(f"{path} is not a recipe; it needs about: (a sentence) and params: (settings), and nothing else")


def flatten(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The values of nested mappings, by their dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def parse_setting(text: str) -> tuple[str, object]:
    """The key and the value of ``key=value``, read as YAML. Raises ParamsError."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ParamsError(f"--set {text!r} is not key=value; write it as train_stage1.epochs=2")
    return key, parse_yaml(value, f"--set {text!r}") if value else ""


def _changed(text: str, settings: Mapping[str, object]) -> tuple[str, list[str]]:
    """``text`` with these settings but unchanged comments and layout, and the keys whose values differ."""
    yaml = YAML()
    yaml.preserve_quotes, yaml.width, yaml.default_flow_style = True, sys.maxsize, None
    document = yaml.load(text) or CommentedMap()
    changed = []
    for key, value in settings.items():
        *sections, last = key.split(".")
        section = document
        for name in sections:
            section = section.setdefault(name, CommentedMap()) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            raise ParamsError(f"{key} is not a parameter")
        # True == 1, but they are different values in YAML.
        if last not in section or section[last] != value or isinstance(section[last], bool) != isinstance(value, bool):
            section[last] = value
            changed.append(key)
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue(), changed


def _hydra(value: object) -> str:
    """A value in Hydra's grammar: all text but plain words is quoted, with backslashes doubled before a quote."""
    if isinstance(value, list):
        return f"[{','.join(_hydra(one) for one in value)}]"
    if not isinstance(value, str):
        return str(value).lower()  # true, 20, 1e-05
    if re.fullmatch(r"[A-Za-z_][\w./-]*", value, re.ASCII) and value.lower() not in (
        "true",
        "false",
        "null",
        "nan",
        "inf",
    ):
        return value
    return "'" + re.sub(r"(\\+)(?='|$)", r"\1\1", value).replace("'", r"\'") + "'"


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)
