"""Tables on the console: scores after a run, scored and audited files, runs, grounding and strategies side by side."""

import csv
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

from wordgaze.core import paths
from wordgaze.core.errors import DataError
from wordgaze.core.printable import count_noun, escaped, printable
from wordgaze.core.tables import unguard_formula
from wordgaze.evaluation.grounding_results import GroundingResult
from wordgaze.evaluation.result_types import SCORE_LABELS, ConfidenceInterval
from wordgaze.evaluation.results import EvaluationReport, ScoredFiles, ScoreSummary

if TYPE_CHECKING:
    from wordgaze.evaluation.audit.results import AuditFinding, CaptionAudit
    from wordgaze.evaluation.faithfulness import FaithfulnessResult
    from wordgaze.generation.outputs import Caption
    from wordgaze.inference.comparison import ComparedStrategy

NEXT = """Next steps:
  reports/evaluation.html              scores with confidence intervals, failure cases, training curves
  reports/attention/                   the attention of each word
  reports/captions.csv                 each caption beside its references
  dvc plots show                       the training curves, those of experiments too with dvc plots diff
  mlflow ui --backend-store-uri sqlite:///mlflow.db
    then open http://127.0.0.1:5000/#/experiments/1?workflowType=machine_learning
  wordgaze caption IMAGE.jpg --model models/stage2 --attention out.png"""

_WIDE = 300  # columns of a file or a pipe: each finding of an audit is one line
_LONGEST_EXAMPLE = 72

_ATTENTION = {
    "attention": "the captioner's attention",
    "uniform": "uniform attention",
    "centre": "centre of the image",
    "shuffled": "attention of other words",
}


