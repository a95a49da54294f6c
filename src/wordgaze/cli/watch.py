"""``wordgaze watch`` and ``wordgaze select``: what a captioner meets in use, and what to caption by hand next."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordgaze.cli.options import Model
from wordgaze.core.errors import ParamsError

if TYPE_CHECKING:
    from wordgaze.inference.captioner import Captioner
    from wordgaze.inspection.drift import DriftReport
    from wordgaze.inspection.observations import Observations

PANEL = "Serving"
DRIFT = 3
"""The exit code for drift; 1 and 2 are those of errors."""

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def watch(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="LOG_OR_FOLDER",
            help="A folder of images, a table of wordgaze caption, or the JSON lines of wordgaze serve.",
            show_default=False,
        ),
    ],
    model: Model = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="What to compare with, likewise a folder or a log.", show_default="the dev images"),
    ] = None,
    psi: Annotated[
        float, typer.Option(help="Drift from this population stability index on: embeddings, words, confidence.")
    ] = 0.25,
    max_unknown: Annotated[float, typer.Option(help="Drift above this share of unknown words in corrections.")] = 0.15,
    max_edits: Annotated[float, typer.Option(help="Drift above this share of words that corrections change.")] = 0.5,
    output: Annotated[Path, typer.Option("--output", "-o", help="Write the page to this .html file.")] = Path(
        "drift.html"
    ),
    values: Annotated[Path | None, typer.Option("--json", help="Write all values to this JSON file.")] = None,
) -> None:
    """Compare today's images and captions with those of the training; exit code 3 for drift, 0 for none.

    The corrections of the web page are compared too, if there are any.
    """
    from wordgaze.app.corrections import Corrections
    from wordgaze.cli.models import resolve_captioner
    from wordgaze.core import paths
    from wordgaze.core.files import check_output, write_json, write_text
    from wordgaze.inspection.drift import DriftThresholds, Watched, check_observations, compare_observations
    from wordgaze.inspection.drift_page import render_drift
    from wordgaze.inspection.observations import observe
    from wordgaze.tracking.resolve import load

    if output.suffix.lower() not in (".html", ".htm"):
        raise ParamsError(
            f"--output {output}: the page is HTML; give a name that ends with .html, or use --json {output}"
        )
    for path, option in ((output, "--output"), (values, "--json")):
        if path is not None:
            check_output(path, option)
    thresholds = DriftThresholds(psi, max_unknown, max_edits)
    resolved = resolve_captioner(model)
    captioner = load(resolved.folder)
    today = observe(source, captioner)
    check_observations(today, str(source))  # before the work on the reference
    expected = observe(reference, captioner) if reference else _dev(captioner, resolved.folder)
    named = Watched(resolved.address, str(source), str(reference or "the dev images"))
    pairs = [(each.suggested, each.accepted) for each in Corrections(paths.home() / paths.CORRECTIONS).all()]
    report = compare_observations(named, expected, today, pairs, captioner.vocabulary, thresholds)
    write_text(output, render_drift(report, _thumbnails(source, report)))
    if values is not None:
        write_json(values, report.to_json())
    _print(report)
    typer.echo(f"the page is {output}")
    if report.has_drift:
        raise typer.Exit(DRIFT)


@app.command(rich_help_panel=PANEL)
def select(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of images without captions.", show_default=False)
    ],
    number: Annotated[int, typer.Option("--n", "-n", min=1, help="The number of images.")] = 50,
    model: Model = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the table to this .csv file, and leave the queue.")
    ] = None,
    values: Annotated[Path | None, typer.Option("--json", help="Write all values to this JSON file.")] = None,
) -> None:
    """Choose the images that are worth captioning by hand next: those the captioner is unsure of, unlike each other.

    They become the queue of the web page. Images with a correction are left out.
    """
    from dataclasses import fields

    from wordgaze.app.caption_queue import CaptionQueue
    from wordgaze.app.corrections import Corrections
    from wordgaze.cli.models import resolve_captioner
    from wordgaze.core import paths
    from wordgaze.core.files import check_output, write_json
    from wordgaze.core.printable import count_noun, escaped, printable_row
    from wordgaze.core.tables import write_csv
    from wordgaze.inspection.selection import SelectedPicture, select_pictures
    from wordgaze.tracking.resolve import load

    if output is not None and output.suffix.lower() != ".csv":
        raise ParamsError(
            f"--output {output}: the table is CSV; give a name that ends with .csv, or use --json {output}"
        )
    for path, option in ((output, "--output"), (values, "--json")):
        if path is not None:
            check_output(path, option)
    corrections = Corrections(paths.home() / paths.CORRECTIONS)
    known = frozenset(each.checksum for each in corrections.all())
    selected = select_pictures(load(resolve_captioner(model).folder), folder.resolve(), number, known)
    rows = [each.to_json() for each in selected]
    shown = [row | {"path": escaped(row["path"])} for row in rows]
    for each in selected:
        typer.echo(printable_row(escaped(each.path), f"{each.confidence:.2f}", each.caption))
    if values is not None:
        write_json(values, shown)
    if output is not None:
        write_csv(output, [field.name for field in fields(SelectedPicture)], shown)
    else:
        queue = CaptionQueue(paths.home() / paths.CAPTION_QUEUE, corrections)
        queue.put(rows)
        waiting = count_noun(len(rows), "image")
        typer.echo(f"waiting for a caption in {paths.CAPTION_QUEUE}: {waiting}; next: wordgaze app", err=True)


def _dev(captioner: "Captioner", folder: Path) -> "Observations":
    """The dev images of the project."""
    from wordgaze.core import paths
    from wordgaze.data.prepared import Prepared
    from wordgaze.inspection.observations import reference_observations

    if not paths.PREPARED.is_dir():
        raise ParamsError("there is no data/prepared to compare with; run it in a project, or give --reference")
    names = Prepared.load(paths.PREPARED).references("dev")[0]
    images = [paths.RAW / "images" / name for name in names]
    return reference_observations(captioner, folder, images, names, paths.scratch("watch"))


def _thumbnails(source: Path, report: "DriftReport") -> dict[str, str]:
    from pathlib import PurePosixPath

    from wordgaze.data.datasets.source import Found
    from wordgaze.inspection.sheet import draw_thumbnails

    return draw_thumbnails(report.unlike, {name: Found(source, PurePosixPath(name)) for name in report.unlike})


def _print(report: "DriftReport") -> None:
    from rich.console import Console
    from rich.table import Table

    from wordgaze.core.printable import count_noun, printable
    from wordgaze.inspection.drift_page import shown_value

    today, corrections = count_noun(report.num_today, "caption"), count_noun(report.num_corrections, "correction")
    title = f"{today} against {report.num_reference:,}, {corrections}"
    table = Table(title=title, title_justify="left")
    for heading in ("measure", "value", "threshold", "by chance", "verdict"):
        table.add_column(heading)
    for each in report.measures:
        verdict = f"not measured: {each.note}" if each.value is None else "drift" if each.is_drift else "stable"
        numbers = (shown_value(number) for number in (each.value, each.threshold, each.by_chance))
        table.add_row(each.name, *numbers, verdict)
    Console(highlight=False).print(table)
    if report.unread:
        unread = count_noun(len(report.unread), "image")
        typer.echo(f"{unread} could not be opened, such as {printable(report.unread[0])}")
