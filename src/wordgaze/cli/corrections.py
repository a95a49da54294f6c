"""``wordgaze corrections``: the captions that users corrected on the web page."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from wordgaze.core.printable import count_noun, printable_row

PANEL = "Serving"

commands = typer.Typer(no_args_is_help=True)
app = typer.Typer()
app.add_typer(
    commands, name="corrections", help="List and export the captions that users corrected.", rich_help_panel=PANEL
)


@commands.command("list")
def corrections_list() -> None:
    """Print one line per correction: time, image, captioner, its caption and the corrected caption."""
    from wordgaze.app.corrections import Corrections
    from wordgaze.core import paths

    for each in Corrections(paths.home() / paths.CORRECTIONS).all():
        model = f"{each.model} {each.version}".strip()
        typer.echo(printable_row(each.time, each.picture, model, each.suggested, each.accepted))


@commands.command("export")
def corrections_export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.", show_default=False)],
) -> None:
    """Write the corrections as a folder of images with captions, which is added to the training images."""
    from wordgaze.app.corrections import Corrections
    from wordgaze.core import paths

    count = Corrections(paths.home() / paths.CORRECTIONS).export(folder)
    named = shlex.quote(str(folder))
    typer.echo(f"{folder} holds {count_noun(count, 'caption')}; next: dvc exp run -S dataset.corrections={named}")
