"""YAML as settings are written in: of bounded size, and with errors that name the file."""

from pathlib import Path

from wordgaze.core.errors import ParamsError
from wordgaze.core.printable import reason_of

MAX_YAML_BYTES = 100_000
MAX_YAML_VALUES = 10_000
_MAX_REASON = 500  # characters
_TEXTS = {
    "source", "captioner", "captions", "karpathy", "boxes", "extra_text", "weights", "address", "word_vectors",
    "new_words",
}  # fmt: skip


def read_yaml(path: Path) -> object:
    """The values of a YAML file, {} if it is empty. Raises ParamsError if it is missing, cannot be read or is not
    YAML, and like :func:`parse_yaml`."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_YAML_BYTES + 1)
    except FileNotFoundError as error:
        raise ParamsError(f"{path} is missing; run wordgaze from the root of the project") from error
    except OSError as error:
        raise ParamsError(
            f"{path} cannot be read ({error.strerror}); check that it is a file, and its permissions"
        ) from error
    values = parse_yaml(content, str(path))
    return {} if values is None else values


def parse_yaml(text: str | bytes, origin: str) -> object:
    """The values of YAML text; ``origin`` names it in an error.

    Raises ParamsError if it is not YAML, has more than ``MAX_YAML_BYTES`` bytes, or refers to itself or repeats its
    parts so that it has more than ``MAX_YAML_VALUES`` values.
    """
    # ruamel.yaml reads YAML 1.2: DVC writes 1e-05, which is a string in YAML 1.1.
    from ruamel.yaml import YAML

    if len(text) > MAX_YAML_BYTES:
        raise ParamsError(f"{origin} has more than {MAX_YAML_BYTES} bytes, which settings do not need; shorten it")
    try:
        values = YAML(typ="safe").load(text)
    except RecursionError as error:
        raise ParamsError(f"{origin} is not YAML that can be read: it is nested too deeply; correct it") from error
    except Exception as error:  # ruamel.yaml's constructors raise arbitrary exceptions, as for the date 2001-99-99
        raise ParamsError(f"{origin} is not YAML: {reason_of(error)[:_MAX_REASON]}") from error
    if _num_values(values) > MAX_YAML_VALUES:
        raise ParamsError(f"{origin} refers to itself, or has more than {MAX_YAML_VALUES} values; write the values out")
    return values


def _num_values(values: object) -> int:
    """The number of values in all depths, as if each reference were written out; counts no further than the limit."""
    waiting, count = [values], 0
    while waiting and count <= MAX_YAML_VALUES:
        value = waiting.pop()
        count += 1
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
    return count


def nulls_as_text(values: object) -> object:
    """DVC writes ``-S x.source=`` as an empty value, which YAML reads as null; a text key gets '' instead."""
    if isinstance(values, dict):
        return {key: "" if value is None and key in _TEXTS else nulls_as_text(value) for key, value in values.items()}
    return values
