"""A learning curve as an SVG file of its own, for light and dark pages."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from wordgaze.inspection.learning_curve import LearningCurve
from wordgaze.metrics.intervals import Interval

METRIC_LABELS = {"cider": "CIDEr", "bleu_4": "BLEU-4", "bleu_1": "BLEU-1", "rouge_l": "ROUGE-L"}

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 610, 40, 300
_STEPS = 60  # points of a drawn line

_STYLE = """
svg { --ink: #1b1d1f; --soft: #5a6066; --line: #dcdcd6; --paper: #ffffff; --data: #0072b2; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #eceae6; --soft: #a5abb1; --line: #363b41; --paper: #1d2024; --data: #56b4e9; }
}
.paper { fill: var(--paper) } .grid { stroke: var(--line) } .point { fill: var(--data) }
.bar { stroke: var(--data); stroke-width: 2 } .law { stroke: var(--data); stroke-width: 1.5; fill: none }
.beyond { stroke-dasharray: 5 4 } .band { fill: var(--data); opacity: .15 }
text { font: 13px system-ui, sans-serif; fill: var(--soft) } .title { font-weight: 600; fill: var(--ink) }
"""


@dataclass(frozen=True)
class _Axes:
    """From values to units of the drawing; the horizontal axis is logarithmic."""

    smallest: float
    largest: float
    low: float
    high: float

    def x(self, images: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * math.log(images / self.smallest) / math.log(self.largest / self.smallest)

    def y(self, score: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (score - self.low) / (self.high - self.low)


def draw_learning_curve(curve: LearningCurve) -> str:
    """The points with their 95 % intervals, the fitted power law, and dashed what it predicts, with its interval.

    The title of each point has its values as text. Equal curves give equal bytes.
    """
    label = METRIC_LABELS[curve.metric]
    scores = [(point.images, point.scores[curve.metric]) for point in curve.points]
    axes = _axes(curve, scores)
    parts = [_grid(axes), _law(curve, axes), *(_point(axes, images, score) for images, score in scores)]
    description = "; ".join(f"{n:,} images: {s.value:.3f} [{s.low:.3f}, {s.high:.3f}]" for n, s in scores)
    dashed = ", dashed: extrapolated" if curve.law else ""
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" role="img" aria-label="{label}: {text}">'
            "<style>{style}</style>"
            '<rect class="paper" width="{w}" height="{h}"/><text class="title" x="{left}" y="22">{title}</text>{drawn}'
            '<text x="{middle}" y="{below}" text-anchor="middle">training images (95 % intervals{dashed})</text>'
            "</svg>\n"
        ).format(
            w=_WIDTH, h=_HEIGHT, label=label, text=description, style=Markup(_STYLE), left=_LEFT, dashed=dashed,  # nosec B704  # our own text
            title=f"{label} on the {curve.dev_images:,} dev images of {curve.dataset}",
            drawn=Markup().join(parts), middle=(_LEFT + _RIGHT) // 2, below=_BOTTOM + 44,
        )
    )  # fmt: skip


def _axes(curve: LearningCurve, scores: Sequence[tuple[int, Interval]]) -> _Axes:
    sizes = [images for images, _ in scores] + [each.images for each in curve.predictions]
    lows = [score.low for _, score in scores]
    highs = [score.high for _, score in scores] + [each.high for each in curve.predictions]
    step = _tick_step(max(highs) - min(lows))
    low, high = math.floor(min(lows) / step) * step, math.ceil(max(highs) / step + 1e-9) * step
    return _Axes(min(sizes) / 1.3, max(sizes) * 1.3, low, max(high, low + step))


def _tick_step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten, with about five of them in ``span``."""
    rough = max(span, 1e-3) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _grid(axes: _Axes) -> Markup:
    step = _tick_step(axes.high - axes.low)
    levels = [axes.low + i * step for i in range(round((axes.high - axes.low) / step) + 1)]
    lines = [
        Markup(
            '<line class="grid" x1="{l}" y1="{y:.1f}" x2="{r}" y2="{y:.1f}"/>'
            '<text x="{t}" y="{ty:.1f}" text-anchor="end">{level:g}</text>'
        ).format(l=_LEFT, r=_RIGHT, y=axes.y(level), t=_LEFT - 8, ty=axes.y(level) + 4, level=round(level, 6))
        for level in levels
    ]
    return Markup().join(lines)


def _point(axes: _Axes, images: int, score: Interval) -> Markup:
    return Markup(
        '<line class="bar" x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}"/>'
        '<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{text}</title></circle>'
        '<text x="{x:.1f}" y="{below}" text-anchor="middle">{images}</text>'
    ).format(
        x=axes.x(images), y=axes.y(score.value), low=axes.y(score.low), high=axes.y(score.high), below=_BOTTOM + 20,
        images=f"{images:,}", text=f"{images:,} images: {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]",
    )  # fmt: skip


def _law(curve: LearningCurve, axes: _Axes) -> Markup:
    """The line of the law up to the largest size, and its continuation with a band."""
    if not curve.law:
        return Markup()
    first, last, end = curve.points[0].images, curve.points[-1].images, curve.predictions[-1].images
    law = curve.law
    within = [(n, law.predict(n).value) for n in _spaced(first, last)]
    beyond = [law.predict(n) for n in _spaced(last, end)]
    upper = [(p.images, p.high) for p in beyond]
    lower = [(p.images, p.low) for p in reversed(beyond)]
    marks = Markup().join(
        Markup('<text x="{x:.1f}" y="{y}" text-anchor="middle">{n}</text>').format(
            x=axes.x(p.images), y=_BOTTOM + 20, n=f"{p.images:,}"
        )
        for p in curve.predictions
    )
    return Markup(
        '<polygon class="band" points="{band}"/><polyline class="law" points="{within}"/>'
        '<polyline class="law beyond" points="{beyond}"/>{marks}'
    ).format(
        band=_points(axes, [*upper, *lower]), within=_points(axes, within),
        beyond=_points(axes, [(p.images, p.value) for p in beyond]), marks=marks,
    )  # fmt: skip


def _spaced(first: int, last: int) -> list[int]:
    """Numbers from ``first`` to ``last``, evenly spaced on a logarithmic axis."""
    ratio = math.log(last / first) if last > first else 0.0
    return sorted({round(first * math.exp(ratio * i / _STEPS)) for i in range(_STEPS + 1)})


def _points(axes: _Axes, values: Sequence[tuple[int, float]]) -> str:
    return " ".join(f"{axes.x(images):.1f},{axes.y(score):.1f}" for images, score in values)
