"""The commands of the model registry, register and promote, and pack, which writes a captioner to pass on."""

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from wordgaze.cli.options import GenerationCommand, generation_options

PANEL = "Model registry"

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def register() -> None:
    """Register the evaluated captioner as the challenger of the model that tracking.model_name names."""
    from wordgaze.tracking.names import model_name
    from wordgaze.tracking.registry import register as register_captioner

    typer.echo(f"{model_name()} version {register_captioner()} is the challenger; next: wordgaze promote")


@app.command(rich_help_panel=PANEL)
def promote(
    force: Annotated[
        bool,
        typer.Option("--force", help="Promote even if the challenger scores lower, or on other data."),
    ] = False,
) -> None:
    """Make the challenger the champion, if it scores at least as high on the same images and references."""
    from wordgaze.tracking.names import champion_address, model_name
    from wordgaze.tracking.registry import promote as promote_challenger

    version = promote_challenger(force=force)
    typer.echo(f"{model_name()} version {version} is the champion: --model {shlex.quote(champion_address())}")


@app.command(cls=GenerationCommand, rich_help_panel=PANEL)
@generation_options()
def pack(
    captioner: Annotated[
        str, typer.Argument(help="A captioner folder, or an address of the registry.", show_default=False)
    ],
    folder: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    settings: dict[str, Any],
    dtype: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="How the weights are stored. Default: fp16, or int8 if they are so already."),
    ] = None,
    keep_neighbours: Annotated[
        bool,
        typer.Option(
            "--keep-neighbours/--no-neighbours",
            help="Store the captions of the training images instead of a summary, for the strategy neighbours.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FOLDER, if it is a captioner.")] = False,
) -> None:
    """Write a captioner as a small folder to pass on, with a model card.

    Generation options become the captioner's own settings. Encoders whose package is installed are not stored.
    """
    from wordgaze.tracking.pack import pack_model

    sizes = pack_model(captioner, folder, settings, dtype=dtype, keep_neighbours=keep_neighbours, overwrite=overwrite)
    typer.echo(f"{folder}: {sizes.after / 1e6:.1f} MB instead of {sizes.before / 1e6:.1f} MB")
