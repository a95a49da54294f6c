"""The commands of exported captioners: export and conformance."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wordgaze.cli.options import refuse_unused
from wordgaze.core.errors import DataError

if TYPE_CHECKING:
    from wordgaze.inference.conformance import ConformanceResult, Runner

PANEL = "Export"
NUM_IMAGES = 8  # of a conformance set

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def export(
    captioner: Annotated[
        str,
        typer.Argument(
            metavar="CAPTIONER",
            help="A captioner folder, photos, or an address of the registry.",
            show_default=False,
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write.", show_default=False)],
    to: Annotated[
        Literal["onnx", "web"],
        typer.Option(help="onnx: graphs for ONNX Runtime. web: a page that captions images in the browser."),
    ] = "onnx",
    dtype: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="How the weights are stored: by default fp32 for onnx, int8 for web.", show_default=False),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="A folder of images. With --dtype int8 the encoder then computes in 8 bits, with ranges that are "
            "calibrated on the first 200 of them."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="The images of the conformance set: a folder, of which the first 8 are taken. By default examples "
            "such as the captioner was trained for."
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(help="The npm package of ONNX Runtime Web, a .tgz file. By default it is downloaded once."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FOLDER if it is an export.")] = False,
) -> None:
    """Export a captioner to ONNX, or as a web page without a server.

    An exported captioner has greedy and beam search. Captions are those of PyTorch up to rounding.
    """
    from wordgaze.cli.models import resolve_captioner
    from wordgaze.export.onnx_export import ExportSettings, export_onnx
    from wordgaze.export.web_export import export_web
    from wordgaze.vision.image_files import find_images

    refuse_unused(("--runtime", runtime is not None, to == "web", "--to web"))
    resolved = resolve_captioner(captioner)
    with _conformance_images(images, resolved.dataset) as conformance:
        settings = ExportSettings(
            dtype=dtype or ("int8" if to == "web" else "fp32"),
            calibration=find_images([calibrate]) if calibrate else (),
            conformance=conformance,
            overwrite=overwrite,
        )
        if to == "web":
            size = export_web(resolved.folder, folder, settings, runtime)
        else:
            size = export_onnx(resolved.folder, folder, settings)
    typer.echo(f"{folder}\t{size / 1e6:.1f} MB")


@app.command(rich_help_panel=PANEL)
def conformance(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="An exported captioner, or a page.", show_default=False)
    ],
    runner: Annotated[
        Literal["onnx", "torch"], typer.Option(help="Who captions the images: ONNX Runtime, or PyTorch with --model.")
    ] = "onnx",
    model: Annotated[
        str | None, typer.Option(help="The captioner that was exported, for --runner torch.", show_default=False)
    ] = None,
) -> None:
    """Compare the captions of a runtime with those of PyTorch at the time of the export.

    Prints one line for each image and setting. The exit code is 1 if a caption has other words, or a log-probability
    that differs by more than the tolerance of the set. The page conformance.html of a web export does the same in a
    browser.
    """
    from wordgaze.inference.conformance import CONFORMANCE_FOLDER, read_conformance, run_conformance

    refuse_unused(("--model", model is not None, runner == "torch", "--runner torch"))
    conformance_set = read_conformance(folder / CONFORMANCE_FOLDER)
    differing = total = 0
    for result in run_conformance(folder / CONFORMANCE_FOLDER, _runner(folder, runner, model)):
        is_equal = result.same_words and result.deviation <= conformance_set.tolerance
        total, differing = total + 1, differing + (not is_equal)
        typer.echo(_conformance_line(result))
    if differing:
        raise DataError(f"captions that differ from those of the export: {differing} of {total}; see the lines above")


def _conformance_line(result: "ConformanceResult") -> str:
    if result.same_words:
        text = f"{' '.join(result.actual.words)}\tlog-probabilities within {result.deviation:.1e}"
    else:
        text = f"{' '.join(result.actual.words)}\texpected: {' '.join(result.expected.words)}"
    return f"{result.file}\t{result.setting}\t{text}"


def _runner(folder: Path, name: str, model: str | None) -> "Runner":
    if name == "onnx":
        from wordgaze.inference.onnx_captioner import OnnxCaptioner

        exported = OnnxCaptioner.load(folder)
        return lambda image, config: exported.caption(image, config)[0]
    from wordgaze.cli.models import resolve_captioner
    from wordgaze.inference.captioner import Captioner

    captioner = Captioner.load(resolve_captioner(model).folder)
    return lambda image, config: captioner.caption(image, config)[0]


@contextmanager
def _conformance_images(folder: Path | None, dataset: str) -> Iterator[list[Path]]:
    """The images of a conformance set: those of a folder, or the examples of the web page."""
    from wordgaze.app.examples import ExampleSets
    from wordgaze.core.leftovers import temporary_folder
    from wordgaze.vision.image_files import find_images

    if folder is not None:
        yield find_images([folder])[:NUM_IMAGES]
        return
    with temporary_folder() as temporary:
        yield [each.path for each in ExampleSets(temporary).of(dataset)]
