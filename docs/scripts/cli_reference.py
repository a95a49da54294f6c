"""The reference of the command line, generated from the typer app."""

import html
from collections.abc import Iterator
from typing import Any

import typer

from wordgaze.cli.options import GENERATION_PANEL


def render() -> str:
    """The page in Markdown."""
    from wordgaze.cli import app

    command = typer.main.get_command(app)
    head = f"# Command line\n\n{command.help}\n\nThis page is generated from the commands themselves.\n"
    return "\n".join([head, *(_section(*each) for each in _commands("wordgaze", command))])


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """(full name, command) of each command, groups included, the program itself left out."""
    for child_name, child in command.commands.items():
        if child.hidden:
            continue
        full_name = f"{name} {child_name}"
        yield full_name, child
        if hasattr(child, "commands"):
            yield from _commands(full_name, child)


def _section(name: str, command: Any) -> str:
    lines = [f"## `{name}`", "", command.help or "", ""]
    shown = [param for param in command.params if not getattr(param, "hidden", False) and param.name != "help"]
    arguments = [param for param in shown if param.param_type_name == "argument"]
    options = [param for param in shown if param.param_type_name == "option"]
    if arguments:
        lines += ["| argument | meaning |", "|---|---|", *map(_argument_row, arguments), ""]
    if options:
        lines += ["| option | default | meaning |", "|---|---|---|", *map(_option_row, options), ""]
    return "\n".join(lines)


def _argument_row(param: Any) -> str:
    name = (param.metavar or param.name).upper() + (" …" if param.nargs == -1 else "")
    return f"| `{name}` | {_cell(param.help)} |"


def _option_row(param: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*param.opts, *param.secondary_opts])
    several = " May be repeated." if param.multiple else ""
    return f"| {names} | {_default(param)} | {_cell(param.help)}{several} |"


def _default(param: Any) -> str:
    if param.required:
        return "required"
    default = param.default
    if default is None and getattr(param, "rich_help_panel", None) == GENERATION_PANEL:
        return "the captioner's"
    if default is None or default == "" or default == () or default == []:
        return "–"
    if isinstance(default, list | tuple):
        return ", ".join(f"`{each}`" for each in default)
    return f"`{default}`"


def _cell(text: str | None) -> str:
    return html.escape(" ".join((text or "").split()), quote=False).replace("|", r"\|")
