"""Wrong usage of the command line as one sentence in the words of wordgaze, where typer has those of its libraries."""

import re
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def usage_message(error: typer.TyperException) -> str:
    """What is wrong with the options or arguments, and what is meant, or the command that lists the right ones."""
    problem, context = _problem(error), getattr(error, "ctx", None)
    return problem if problem.endswith("?") or context is None else f"{problem}; see {context.command_path} -h"


def is_help(error: typer.TyperException) -> bool:
    """Whether a group of commands was called without a command, for which typer raises its help text."""
    return type(error).__name__ == "NoArgsIsHelpError"


def _problem(error: Any) -> str:
    if isinstance(error, typer.BadParameter):
        return f"{_parameter(error)} {_requirement(error)}"
    if (option := getattr(error, "option_name", None)) is not None:
        return _option_problem(option, error)
    message = error.format_message()
    if found := re.fullmatch(r"No such command '(.*?)'\.(?: Did you mean (.*)\?)?", message):
        return f"there is no command {found[1]}" + _suggestion(re.findall(r"'(.*?)'", found[2] or ""))
    if found := re.fullmatch(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", message):
        return f"{found[1]} is more than the command takes"
    return str(message).rstrip(".")


def _option_problem(option: str, error: Any) -> str:
    if hasattr(error, "possibilities"):
        return f"there is no option {option}" + _suggestion(sorted(error.possibilities or ()))
    return f"{option} {'takes no value' if 'does not take' in error.message else 'needs a value'}"


def _suggestion(names: list[str]) -> str:
    return f"; did you mean {' or '.join(names)}?" if names else ""


def _parameter(error: Any) -> str:
    """The longest flag of an option, or an argument as the help names it."""
    if error.param_hint is not None or error.param is None:
        return str(error.param_hint or "a value")
    is_option = error.param.param_type_name == "option"
    return str(max(error.param.opts, key=len) if is_option else error.param.metavar or error.param.name)


def _requirement(error: Any) -> str:
    if type(error).__name__ == "MissingParameter":
        return "is missing"
    from pydantic import ValidationError

    if not isinstance(error.__cause__, ValidationError):
        return str(error.message).rstrip(".")
    details: ErrorDetails = error.__cause__.errors(include_url=False)[0]
    from wordgaze.core.settings import requirement

    if found := re.search(r"('.*') is not one of (.*)\.", str(details["msg"])):  # typer's own check of a choice
        choices = re.findall("'(.*?)'", found[2])
        return f"must be {' or '.join(choices)}, not {found[1]}"
    return requirement(details).replace(repr(details["input"]), str(details["input"]))  # as it was typed
