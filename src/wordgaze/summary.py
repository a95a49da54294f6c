"""The tables that a person sees: the scores when the pipeline has run, the strategies side by side."""

import csv
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wordgaze import paths
from wordgaze.errors import DataError

if TYPE_CHECKING:
    from wordgaze.caption import Compared
    from wordgaze.decoding.base import Caption

NEXT = """Where to look next:
  reports/attention/                   where each word looked
  reports/captions.csv                 every caption beside its references
  dvc plots show                       the curves of both training stages
  mlflow ui --backend-store-uri sqlite:///mlflow.db
  wordgaze caption YOUR_PHOTO.jpg --attention out.png"""


def print_summary() -> None:
    """Prints scores, three captions and the next commands. Raises DataError if nothing was evaluated yet."""
    path = paths.REPORTS / "evaluation.json"
    if not path.is_file():
        raise DataError(f"{path} is missing; run dvc repro first")
    report = json.loads(path.read_text(encoding="utf-8"))
    console = Console(highlight=False)
    console.print(_table(report))
    with (paths.REPORTS / "captions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:: max(1, len(rows) // 3)][:3]:
        console.print(f"  {escape(row['image'])}: [bold]{escape(row['beam'])}[/bold]")
    console.print(NEXT, markup=False)


def print_comparison(picture: Path, compared: "Iterable[Compared]") -> None:
    """Prints each strategy's captions with their probability, and every word's."""
    table = Table(title=str(picture), title_justify="left", show_lines=True)
    for name in ("strategy", "caption, the probability of each word below", "probability", "s"):
        table.add_column(name, justify="left" if name == "strategy" or name.startswith("caption") else "right")
    for strategy, captions, seconds in compared:
        said = "\n".join(f"[bold]{escape(caption.text)}[/bold]\n{_word_probabilities(caption)}" for caption in captions)
        probabilities = "\n\n".join(f"{math.exp(caption.log_prob):.1e}" for caption in captions)
        table.add_row(strategy, said, probabilities, f"{seconds:.2f}")
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def _word_probabilities(caption: "Caption") -> str:
    return " ".join(f"{math.exp(log_prob):.2f}".removeprefix("0") for log_prob in caption.word_log_probs)


def _table(report: dict[str, Any]) -> Table:
    rows = {**report["decoding"], **report["baselines"]}
    table = Table(
        title=f"{report['dataset']}, {report['split']} split, {report['images']} images", title_justify="left"
    )
    table.add_column("captions by")
    names = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "cider")
    for name in names:
        table.add_column(name.upper().replace("_", "-"), justify="right")
    for by, scores in rows.items():
        table.add_row(by, *(_score((scores or {}).get(name)) for name in names))
    return table


def _score(score: float | None) -> str:
    """A dash where there is none: people cannot be scored where every picture has one caption."""
    return "–" if score is None else f"{score:.3f}"
