"""The tables that a person sees: the scores when the pipeline has run, the strategies side by side."""

import csv
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wordgaze.core import paths
from wordgaze.core.errors import DataError
from wordgaze.evaluation.report import SCORES

if TYPE_CHECKING:
    from wordgaze.generation.outputs import Caption
    from wordgaze.inference.comparison import ComparedStrategy
    from wordgaze.metrics.intervals import Interval

NEXT = """Where to look next:
  reports/evaluation.html              the report: how sure, how good, where it fails
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
    console = _console()
    console.print(_table(report))
    with (paths.REPORTS / "captions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:: max(1, len(rows) // 3)][:3]:
        console.print(f"  {escape(row['image'])}: [bold]{escape(row['beam'])}[/bold]")
    console.print(NEXT, markup=False)


def print_scores(report: dict[str, Any]) -> None:
    """Prints the scores of captions that were read from a file, and how sure they are."""
    console = _console()
    console.print(_table(report))
    for name, scores in report["intervals"].items():
        sure = ", ".join(f"{SCORES[key]} {scores[key][0]:.3f}–{scores[key][1]:.3f}" for key in ("bleu_4", "cider"))
        console.print(f"95 % of {escape(name)}: {sure}")
    for name, scores in (report["differences"] or {}).items():
        found = scores["cider"]
        sure = f"[{found['low']:+.3f}, {found['high']:+.3f}], p = {found['p']:.3f}"
        console.print(f"{escape(name)}: CIDEr {found['value']:+.3f} {escape(sure)}")


def print_spread(paths: Sequence[Path]) -> None:
    """Prints each score's mean and standard deviation over evaluations. Raises DataError where they do not belong
    together."""
    from wordgaze.metrics.intervals import spread

    reports = [_read_report(path) for path in paths]
    for path, report in zip(paths, reports, strict=True):
        if any(report.get(key) != reports[0].get(key) for key in ("dataset", "split", "decode")):
            raise DataError(f"{path} is of another data set, split or decoding than {paths[0]}; compare like with like")
    decoding = {strategy: list(scores) for strategy, scores in reports[0]["decoding"].items()}
    names = next(iter(decoding.values()))
    table = Table(
        title=f"{reports[0]['dataset']}, {len(reports)} runs: mean ± standard deviation", title_justify="left"
    )
    table.add_column("captions by")
    for name in names:
        table.add_column(SCORES.get(name, name), justify="right")
    for strategy in decoding:
        found = [spread([report["decoding"][strategy][name] for report in reports]) for name in names]
        table.add_row(strategy, *(f"{of.mean:.3f} ± {_score(of.deviation)}" for of in found))
    _console().print(table)


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        report["decoding"]
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; give the evaluation.json of a run") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no evaluation.json ({error}); give those that evaluate wrote") from error
    return report


def print_grounding(pictures: int, words: int, scores: "dict[str, Interval]") -> None:
    """Prints the pointing game and the share of attention inside the boxes, beside what needs no picture."""
    table = Table(title=f"{words} words that name a boxed object, in {pictures} pictures", title_justify="left")
    table.add_column("attention")
    table.add_column("points into the box", justify="right")
    table.add_column("share inside the box", justify="right")
    for kind, label in (
        ("", "the captioner's"),
        ("_uniform", "uniform"),
        ("_centre", "to the centre"),
        ("_shuffled", "shuffled"),
    ):
        found = (scores[f"{measure}{kind}"] for measure in ("pointing", "mass"))
        table.add_row(
            label, *("–" if math.isnan(i.value) else f"{i.value:.3f} [{i.low:.3f}, {i.high:.3f}]" for i in found)
        )
    _console().print(table)


def print_comparison(picture: Path, compared: "Iterable[ComparedStrategy]") -> None:
    """Prints each strategy's captions with their probability, and every word's."""
    table = Table(title=str(picture), title_justify="left", show_lines=True)
    for name in ("strategy", "caption, the probability of each word below", "probability", "s"):
        table.add_column(name, justify="left" if name == "strategy" or name.startswith("caption") else "right")
    for strategy, captions, seconds in compared:
        said = "\n".join(f"[bold]{escape(caption.text)}[/bold]\n{_word_probabilities(caption)}" for caption in captions)
        probabilities = "\n\n".join(f"{math.exp(caption.log_prob):.1e}" for caption in captions)
        table.add_row(strategy, said, probabilities, f"{seconds:.2f}")
    _console().print(table)


def _console() -> Console:
    """A terminal as it is; what is not one, such as a file, has room for every column."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def _word_probabilities(caption: "Caption") -> str:
    return " ".join(f"{math.exp(log_prob):.2f}".removeprefix("0") for log_prob in caption.word_log_probs)


def _table(report: dict[str, Any]) -> Table:
    rows = {**report["decoding"], **report["baselines"]}
    split = f", {report['split']} split" if "split" in report else ""
    table = Table(title=f"{report['dataset']}{split}, {report['images']} images", title_justify="left")
    table.add_column("captions by")
    names = list(next(iter(report["decoding"].values())))
    for name in names:
        table.add_column(SCORES.get(name, name), justify="right")
    for by, scores in rows.items():
        table.add_row(by, *(_score((scores or {}).get(name)) for name in names))
    return table


def _score(score: float | None) -> str:
    """A dash where there is none: people cannot be scored where every picture has one caption."""
    return "–" if score is None else f"{score:.3f}"
