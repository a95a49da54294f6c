"""The table that a person sees when the pipeline has run."""

import csv
import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wordgaze import paths
from wordgaze.errors import DataError

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
        table.add_row(by, *(f"{scores[name]:.3f}" for name in names))
    return table
