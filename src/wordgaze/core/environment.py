"""Numbers that environment variables give."""

import math
import os

from wordgaze.core.errors import ParamsError


def positive_number(name: str, default: float, unit: str) -> float:
    """The value of the environment variable ``name``, or ``default`` where it is not set.

    Raises ParamsError if it is not a finite number above 0; ``unit`` says what it counts, such as ``seconds``.
    """
    text = os.environ.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ParamsError(f"{name} is {text!r}; set it to a number of {unit} above 0")
    return value
