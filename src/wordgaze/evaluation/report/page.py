"""One HTML page about the scores of a captioner, whole in itself: no script, nothing loaded from anywhere."""

import base64
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from jinja2 import Environment, StrictUndefined

from wordgaze.evaluation.report import SCORES
from wordgaze.evaluation.report.charts import Bar, Dot, bar_chart, reliability_diagram

if TYPE_CHECKING:
    from PIL import Image

BASELINES = {
    "constant": "one caption for every picture",
    "random": "a training caption drawn at random",
    "nearest": "the caption of the most similar picture",
    "human": "people, one against the others",
}
DRAWN = ("cider", "bleu_4")
ABOUT = ("dataset", "split", "images", "tokenizer", "weights", "cider_frequencies")
SURE = 0.05  # a difference with a smaller p is called one
LONG_SIDE = 1200  # pixels of an embedded picture, enough to read the words of an attention sheet
WIDE_FROM = 640  # pixels: wider than the photographs of the data sets, an attention sheet needs the whole width

_TEMPLATE = Path(__file__).with_name("page.html")
_KINDS = {"best": "Best captions", "worst": "Worst captions"}
_LOOKING = {"": "its attention", "_centre": "the middle of the picture", "_shuffled": "attention of other words",
            "_uniform": "everywhere alike"}  # fmt: skip


@dataclass(frozen=True)
class Example:
    """One captioned picture to show. ``kind`` is ``best``, ``worst`` or the name of a failure."""

    image: str
    caption: str
    references: tuple[str, ...]
    score: float
    picture: "Image.Image | None"
    kind: str


@dataclass(frozen=True)
class Row:
    """One row of the table of scores: (score, its interval, whether it is the best) in each column."""

    label: str
    note: str
    cells: list[tuple[Any, Any, bool]]


def render_page(report: Mapping[str, Any], examples: Sequence[Example], title: str) -> str:
    """The page as HTML text: the same bytes for the same input.

    ``report`` has the keys of ``reports/evaluation.json``. What is absent or None has no section, and a value that is
    None or NaN is a dash. Text from the data is escaped.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "number": number,
        "percent": percent,
        "range": _range,
        "p": _p,
        "name": _name,
        "data": _data,
    }
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    given = {key: value for key, value in report.items() if value is not None}
    calibration = _calibration(given.get("calibration") or {})
    hallucination, diversity = given.get("hallucination") or {}, given.get("diversity") or {}
    return template.render(
        title=title,
        wide_from=WIDE_FROM,
        report={key: given.get(key) for key in ABOUT},
        headline=_headline(given),
        scores=_score_table(given),
        differences=_differences(given.get("differences") or {}),
        drawn=_drawn(given),
        parts=_parts(given),
        grounding=_grounding(given.get("grounding") or {}),
        calibration=calibration,
        hallucination=hallucination,
        diversity=diversity,
        honest=bool(calibration or hallucination or diversity),
        failures=_failures(given.get("failures") or {}),
        groups=_groups(examples),
    )


def number(value: float | None, digits: int = 3) -> str:
    """``0.204``; a dash for what is not known."""
    return f"{value:.{digits}f}" if _known(value) else "–"


def percent(value: float | None) -> str:
    """``20.4%``; a dash for what is not known."""
    return f"{100 * value:.1f}%" if _known(value) else "–"


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _range(interval: Sequence[float | None] | None) -> str:
    return "" if interval is None else "–".join(re.sub(r"^(-?)0\.", r"\1.", number(end)) for end in interval)


def _p(value: float | None) -> str:
    if not _known(value):
        return "p = –"
    return "p < .001" if value < 0.001 else f"p = {value:.3f}".replace("0.", ".", 1)


def _name(key: str) -> str:
    return SCORES.get(key, key.replace("_", " "))


def _score_names(rows: Iterable[Mapping[str, Any] | None]) -> list[str]:
    """The scores that any row has, in the order of SCORES, then others by name. Texts and counts are none."""
    aside = {"caption", "pictures", "images"}
    found = {key for row in rows for key in (row or {}) if key not in aside}
    return [key for key in SCORES if key in found] + sorted(found - SCORES.keys())


def _best(strategies: Mapping[str, Mapping[str, Any]], score: str) -> float | None:
    values = [row[score] for row in strategies.values() if _known((row or {}).get(score))]
    return max(values, default=None)


def _headline(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The strategy with the highest drawn score, and its scores."""
    strategies = {key: row for key, row in (report.get("decoding") or {}).items() if row}
    score = next((name for name in DRAWN if _best(strategies, name) is not None), None)
    if score is None:
        return None
    best = _best(strategies, score)
    strategy = next(key for key, row in strategies.items() if row.get(score) == best)
    shown = [name for name in ("cider", "bleu_4", "meteor", "rouge_l") if _known(strategies[strategy].get(name))]
    intervals = _intervals(report, strategy)
    return {
        "strategy": strategy,
        "tiles": [(_name(name), strategies[strategy][name], intervals.get(name)) for name in shown],
    }


def _intervals(report: Mapping[str, Any], strategy: str) -> Mapping[str, Any]:
    return (report.get("intervals") or {}).get(strategy) or {}


