"""The commands of the model registry: register and promote."""

from typing import Annotated

import typer

PANEL = "Model registry"

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def register() -> None:
    """Register the evaluated captioner as captioner@challenger."""
    from wordgaze.tracking.registry import register as register_captioner

    typer.echo(f"captioner version {register_captioner()} is the challenger; next: wordgaze promote")


@app.command(rich_help_panel=PANEL)
def promote(
    force: Annotated[bool, typer.Option("--force", help="Promote even if the challenger scores lower.")] = False,
) -> None:
    """Make the challenger the champion, if it scores at least as high on the same data set."""
    from wordgaze.tracking.registry import promote as promote_challenger

    typer.echo(
        f"captioner version {promote_challenger(force=force)} is the champion: --model models:/captioner@champion"
    )
