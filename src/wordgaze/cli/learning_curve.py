"""``wordgaze learning-curve``: what more training images would buy."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wordgaze.core.errors import ParamsError

if TYPE_CHECKING:
    from wordgaze.inspection.learning_curve import LearningCurve

PANEL = "Data"

app = typer.Typer()


@app.command("learning-curve", rich_help_panel=PANEL)
def learning_curve(
    sizes: Annotated[
        str, typer.Option(help="Numbers of training images, such as 50,200,1000.", show_default="chosen from the data")
    ] = "",
    seeds: Annotated[
        str, typer.Option(help="Trainings of each size: one number, or one per size such as 3,3,2.")
    ] = "3",
    metric: Annotated[
        Literal["cider", "bleu_4", "bleu_1", "rouge_l"], typer.Option(help="The score that is drawn and extrapolated.")
    ] = "cider",
    output: Annotated[Path, typer.Option("--output", "-o", help="Write the picture to this .svg file.")] = Path(
        "learning-curve.svg"
    ),
    table: Annotated[Path | None, typer.Option("--csv", help="Write the points to this CSV file.")] = None,
    values: Annotated[Path | None, typer.Option("--json", help="Write all values to this JSON file.")] = None,
) -> None:
    """Train on parts of the data set, score each captioner on dev, and extrapolate to more images.

    It reads data/prepared and data/features, and trains with the settings of train_stage1. If interrupted, the same
    command continues. Nothing in models/ changes.
    """
    from wordgaze.config.params import load_params
    from wordgaze.core import paths
    from wordgaze.core.files import check_output, write_json, write_text
    from wordgaze.inspection.curve_chart import draw_learning_curve
    from wordgaze.inspection.learning_curve import measure_learning_curve

    if output.suffix.lower() != ".svg":
        raise ParamsError(f"--output {output}: the picture is SVG; give a name that ends with .svg")
    for path, option in ((output, "--output"), (table, "--csv"), (values, "--json")):
        if path is not None:
            check_output(path, option)
    params = load_params(paths.PARAMS)
    numbers = _numbers("--sizes", sizes) if sizes else []
    curve = measure_learning_curve(params, numbers, _numbers("--seeds", seeds), metric, _announce)
    write_text(output, draw_learning_curve(curve))
    if values is not None:
        write_json(values, curve.to_json())
    if table is not None:
        _write_table(table, curve)
    _print(curve)
    typer.echo(f"the picture is {output}")


def _numbers(option: str, text: str) -> list[int]:
    parts = [part.strip().replace("_", "") for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ParamsError(f"{option} {text}: give whole numbers above 0, separated by commas, such as 50,200,1000")
    return [int(part) for part in parts]


def _announce(images: int, seed: int) -> None:
    from wordgaze.core.printable import count_noun

    typer.echo(f"training on {count_noun(images, 'image')}, seed {seed}", err=True)


def _write_table(path: Path, curve: "LearningCurve") -> None:
    from wordgaze.core.tables import write_csv

    names = list(curve.points[0].scores)
    columns = ["images", "seeds", "words", *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))]
    rows = [
        {
            "images": point.images,
            "seeds": point.seeds,
            "words": point.words,
            **{name: score.value for name, score in point.scores.items()},
            **{f"{name}_low": score.low for name, score in point.scores.items()},
            **{f"{name}_high": score.high for name, score in point.scores.items()},
        }
        for point in curve.points
    ]
    write_csv(path, columns, rows)


def _print(curve: "LearningCurve") -> None:
    from rich.console import Console
    from rich.table import Table

    from wordgaze.inspection.curve_chart import METRIC_LABELS
    from wordgaze.inspection.learning_curve import gains

    label, gain = METRIC_LABELS[curve.metric], dict(gains(curve))
    table = Table(title=f"{curve.dataset}: {label} on {curve.dev_images:,} dev images", title_justify="left")
    for heading in ("training images", "seeds", "words", label, "95 % interval", "per doubling"):
        table.add_column(heading, justify="right")
    for point in curve.points:
        score = point.scores[curve.metric]
        table.add_row(
            f"{point.images:,}", str(point.seeds), f"{point.words:,.0f}", f"{score.value:.3f}",
            f"{score.low:.3f} – {score.high:.3f}", f"{gain[point.images]:+.3f}" if point.images in gain else "",
        )  # fmt: skip
    for each in curve.predictions:
        table.add_row(
            f"{each.images:,}", "extrapolated", "", f"{each.value:.3f}", f"{each.low:.3f} – {each.high:.3f}", ""
        )
    Console(highlight=False).print(table)
    if curve.check:
        measured = curve.points[-1].scores[curve.metric].value
        typer.echo(
            f"check of the extrapolation: the smaller sizes alone predict {curve.check.value:.3f}"
            f" [{curve.check.low:.3f}, {curve.check.high:.3f}] for {curve.check.images:,} images;"
            f" measured: {measured:.3f}"
        )
    if not curve.law:
        typer.echo("nothing is extrapolated: a power law needs three sizes or more")