def _score_table(report: Mapping[str, Any]) -> dict[str, Any] | None:
    strategies, baselines = report.get("decoding") or {}, report.get("baselines") or {}
    names = _score_names([*strategies.values(), *baselines.values()])
    if not names:
        return None
    best = {name: _best(strategies, name) for name in names}
    ours = [
        Row(key, "", [
            (row.get(name), intervals.get(name), best[name] is not None and row.get(name) == best[name])
            for name in names
        ])
        for key in strategies
        for row, intervals in [(strategies[key] or {}, _intervals(report, key))]
    ]  # fmt: skip
    theirs = [
        Row(BASELINES.get(key, key), row.get("caption", ""), [(row.get(name), None, False) for name in names])
        for key in baselines
        for row in [baselines[key] or {}]
    ]
    return {
        "names": names,
        "blocks": [(label, rows) for label, rows in (("This model", ours), ("To compare with", theirs)) if rows],
    }


def _differences(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, dict[str, Any], bool]]]]:
    """For each pair, for each score: the verdict in words, the numbers, whether it is sure."""
    pairs = []
    for pair, by_score in found.items():
        one, _, other = pair.partition(" against ")
        lines = []
        for score in _score_names([by_score]):
            row = {"value": None, "low": None, "high": None, "p": None, **(by_score[score] or {})}
            sure = _known(row["p"]) and row["p"] < SURE and _known(row["value"]) and row["value"] != 0
            better = "better" if sure and row["value"] > 0 else "worse"
            verdict = f"{one} is {better} than {other}" if sure else f"{one} and {other} cannot be told apart"
            lines.append((verdict, {"score": score, **row}, sure))
        pairs.append((pair, lines))
    return pairs


def _drawn(report: Mapping[str, Any]) -> list[tuple[str, Any]]:
    strategies, baselines = report.get("decoding") or {}, report.get("baselines") or {}
    charts = []
    for score in DRAWN:
        bars = [
            _score_bar(key, (row or {}).get(score), _intervals(report, key).get(score))
            for key, row in strategies.items()
        ] + [_score_bar(BASELINES.get(key, key), (row or {}).get(score), plain=True) for key, row in baselines.items()]
        if any(bar.value is not None for bar in bars):
            charts.append((_name(score), bar_chart(_name(score), bars)))
    return charts


def _score_bar(label: str, value: float | None, interval: Any = None, plain: bool = False) -> Bar:
    return Bar(label, value if _known(value) else None, number(value), _whiskers(interval), plain)


def _whiskers(interval: Sequence[float | None] | None) -> tuple[float, float] | None:
    low, high = interval or (None, None)
    return (low, high) if _known(low) and _known(high) else None


def _parts(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The scores of parts of the pictures, in the order of the first number in a part's name."""
    tables = []
    for key, heading, short, first in (
        ("by_length", "by the length of the captions", "By length", "Words"),
        ("by_objects", "by the number of objects", "By objects", "Objects"),
    ):
        parts = report.get(key) or {}
        names = _score_names(parts.values())
        rows = [(part, parts[part] or {}) for part in sorted(parts, key=_first_number)]
        if rows:
            tables.append({"id": key, "heading": heading, "short": short, "first": first, "names": names, "rows": rows})
    return tables


def _first_number(name: str) -> float:
    found = re.search(r"\d+", name)
    return int(found[0]) if found else math.inf


def _grounding(found: Mapping[str, Any]) -> dict[str, Any] | None:
    charts, intervals = [], found.get("intervals") or {}
    for measure, heading in (("pointing", "Highest weight inside a box"), ("mass", "Attention inside the boxes")):
        bars = [
            Bar(
                label,
                value if _known(value) else None,
                percent(value),
                _whiskers(intervals.get(key)),
                plain=bool(ending),
            )
            for ending, label in _LOOKING.items()
            for key in [measure + ending]
            if key in found
            for value in [found[key]]
        ]
        if bars:
            charts.append((heading, bar_chart(heading, bars, top=1.0)))
    others = [found.get(f"pointing{ending}") for ending in _LOOKING if ending]
    known = [value for value in others if _known(value)]
    verdict = (found["pointing"], max(known)) if _known(found.get("pointing")) and known else None
    return {"words": found.get("words"), "charts": charts, "verdict": verdict} if charts else None


def _calibration(found: Mapping[str, Any]) -> dict[str, Any] | None:
    bins = sorted((row for row in found.get("bins") or [] if row["count"]), key=lambda row: float(row["confidence"]))
    if not bins and not _known(found.get("ece")):
        return None
    dots = [Dot(row["confidence"], row["accuracy"], row["count"]) for row in bins]
    surplus = sum((dot.confidence - dot.accuracy) * dot.count for dot in dots)
    return {
        "ece": found.get("ece"),
        "brier": found.get("brier"),
        "bins": bins,
        "diagram": reliability_diagram(dots) if dots else None,
        "leaning": ("too sure" if surplus > 0 else "not sure enough") if surplus else None,
    }


def _failures(found: Mapping[str, int | None]) -> Any:
    bars = [Bar(kind, count, "–" if count is None else str(count)) for kind, count in found.items()]
    return bar_chart("Failures", bars) if bars else None


def _groups(examples: Sequence[Example]) -> list[tuple[str, list[Example]]]:
    """Best, worst, then each failure in the order of its first example."""
    kinds = dict.fromkeys([*_KINDS, *(example.kind for example in examples)])
    groups = [
        (_KINDS.get(kind, kind[:1].upper() + kind[1:]), [example for example in examples if example.kind == kind])
        for kind in kinds
    ]
    return [(heading, found) for heading, found in groups if found]


def _data(picture: "Image.Image") -> str:
    """The picture as the address of itself: a JPEG on white, no larger than LONG_SIDE."""
    from PIL import Image

    whole = picture.convert("RGBA")
    small = Image.new("RGB", whole.size, "white")
    small.paste(whole, mask=whole.getchannel("A"))
    small.thumbnail((LONG_SIDE, LONG_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
