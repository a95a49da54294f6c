"""The command that shows or writes a captioner's model card."""

from pathlib import Path
from typing import Annotated

import typer

from wordgaze.core.errors import ParamsError

PANEL = "Model registry"

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def card(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A captioner folder, photos, or an address of the registry."),
    ] = "models/stage2",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write, .md or .html. Default: Markdown on standard output."),
    ] = None,
) -> None:
    """Show a captioner's model card: data, scores, limits, cost, and how to make it again.

    It is filled from what the project in the working directory recorded of its training.
    """
    from wordgaze.core.files import check_output, write_text
    from wordgaze.tracking.card import model_card

    if output is not None and output.suffix not in (".md", ".html"):
        raise ParamsError(f"--output {output}: name the file .md for Markdown or .html for a page")
    if output is not None:
        check_output(output, "--output")
    made = model_card(model)
    if output is None:
        typer.echo(made.markdown, nl=False)
    else:
        write_text(output, made.html if output.suffix == ".html" else made.markdown)
        typer.echo(f"{output}: the model card of {model}")
