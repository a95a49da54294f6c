"""The commands that caption images: caption, compare, explain and look."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wordgaze.cli.models import resolve_captioner, resolve_captioners
from wordgaze.cli.options import (
    SHARED,
    SINGLE,
    GenerationCommand,
    Model,
    Models,
    PicturePath,
    PicturePaths,
    Seed,
    generation_config,
    generation_options,
    refuse_settings,
)
from wordgaze.core.errors import ImageError

if TYPE_CHECKING:
    from wordgaze.inference.caption_stream import CaptionedImage

PANEL = "Captions"

app = typer.Typer()


@app.command(cls=GenerationCommand, rich_help_panel=PANEL)
@generation_options()
def caption(
    pictures: PicturePaths,
    settings: dict[str, Any],
    model: Models = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the captions to this .csv, .jsonl or .parquet file."),
    ] = None,
    attention: Annotated[
        Path | None,
        typer.Option(
            help="Write the attention maps of the first caption: to this .png or .jpg file, or, for several images, to "
            "this folder."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            help="Continue an interrupted run from OUTPUT.part if captioner, settings and seed are the same. "
            "Images that are done are not printed again."
        ),
    ] = True,
    seed: Seed = 0,
) -> None:
    """Caption images.

    Prints one line per caption: the file, a tab and the caption.

    An image that cannot be opened is reported on standard error and left out. The exit code is then 1.
    """
    from wordgaze.inference.caption_files import caption_files

    folders = [each.folder for each in resolve_captioners(model)]
    config = generation_config(settings, folders[0])
    results = caption_files(pictures, folders, config, attention=attention, output=output, seed=seed, resume=resume)
    _print_captions(results)


@app.command(cls=GenerationCommand, rich_help_panel=PANEL)
@generation_options(SINGLE)
def explain(
    picture: PicturePath,
    settings: dict[str, Any],
    model: Model = None,
    words: Annotated[str | None, typer.Option(help="The caption to explain. By default the captioner's own.")] = None,
    gif: Annotated[Path | None, typer.Option(help="Write an animation with one frame per word.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write a sheet with one attention map per word.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write attention, probabilities and alternative words.")] = None,
    seed: Seed = 0,
) -> None:
    """Show the attention of each word of a caption.

    Writes an animation, a sheet or JSON, and prints the caption.
    """
    from wordgaze.inference.explain_file import explain_file
    from wordgaze.inference.explanation import ModelVersion

    if words is not None:
        refuse_settings(settings, "on the given --words")
    resolved = resolve_captioner(model)
    config = generation_config(settings, resolved.folder)
    name = ModelVersion(resolved.name, resolved.version)
    explanation = explain_file(picture, resolved.folder, words, config, seed, model=name, gif=gif, png=png, json=json)
    typer.echo(f"{picture}\t{explanation.caption.text}")


@app.command(cls=GenerationCommand, rich_help_panel=PANEL)
@generation_options(SHARED, num_return_sequences=3)
def compare(picture: PicturePath, settings: dict[str, Any], model: Models = None, seed: Seed = 0) -> None:
    """Compare the decoding strategies on an image.

    Prints the captions of each strategy with the probability of each word.

    A setting applies to the strategies that use it.
    """
    from wordgaze.cli.console import print_comparison
    from wordgaze.inference.comparison import compare_strategies

    folders = [each.folder for each in resolve_captioners(model)]
    print_comparison(picture, compare_strategies(picture, folders, settings, seed))


@app.command(rich_help_panel=PANEL)
def look(
    picture: PicturePath,
    words: Annotated[str, typer.Option(help="The caption.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .png or .jpg file to write.", show_default=False)],
    model: Models = None,
) -> None:
    """Compare the attention of captioners for the same caption.

    Draws one row per captioner, and prints the log-probability that each gives the caption.
    """
    from wordgaze.inference.comparison import compare_attention

    resolved = resolve_captioners(model)
    names, folders = [each.address for each in resolved], [each.folder for each in resolved]
    for name, caption in compare_attention(picture, words, names, folders, output):
        typer.echo(f"{name}\t{caption.log_prob:.2f}")


def _print_captions(results: "Iterable[CaptionedImage]") -> None:
    """Prints captions and errors as they come. Raises ImageError at the end if there were errors."""
    failed = 0
    for result in results:
        if result.error is not None:
            failed += 1
            typer.echo(f"wordgaze: {result.error}", err=True)
        for caption in result.captions:
            typer.echo(f"{result.name}\t{caption.text}")
    if failed:
        raise ImageError(f"{failed} image{'s' if failed > 1 else ''} could not be captioned; see the errors above")
