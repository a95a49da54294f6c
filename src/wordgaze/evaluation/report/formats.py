"""Numbers as text in the report; a dash stands for a value that is not defined."""

import math
import re
from typing import TypeGuard

from wordgaze.evaluation.result_types import ConfidenceInterval


def is_known(value: float | None) -> TypeGuard[float]:
    """Whether a number is defined: neither None nor NaN nor infinite."""
    return value is not None and math.isfinite(value)


def number(value: float | None, digits: int = 3) -> str:
    """``0.204``."""
    return f"{value:.{digits}f}" if is_known(value) else "–"


def signed(value: float | None) -> str:
    """``+0.034`` or ``−0.010``, with a true minus sign."""
    return ("+" if is_known(value) and value > 0 else "") + minus(value)


def minus(value: float | None) -> str:
    """``0.034`` or ``−0.010``, with a true minus sign."""
    return number(value).replace("-", "−")


def percent(value: float | None) -> str:
    """``20.4%``."""
    return f"{100 * value:.1f}%" if is_known(value) else "–"


def interval(value: ConfidenceInterval | None) -> str:
    """``.471–.528``."""
    ends = () if value is None else (value.low, value.high)
    return "–".join(re.sub(r"^(-?)0\.", r"\1.", number(end)) for end in ends)


def p_value(value: float | None) -> str:
    """``p = .031``, ``p < .001``."""
    if not is_known(value):
        return "p = –"
    return "p < .001" if value < 0.001 else f"p = {value:.3f}".replace("0.", ".", 1)
