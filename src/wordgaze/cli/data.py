"""``wordgaze data``: gets a data set, and says what it holds before anything is trained."""

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordgaze.core.errors import DataError, ParamsError

if TYPE_CHECKING:
    from wordgaze.config.params import Params
    from wordgaze.inspection.results import DataInspection

PANEL = "Data"

commands = typer.Typer(no_args_is_help=True)
app = typer.Typer()
app.add_typer(commands, name="data", help="Get a data set, and check it before training.", rich_help_panel=PANEL)

_SHOWN_ADVICE = 10


@commands.command("check")
def data_check(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="FOLDER",
            help="A folder with images and captions. By default the data set of params.yaml.",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="The data set: folder, flickr8k, flickr30k or coco.", show_default="folder")
    ] = None,
    captions: Annotated[str | None, typer.Option(help="The caption file in the folder, if it has several.")] = None,
    image_column: Annotated[str | None, typer.Option(help="The column that names the images.")] = None,
    caption_column: Annotated[str | None, typer.Option(help="The column of the captions.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="The tokenizer, as prepare.tokenizer.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write the page to this .html file.", show_default="data-check-FOLDER.html"
        ),
    ] = None,
    values: Annotated[Path | None, typer.Option("--json", help="Write all values to this JSON file.")] = None,
) -> None:
    """Say what the import will read, leave out and split, with a page of images; exit code 1 if it would stop."""
    from wordgaze.core import paths
    from wordgaze.inspection.check import check_dataset

    options = {"captions": captions, "image_column": image_column, "caption_column": caption_column}
    params = _params(folder, dataset, {name: value for name, value in options.items() if value is not None}, tokenizer)
    page = output or Path(f"data-check-{_slug(params.dataset.source or params.dataset.name)}.html")
    if page.suffix.lower() not in (".html", ".htm"):
        raise ParamsError(f"--output {page}: the page is HTML; give a name that ends with .html, or use --json {page}")
    if values is not None and values.resolve() == page.resolve():
        raise ParamsError(f"--output and --json are both {page}; give them different names")
    inspection = check_dataset(params, paths.scratch("downloads"), page, values)
    _print(inspection)
    typer.echo(f"the page is {page}")
    if inspection.stops:
        raise typer.Exit(1)


@commands.command("pull")
def data_pull(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="hf:OWNER/NAME (Hugging Face Hub), kaggle:OWNER/NAME, or webdataset:URL with ranges like {000..010}.",
            show_default=False,
        ),
    ],
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="The folder to make; it must be new or empty.", show_default=False),
    ],
) -> None:
    """Download a public data set to a folder. If interrupted, the same command continues."""
    from rich.filesize import decimal

    from wordgaze.core.printable import count_noun
    from wordgaze.data.pull import pull

    pulled = pull(source, folder)
    where = shlex.quote(str(folder))
    typer.echo(f"{folder}: {count_noun(pulled.num_files, 'file')}, {decimal(pulled.num_bytes)}")
    typer.echo(f"next: wordgaze data check {where}; train with dataset.name=folder dataset.source={where}")


def _params(folder: str | None, dataset: str | None, columns: dict[str, str], tokenizer: str | None) -> "Params":
    """The parameters of the project, or the defaults outside of one, with the data set of the options."""
    from wordgaze.config.params import parse_params
    from wordgaze.config.yaml_files import read_yaml
    from wordgaze.core import paths

    is_named = folder is not None or dataset is not None
    if folder is not None:
        _check_there(folder)
    elif not paths.PARAMS.exists():
        raise ParamsError(f"{paths.PARAMS} is missing; run it in a project, or give FOLDER")
    values = {} if is_named and not paths.PARAMS.exists() else read_yaml(paths.PARAMS)
    sections = dict(values) if isinstance(values, dict) else {}
    given = dict(sections.get("dataset") or {})
    if is_named:
        limits = {name: value for name, value in given.items() if name.startswith("max_")}
        given = limits | {"name": dataset or "folder", "source": folder or ""}
    sections["dataset"] = given | columns
    if tokenizer is not None:
        sections["prepare"] = dict(sections.get("prepare") or {}) | {"tokenizer": tokenizer}
    has_options = is_named or columns or tokenizer is not None
    read = [*([str(paths.PARAMS)] if values else []), *(["the options"] if has_options else [])]
    return parse_params(sections, " and ".join(read) or str(paths.PARAMS))


def _check_there(source: str) -> None:
    """Raises DataError for a local path where there is nothing; an address of the web is found out later."""
    from wordgaze.core.files import missing_file_remedy
    from wordgaze.data.datasets.fetch import local_path
    from wordgaze.data.datasets.source import is_pattern

    path = local_path(source)
    if path is not None and not path.exists() and not is_pattern(path):
        raise DataError(f"{source}: there is no such file or folder; {missing_file_remedy(Path(source))}")


def _slug(source: str) -> str:
    """The last part of a path or an address, for a file name."""
    last = re.split(r"[/\\]", source.rstrip("/\\"))[-1]
    return re.sub(r"[^\w.-]+", "-", last).strip("-.")[:60] or "data"


def _print(inspection: "DataInspection") -> None:
    """A table on a terminal, plain lines elsewhere."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from wordgaze.core.printable import printable
    from wordgaze.inspection.summary import summary_rows

    rows = [(label, printable(value)) for label, value in summary_rows(inspection)]
    advice = [f"{each.level}: {printable(each.text)}" for each in inspection.advice[:_SHOWN_ADVICE]]
    if not sys.stdout.isatty():
        typer.echo("\n".join([*(f"{label:<18} {value}" for label, value in rows), *advice]))
        return
    console = Console(highlight=False)
    table = Table(title=escape(printable(inspection.source)), title_justify="left", show_header=False)
    for label, value in rows:
        table.add_row(label, escape(value))
    console.print(table)
    for line in advice:
        console.print(escape(line), style="bold red" if line.startswith("stop") else "yellow")
