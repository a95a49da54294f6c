"""The curves of the training stages, drawn from the files that ``dvc plots show`` draws too."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

_WIDTH, _HEIGHT = 420, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 408, 12, 146  # units of the plot's edges
_LEVELS = 4  # grid lines, about
_NAMED = 12  # epochs with a number, at most


@dataclass(frozen=True)
class TrainingEpoch:
    """An epoch of a training stage. Epoch 0 is the score before the training; it has no ``fitted``."""

    epoch: int
    fitted: float | None
    dev_score: float


@dataclass(frozen=True)
class TrainingCurve:
    """The epochs of a training stage; ``quantity`` says what ``fitted`` is, which the training lowers or raises."""

    stage: str
    quantity: str
    epochs: tuple[TrainingEpoch, ...]

    @property
    def best(self) -> TrainingEpoch:
        """The epoch whose weights the stage has written: the first with the highest dev score."""
        return max(self.epochs, key=lambda epoch: epoch.dev_score)

    @property
    def charts(self) -> list[tuple[str, Markup]]:
        """The curves of what is fitted and of the dev score, as (heading, SVG)."""
        fitted = [(each.epoch, each.fitted) for each in self.epochs if each.fitted is not None]
        scores = [(each.epoch, each.dev_score) for each in self.epochs]
        values = ((self.quantity, fitted), ("CIDEr of the dev split", scores))
        return [
            (f"{self.stage}: {name}", line_chart(f"{self.stage}: {name}", points, self.best.epoch))
            for name, points in values
        ]


def read_training_curve(path: Path, stage: str) -> TrainingCurve | None:
    """The curve that a training stage wrote to ``path``; None without one, as for a captioner from elsewhere."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rewarded = any(row.get("train_reward") for row in rows)
    column, quantity = ("train_reward", "reward of sampled captions") if rewarded else ("train_loss", "training loss")
    epochs = [
        TrainingEpoch(int(row["epoch"]), float(row[column]) if row[column] else None, float(row["dev_cider"]))
        for row in rows
    ]
    return TrainingCurve(stage, quantity, tuple(epochs)) if epochs else None


def line_chart(name: str, points: Sequence[tuple[int, float]], best: int) -> Markup:
    """A line over the epochs, given as (epoch, value), with a dot for each; that of the ``best`` epoch has its value.

    The title of each dot has its value as text.
    """
    levels = _levels([value for _, value in points])
    first, last = points[0][0], points[-1][0]

    def x(epoch: int) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (epoch - first) / max(last - first, 1)

    def y(value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (value - levels[0]) / (levels[-1] - levels[0])

    grid = Markup().join(
        Markup(
            '<line class="grid" x1="{l}" y1="{y:.1f}" x2="{r}" y2="{y:.1f}"/>'
            '<text class="tick" x="{tx}" y="{ty:.1f}" text-anchor="end">{level:g}</text>'
        ).format(l=_LEFT, r=_RIGHT, y=y(level), tx=_LEFT - 6, ty=y(level) + 4, level=level)
        for level in levels
    )
    every = -(-len(points) // _NAMED)
    numbers = Markup().join(
        Markup('<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{epoch}</text>').format(
            x=x(epoch), y=_BOTTOM + 16, epoch=epoch
        )
        for epoch, _ in points[::every]
    )
    dots = Markup().join(
        Markup('<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{r}"><title>{title}</title></circle>').format(
            x=x(epoch), y=y(value), r=6 if epoch == best else 3, title=f"epoch {epoch}: {value:.3f}"
        )
        for epoch, value in points
    )
    line = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in points)
    description = "; ".join(f"epoch {epoch} {value:.3f}" for epoch, value in points)
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {w} {h}" aria-label="{name}: {description}">{grid}{numbers}'
        '<polyline class="curve" points="{line}"/>{dots}'
        '<text class="label" x="{m}" y="{b}" text-anchor="middle">epoch</text></svg>'
    ).format(
        w=_WIDTH, h=_HEIGHT, name=name, description=description, grid=grid, numbers=numbers, line=line, dots=dots,
        m=(_LEFT + _RIGHT) // 2, b=_BOTTOM + 31,
    )  # fmt: skip


def _levels(values: Sequence[float]) -> list[float]:
    """Evenly spaced round numbers whose first and last enclose the values."""
    low, high = min(values), max(values)
    rough = max(high - low, abs(high) * 1e-3, 1e-6) / _LEVELS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    start = math.floor(low / step)
    end = max(math.ceil(high / step), start + 1)
    return [round(number * step, 9) for number in range(start, end + 1)]
