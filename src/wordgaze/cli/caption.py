"""The commands that caption images: caption, compare, explain and look."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wordgaze.cli.models import resolve_captioner, resolve_captioners
from wordgaze.cli.options import (
    SHARED,
    SINGLE,
    ComparedModels,
    EnsembleModels,
    GenerationCommand,
    InputPaths,
    Model,
    PicturePath,
    Seed,
    generation_config,
    generation_options,
    refuse_settings,
    refuse_unused,
    sampling_seed,
)
from wordgaze.core.errors import ImageError
from wordgaze.core.printable import count_noun, escaped, printable, printable_row
from wordgaze.inference.sidecar import Sidecar

if TYPE_CHECKING:
    from wordgaze.inference.caption_files import CaptionedFile
    from wordgaze.inference.table import Row

PANEL = "Captions"

app = typer.Typer()


@app.command(cls=GenerationCommand, rich_help_panel=PANEL)
@generation_options()
def caption(
    settings: dict[str, Any],
    pictures: InputPaths = None,
    files_from: Annotated[
        list[Path] | None,
        typer.Option(
            help="Read paths from this file, one per line or separated by NUL as find -print0 writes them; - is "
            "standard input."
        ),
    ] = None,
    model: EnsembleModels = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", help="Write the captions to this .csv, .jsonl or .parquet file. Repeat it for several."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per caption instead of the path and the caption.")
    ] = False,
    sidecar: Annotated[
        list[Sidecar] | None,
        typer.Option(
            help="Write the first caption beside each image: as text to NAME.txt, or as the description in "
            "NAME.jpg.xmp. Repeat it for both."
        ),
    ] = None,
    embed: Annotated[
        Path | None,
        typer.Option(
            help="Copy each image to this folder, with the first caption as its description. The pixels of a JPEG or "
            "PNG are not encoded again."
        ),
    ] = None,
    attention: Annotated[
        Path | None,
        typer.Option(
            help="Write the attention maps of the first caption: to this .png or .jpg file, or, for several images, to "
            "this folder."
        ),
    ] = None,
    template: Annotated[
        str,
        typer.Option(
            help="The text of a caption wherever it is printed or written. Fields: {caption}, {name}, {stem}, "
            "{confidence}, {probability}, {log_prob}."
        ),
    ] = "{caption}",
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help='Answer "unsure" where the confidence of a caption is lower: it is empty in a table, and no sidecar '
            "or copy is written.",
        ),
    ] = None,
    explain_naming: Annotated[
        bool, typer.Option("--explain-naming", help="Print after a caption why it names an object that it lacked.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace existing texts, descriptions and copies, which are otherwise kept."),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            help="Continue an interrupted run from OUTPUT.part if captioner, settings and seed are the same, or start "
            "again. Images that are done are not printed again."
        ),
    ] = True,
    seed: Seed = None,
) -> None:
    """Caption images.

    Prints one line per caption: the file, a tab and the caption.

    An image that cannot be captioned is reported on standard error, and has a row with the error in a table. The exit
    code is then 1.
    """
    from wordgaze.inference.caption_files import FileOutputs, caption_files
    from wordgaze.inference.caption_template import CaptionTemplate
    from wordgaze.vision.image_files import ImageFiles

    if not pictures and not files_from:
        raise typer.BadParameter("is missing; give images, folders or --files-from", param_hint="PICTURES")
    refuse_unused(
        ("--overwrite", overwrite, bool(sidecar or embed), "--sidecar or --embed"),
        ("--no-resume", not resume, bool(output), "--output"),
    )
    outputs = FileOutputs(
        tables=tuple(dict.fromkeys(output or [])),
        sidecars=tuple(dict.fromkeys(sidecar or [])),
        embed=embed,
        attention=attention,
        template=CaptionTemplate(template),
        min_confidence=min_confidence,
        overwrite=overwrite,
        resume=resume,
    )
    files = ImageFiles(tuple(pictures or ()), tuple(files_from or ()))
    folders = [each.folder for each in resolve_captioners(model)]
    config = generation_config(settings, folders[0])
    refuse_unused(("--explain-naming", explain_naming, config.name_objects, "--name-objects"))
    results = caption_files(files, folders, config, outputs, sampling_seed(seed, config))
    _print_captions(results, partial(_json_line if as_json else _line, min_confidence, explain_naming))


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
    occlusion: Annotated[
        bool,
        typer.Option(
            "--occlusion",
            help="Also show, in the sheet and the JSON, by how much each word's probability falls when a part of the "
            "image is covered.",
        ),
    ] = False,
    seed: Seed = None,
) -> None:
    """Show the attention of each word of a caption.

    Writes an animation, a sheet or JSON, and prints the caption, and why it names an object that it lacked.
    """
    from wordgaze.inference.explain_file import explain_file
    from wordgaze.inference.explanation import ModelVersion

    if words is not None:
        refuse_settings(settings | ({} if seed is None else {"seed": seed}), "on the given --words")
    refuse_unused(("--occlusion", occlusion, bool(png or json), "--png or --json"))
    resolved = resolve_captioner(model)
    config = generation_config(settings, resolved.folder)
    number = sampling_seed(seed, config)
    name, files = ModelVersion(resolved.name, resolved.version), {"gif": gif, "png": png, "json": json}
    explanation = explain_file(
        picture, resolved.folder, words, config, number, model=name, **files, occlusion=occlusion
    )
    naming = [explanation.caption.naming] if explanation.caption.naming else []
    typer.echo(printable_row(escaped(picture), explanation.caption.text, *naming))


@app.command(cls=GenerationCommand, rich_help_panel=PANEL)
@generation_options(SHARED, num_return_sequences=3)
def compare(picture: PicturePath, settings: dict[str, Any], model: EnsembleModels = None, seed: Seed = None) -> None:
    """Compare the decoding strategies on an image.

    Prints the captions of each strategy with the probability of each word.

    A setting applies to the strategies that use it.
    """
    from wordgaze.cli.console import print_comparison
    from wordgaze.inference.comparison import compare_strategies

    folders = [each.folder for each in resolve_captioners(model)]
    print_comparison(picture, compare_strategies(picture, folders, settings, seed or 0))


@app.command(rich_help_panel=PANEL)
def look(
    picture: PicturePath,
    words: Annotated[str, typer.Option(help="The caption.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .png or .jpg file to write.", show_default=False)],
    model: ComparedModels = None,
) -> None:
    """Compare the attention of captioners for the same caption.

    Draws one row per captioner, and prints the log-probability that each gives the caption.
    """
    from wordgaze.inference.comparison import compare_attention

    resolved = resolve_captioners(model)
    names, folders = [each.address for each in resolved], [each.folder for each in resolved]
    for name, caption in compare_attention(picture, words, names, folders, output):
        typer.echo(printable_row(escaped(name), f"{caption.log_prob:.2f}"))


def _print_captions(results: "Iterable[CaptionedFile]", line: "Callable[[CaptionedFile, Row], str]") -> None:
    """Prints captions, as ``line`` gives them, and errors as they come. Raises ImageError at the end if there were
    errors."""
    failed = total = 0
    for result in results:
        total += 1
        if result.error is not None:
            failed += 1
            typer.echo(f"wordgaze: {printable(escaped(str(result.error)))}", err=True)
        for row in result.rows:
            typer.echo(line(result, row))
    if failed:
        raise ImageError(f"{failed} of {count_noun(total, 'image')} could not be captioned; see the errors above")


def _line(min_confidence: float | None, explain_naming: bool, result: "CaptionedFile", row: "Row") -> str:
    from wordgaze.inference.caption_files import UNSURE, is_unsure

    caption = UNSURE if is_unsure(row, min_confidence) else row.caption
    naming = [row.naming] if explain_naming and row.naming else []
    return printable_row(escaped(str(result.path)), caption, *naming)


def _json_line(_: float | None, explain_naming: bool, result: "CaptionedFile", row: "Row") -> str:
    """The columns of a table. ASCII alone: no name reorders the terminal, and none is changed that is not UTF-8."""
    import json

    from wordgaze.inference.table import COLUMNS, cells

    assert result.path is not None
    naming = {"naming": row.naming} if explain_naming else {}
    return json.dumps({**cells(row, COLUMNS), "name": result.path.name, "path": str(result.path), **naming})
