"""The table of a decision about the champion, and the list of registered versions, on the console."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from wordgaze.cli.console import open_console
from wordgaze.core.printable import printable

if TYPE_CHECKING:
    from wordgaze.tracking.decisions import Decision
    from wordgaze.tracking.gate import GateRow
    from wordgaze.tracking.versions import RegisteredVersion, ScoreEstimate

_AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def print_decision(decision: "Decision") -> None:
    """Prints the table of a decision; nothing for one without a comparison."""
    if not decision.table:
        return
    champion = "–" if decision.champion is None else f"version {decision.champion}"
    table = Table(title=f"gate set {_text(str(decision.data))}", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column(f"champion: {champion}", justify="right")
    table.add_column(f"challenger: version {decision.version}", justify="right")
    table.add_column("difference [95 %]", justify="right")
    table.add_column("p", justify="right")
    table.add_column("gate")
    for row in decision.table:
        table.add_row(*_cells(row))
    open_console().print(table)


def print_versions(versions: "Sequence[RegisteredVersion]", name: str, metric: str) -> None:
    """Prints a row per version; the scores are those of ``metric``."""
    from wordgaze.evaluation.result_types import SCORE_LABELS

    label = SCORE_LABELS[metric]
    table = Table(title=f"{_text(name)}, {label} with 95 % intervals", title_justify="left")
    for heading in ("version", "alias", "on the gate set", "in evaluate", "trained on", "age", "last decision"):
        table.add_column(heading)
    for one in versions:
        table.add_row(
            str(one.version),
            _text(", ".join(one.aliases)),
            _estimate(one.gate.get(metric), one.gate_data.partition(",")[0]),
            _estimate(one.evaluation.get(metric), one.evaluated_on.partition(",")[0]),
            _text(one.trained_on or "–"),
            _age(one.age),
            "–" if one.decision is None else _text(f"{one.decision.outcome} {one.decision.when[:10]}"),
        )
    open_console().print(table)


def _cells(row: "GateRow") -> Iterable[str]:
    difference = "–" if row.change is None else f"{row.change:+.3g}"
    if row.change_low is not None and row.change_high is not None:
        difference += f" [{row.change_low:+.3g}, {row.change_high:+.3g}]"
    verdict = {None: "", True: "pass", False: "[red]fail[/red]"}[row.passed]
    champion, challenger = _number(row.champion), _number(row.challenger)
    return row.label, champion, challenger, escape(difference), _number(row.p), verdict


def _estimate(estimate: "ScoreEstimate | None", data: str) -> str:
    if estimate is None:
        return "–"
    known = estimate.low is not None and estimate.high is not None
    interval = f" [{_number(estimate.low)}, {_number(estimate.high)}]" if known else ""
    return _text(f"{_number(estimate.value)}{interval} ({data})" if data else f"{_number(estimate.value)}{interval}")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _age(seconds: float) -> str:
    for unit, name in _AGES:
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(0, seconds):.0f} s"


def _text(text: str) -> str:
    """Text of the registry, which anybody with access to it may have written."""
    return escape(printable(text))