def print_summary() -> None:
    """Prints the scores, three captions and the next steps. Raises DataError if nothing was evaluated yet."""
    report = EvaluationReport.load(paths.REPORTS / "evaluation.json")
    console = open_console()
    title = f"{report.dataset}, {report.split} split, {count_noun(report.num_images, 'image')}"
    console.print(_score_table(report, title))
    with (paths.REPORTS / "captions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:: max(1, len(rows) // 3)][:3]:
        image, caption = unguard_formula(row["image"]), unguard_formula(row["beam"])
        console.print(f"  {_shown(image)}: [bold]{_shown(caption)}[/bold]")
    console.print(NEXT, markup=False)


def print_scores(scored: ScoredFiles) -> None:
    """Prints the scores of captions from files, with confidence intervals and the difference of two systems."""
    summary, details, console = scored.summary, scored.details, open_console()
    console.print(_score_table(summary, f"{summary.dataset}, {count_noun(summary.num_images, 'image')}"))
    if summary.tokenizer != "ptb":
        console.print(f"tokenizer {summary.tokenizer}; METEOR is left out, because it is defined for English")
    for system, intervals in details.intervals.items():
        shown = ", ".join(
            f"{SCORE_LABELS[name]} {_ends(interval, '–')}"
            for name, interval in intervals.items()
            if name in ("bleu_4", "cider")
        )
        console.print(f"95 % intervals of {_shown(system)}: {shown}")
    for pair in details.comparisons:
        cider = pair.differences.cider
        shown = f"{_signed(cider.value)} [{_signed(cider.low)}, {_signed(cider.high)}], p = {_score(cider.p)}"
        console.print(f"{_shown(pair.system)} against {_shown(pair.base)}: CIDEr {_shown(shown)}")


def print_audit(audit: "CaptionAudit") -> None:
    """Prints the findings of an audit, one a line where there is room, what was not found, and the scores."""
    console = open_console(_WIDE)
    captions = f"{count_noun(audit.num_captions, 'caption')} of {audit.captions}"
    title = f"{captions}, {count_noun(audit.num_images, 'image')} of {audit.references}"
    table = Table(title=_shown(title), title_justify="left")
    for name in ("finding", "number", "example", "what to do"):
        table.add_column(name)
    part = None
    for finding in audit.findings:
        if not finding.count:
            continue
        if finding.part != part:
            table.add_section()
            part = finding.part
        number = f"{finding.count:,} of {finding.total:,}"
        cells = (f"{finding.level}: {finding.label}", number, _example(finding), finding.advice)
        table.add_row(*map(_shown, cells), style="yellow" if finding.level == "warning" else None)
    console.print(table)
    absent = ", ".join(each.label for each in audit.findings if not each.count and each.level == "warning")
    if absent:
        console.print(f"not found: {_shown(absent)}", soft_wrap=True)
    if audit.training is None:
        console.print("training images are not looked for; give the training captions with --training")
    numbers = ", ".join(f"{number} ({count:,})" for number, count in audit.references_per_image.items())
    console.print(f"references per image (images): {numbers}", soft_wrap=True)
    if audit.scores:
        console.print(_protocol_table(audit))
    else:
        console.print("nothing is scored: no caption is of an image of the references")


def _protocol_table(audit: "CaptionAudit") -> Table:
    present = {name for row in audit.scores for name, _ in row.scores.items()}
    names = [name for name in SCORE_LABELS if name in present]
    table = Table(title=f"scores, tokenizer {audit.tokenizer}", title_justify="left")
    _add_score_columns(table, names, "what is scored (images)")
    for row in audit.scores:
        table.add_row(
            _shown(f"{row.label} ({row.num_images:,})"), *(_score(getattr(row.scores, name)) for name in names)
        )
    return table


def _example(finding: "AuditFinding") -> str:
    """The image and the beginning of its text."""
    example = ": ".join(filter(None, (finding.image, finding.text)))
    return example if len(example) <= _LONGEST_EXAMPLE else f"{example[: _LONGEST_EXAMPLE - 1]}…"


def print_spread(reports: Sequence[Path]) -> None:
    """Prints the mean and the standard deviation of each score over evaluations.

    Raises DataError where a file is not an evaluation.json, or data set, split or generation settings differ.
    """
    from wordgaze.metrics.intervals import spread

    loaded = [EvaluationReport.load(path) for path in reports]
    first = loaded[0]
    for path, report in zip(reports, loaded, strict=True):
        if _measured(report) != _measured(first):
            raise _unlike(path, reports[0], "another data set, split, tokenizer or generation settings")
        if report.scores.keys() != first.scores.keys():
            raise _unlike(path, reports[0], "other strategies")
    names = [name for name in SCORE_LABELS if all(_has(report, name) for report in loaded)]
    table = Table(
        title=_shown(f"{first.dataset}, {count_noun(len(loaded), 'run')}: mean ± standard deviation"),
        title_justify="left",
    )
    _add_score_columns(table, names)
    for strategy in first.scores:
        spreads = [spread([getattr(report.scores[strategy], name) for report in loaded]) for name in names]
        table.add_row(_shown(strategy), *(f"{one.mean:.3f} ± {_score(one.deviation)}" for one in spreads))
    open_console().print(table)


def print_grounding(result: GroundingResult) -> None:
    """Prints the pointing game and the attention inside the boxes, beside attention that ignores the word."""
    words, images = count_noun(result.num_words, "word"), count_noun(result.num_images, "image")
    title = f"words that name an object with a box: {words}, in {images}"
    table = Table(title=title, title_justify="left")
    table.add_column("attention")
    table.add_column("pointing game", justify="right")
    table.add_column("attention inside the box", justify="right")
    for kind, label in _ATTENTION.items():
        cells = []
        for measure in ("pointing", "mass"):
            value = getattr(getattr(result.scores, measure), kind)
            interval = getattr(getattr(result.intervals, measure), kind)
            cells.append("–" if value is None else f"{value:.3f} [{_ends(interval, ', ')}]")
        table.add_row(label, *cells)
    console = open_console()
    console.print(table)
    if result.scores.is_partial:
        console.print(f"{result.scores.elsewhere:.1%} of the attention lies on no cell; the scores are of the rest.")


_ORDERS = {
    "attention": "by attention",
    "occlusion": "by occlusion of each cell",
    "centre": "from the centre outwards",
    "random": "at random",
}


def print_faithfulness(result: "FaithfulnessResult") -> None:
    """Prints the mean probability of the words while the image is covered and uncovered in each order."""
    words, images = count_noun(result.num_words, "word"), count_noun(result.num_images, "image")
    table = Table(title=f"probability of {words}, in {images}", title_justify="left")
    table.add_column("cells are taken")
    table.add_column("while they are covered (deletion: lower is better)", justify="right")
    table.add_column("while they are uncovered (insertion: higher is better)", justify="right")
    for order, areas in result.orders.items():
        cells = [f"{area.value:.3f} [{area.low:.3f}, {area.high:.3f}]" for area in (areas.deletion, areas.insertion)]
        table.add_row(_ORDERS[order], *cells)
    open_console().print(table)


def print_comparison(picture: Path, compared: "Iterable[ComparedStrategy]") -> None:
    """Prints the captions of each strategy with their probabilities and those of their words."""
    table = Table(title=_shown(escaped(picture)), title_justify="left", show_lines=True)
    table.add_column("strategy")
    table.add_column("caption, with the probability of each word")
    table.add_column("probability", justify="right")
    table.add_column("seconds", justify="right")
    for strategy, captions, seconds in compared:
        texts = "\n".join(
            f"[bold]{_shown(caption.text)}[/bold]\n{_word_probabilities(caption)}" for caption in captions
        )
        probabilities = "\n\n".join(f"{math.exp(caption.log_prob):.1e}" for caption in captions)
        table.add_row(_with_options(strategy), texts, probabilities, f"{seconds:.2f}")
    open_console().print(table)


def _with_options(preset: str) -> str:
    """The name of a preset, and below it the options by which other commands use it, where the name is not enough."""
    from wordgaze.generation.presets import PRESETS

    flags = {name.replace("_", "-"): value for name, value in PRESETS[preset].items() if name != "num_return_sequences"}
    options = "\n".join(f"--{name} {value}" for name, value in flags.items())
    return preset if options == f"--strategy {preset}" else f"{preset}\n{options}"


def _shown(text: str) -> str:
    """A text from outside: neither markup nor control characters have an effect."""
    return escape_markup(printable(text))


def open_console(width: int = 140) -> Console:
    """A terminal has its own width; a file or a pipe has ``width``, so that there is room for every column."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else width)


def _word_probabilities(caption: "Caption") -> str:
    return " ".join(f"{math.exp(log_prob):.2f}".removeprefix("0") for log_prob in caption.word_log_probs)


def _score_table(summary: ScoreSummary, title: str) -> Table:
    baselines = summary.baselines.labelled(summary.system)
    rows = [*summary.scores.items(), *((baseline.label, baseline.scores) for baseline in baselines)]
    present = {name for _, scores in rows for name, _ in scores.items()}
    names = [name for name in SCORE_LABELS if name in present]
    table = Table(title=_shown(title), title_justify="left")
    _add_score_columns(table, names)
    for label, scores in rows:
        table.add_row(_shown(label), *(_score(getattr(scores, name)) for name in names))
    return table


def _add_score_columns(table: Table, names: Sequence[str], label: str = "captions by") -> None:
    table.add_column(label)
    for name in names:
        table.add_column(SCORE_LABELS[name], justify="right", min_width=len("0.000"))


def _measured(report: EvaluationReport) -> tuple[object, ...]:
    """What evaluations whose scores are averaged have in common."""
    return report.dataset, report.split, report.tokenizer, report.generation


def _unlike(path: Path, first: Path, what: str) -> DataError:
    return DataError(f"{path} has {what} than {first}; give evaluations that differ in the random seed alone")


def _has(report: EvaluationReport, name: str) -> bool:
    return all(getattr(scores, name) is not None for scores in report.scores.values())


def _ends(interval: ConfidenceInterval, separator: str) -> str:
    return f"{_score(interval.low)}{separator}{_score(interval.high)}"


def _score(score: float | None) -> str:
    """A dash for a score that is not defined."""
    return "–" if score is None else f"{score:.3f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"
