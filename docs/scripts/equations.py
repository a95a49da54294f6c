"""Equations as inline SVG, drawn when the site is built: the pages load no script for them."""

import html
import io
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt

_SETTINGS: dict[str, Any] = {"svg.fonttype": "path", "svg.hashsalt": "wordgaze", "mathtext.fontset": "cm"}
_POINTS = 13


def format_fence(source: str, language: str, class_name: str, *_: Any, **__: Any) -> str:
    """The formatter of a fence ``math``: one equation per line, in the LaTeX that matplotlib reads."""
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    return f'<div class="{class_name}">' + "".join(f"<p>{_draw(line)}</p>" for line in lines) + "</div>"


def _draw(equation: str) -> str:
    with mpl.rc_context(_SETTINGS):
        figure = plt.figure()
        figure.text(0, 0, f"${equation}$", fontsize=_POINTS)
        buffer = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.05, transparent=True, metadata=metadata)
        plt.close(figure)
    svg = buffer.getvalue()
    label = html.escape(equation, quote=True)
    return svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
