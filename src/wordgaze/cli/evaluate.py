"""The commands that measure captions and attention: score, audit, ground, faithfulness, spread and summary."""

from pathlib import Path
from typing import Annotated, Any

import typer

from wordgaze.cli.models import resolve_captioner
from wordgaze.cli.options import (
    GenerationCommand,
    Model,
    PicturePaths,
    generation_config,
    generation_options,
    refuse_unused,
)
from wordgaze.core.printable import count_noun

PANEL = "Evaluation"

app = typer.Typer()

CaptionsFile = Annotated[
    Path,
    typer.Argument(
        metavar="CAPTIONS", help="Captions: a table, JSON lines, COCO results or a token file.", show_default=False
    ),
]
ReferencesFile = Annotated[
    Path,
    typer.Argument(
        metavar="REFERENCES",
        help="References: a table, JSON lines, COCO or Karpathy's JSON, or tokens.",
        show_default=False,
    ),
]
CaptionColumn = Annotated[str, typer.Option(help="The column or key of the captions.", show_default="by name")]
ImageColumn = Annotated[
    str, typer.Option(help="The column or key of the images, in all files.", show_default="by name")
]
ScoringTokenizer = Annotated[
    str, typer.Option(help="auto (by the script of the references), ptb (English), unicode, unicode-tr, characters.")
]


@app.command(rich_help_panel=PANEL)
def score(
    captions: CaptionsFile,
    references: ReferencesFile,
    against: Annotated[Path | None, typer.Option(help="The captions of another system for the same images.")] = None,
    column: CaptionColumn = "",
    reference_column: Annotated[
        str, typer.Option(help="The column or key of the references.", show_default="by name")
    ] = "",
    image_column: ImageColumn = "",
    split: Annotated[str, typer.Option(help="Score the images of this split of the references.")] = "",
    partial: Annotated[bool, typer.Option("--partial", help="Leave out references that have no caption.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the report to this .html or .json file.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(help="The folder of the images, which the report shows.")] = None,
    examples: Annotated[
        int | None,
        typer.Option(min=0, help="The number of best and of worst captions in the page.", show_default="10"),
    ] = None,
    tokenizer: ScoringTokenizer = "auto",
    document_frequencies: Annotated[
        Path | None,
        typer.Option(
            help="A file of `wordgaze document-frequencies`, for CIDEr.", show_default="those of the references"
        ),
    ] = None,
    spice: Annotated[
        bool, typer.Option("--spice", help="Add SPICE, by the Java program of the COCO evaluation; takes minutes.")
    ] = False,
) -> None:
    """Score captions of any system as the COCO evaluation does, with confidence intervals."""
    from wordgaze.cli.console import print_scores
    from wordgaze.evaluation.score import NUM_EXAMPLES, ScoreSelection, score_files

    is_page = output is not None and output.suffix == ".html"
    refuse_unused(("--examples", examples is not None, is_page, "--output NAME.html"))
    selection = ScoreSelection(column, reference_column, image_column, split, partial)
    shown = NUM_EXAMPLES if examples is None else examples
    scored = score_files(
        captions, references, against, selection, output, pictures, shown, tokenizer, document_frequencies, spice
    )
    print_scores(scored)
    if scored.num_left_out:
        typer.echo(f"left out: {count_noun(scored.num_left_out, 'image')} with references and without a caption")
    if output is not None:
        typer.echo(f"the report is {output}")


@app.command(rich_help_panel=PANEL)
def audit(
    captions: CaptionsFile,
    references: ReferencesFile,
    training: Annotated[
        Path | None,
        typer.Option(
            help="The training captions, in which leaks are looked for; of a file with splits, those of train."
        ),
    ] = None,
    column: CaptionColumn = "",
    reference_column: Annotated[
        str,
        typer.Option(help="The column or key of the references and training captions.", show_default="by name"),
    ] = "",
    image_column: ImageColumn = "",
    split: Annotated[str, typer.Option(help="Audit the images of this split of the references.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the audit to this .json file.")] = None,
    tokenizer: ScoringTokenizer = "auto",
) -> None:
    """Say what is wrong with a file of captions, and what each fault changes in its scores.

    Looks for images without a caption, leaks of training images, markers, other faults of texts and references, and
    prints the scores by several protocols. The exit code is 0, whatever is found.
    """
    from wordgaze.cli.console import print_audit
    from wordgaze.evaluation.audit.run import audit_captions
    from wordgaze.evaluation.score import ScoreSelection

    selection = ScoreSelection(column, reference_column, image_column, split)
    print_audit(audit_captions(captions, references, training, selection, output, tokenizer))
    if output is not None:
        typer.echo(f"the audit is {output}")


@app.command("document-frequencies", rich_help_panel=PANEL)
def document_frequencies(
    references: Annotated[
        Path,
        typer.Argument(
            metavar="REFERENCES",
            help="References: a table, JSON lines, COCO or Karpathy's JSON, or tokens.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .json file to write.", show_default=False)],
    reference_column: Annotated[
        str, typer.Option(help="The column or key of the references.", show_default="by name")
    ] = "",
    image_column: Annotated[str, typer.Option(help="The column or key of the images.", show_default="by name")] = "",
    split: Annotated[str, typer.Option(help="Count in the references of this split.")] = "",
    tokenizer: ScoringTokenizer = "auto",
) -> None:
    """Count the n-grams of references, by which `wordgaze score` weighs those of CIDEr."""
    from wordgaze.data.readers.captions import ColumnNames
    from wordgaze.evaluation.document_frequencies import count_in_file

    columns = ColumnNames(image_column, reference_column, "--image-column", "--reference-column")
    counts = count_in_file(references, output, columns, split, tokenizer)
    typer.echo(f"{output} has {len(counts.counts)} n-grams that occur in at least 2 of {counts.num_images} images")


@app.command(cls=GenerationCommand, rich_help_panel=PANEL)
@generation_options(("num_beams",))
def ground(
    pictures: PicturePaths,
    settings: dict[str, Any],
    boxes: Annotated[
        Path, typer.Option(help="COCO's instances JSON, or the folder of Flickr30k Entities.", show_default=False)
    ],
    model: Model = None,
) -> None:
    """Measure whether the attention of words lies on the objects that they name."""
    from wordgaze.cli.console import print_grounding
    from wordgaze.evaluation.ground import ground_pictures
    from wordgaze.tracking.resolve import load

    folder = resolve_captioner(model).folder
    print_grounding(ground_pictures(pictures, boxes, load(folder), generation_config(settings, folder)))


@app.command(cls=GenerationCommand, rich_help_panel=PANEL)
@generation_options(("num_beams",))
def faithfulness(
    pictures: PicturePaths,
    settings: dict[str, Any],
    max_images: Annotated[int, typer.Option(min=1, help="The number of images, which are drawn by the seed.")] = 50,
    model: Model = None,
    seed: Annotated[int, typer.Option(min=0, help="The random seed of the images and of the random order.")] = 0,
) -> None:
    """Measure whether words depend on the parts of the image that they attend to.

    Covers the image part by part, and prints the mean probability of the words of captions meanwhile, beside other
    orders of covering.
    """
    from wordgaze.cli.console import print_faithfulness
    from wordgaze.evaluation.faithfulness import measure_faithfulness
    from wordgaze.tracking.resolve import load

    folder = resolve_captioner(model).folder
    print_faithfulness(
        measure_faithfulness(pictures, load(folder), generation_config(settings, folder), max_images, seed)
    )


@app.command(rich_help_panel=PANEL)
def spread(
    reports: Annotated[
        list[Path],
        typer.Argument(metavar="REPORTS", help="The evaluation.json of runs with different seeds.", show_default=False),
    ],
) -> None:
    """Print the mean and the standard deviation of the scores of several runs."""
    from wordgaze.cli.console import print_spread

    print_spread(reports)


@app.command(rich_help_panel=PANEL)
def summary() -> None:
    """Print the scores of the last evaluation, and where its reports are."""
    from wordgaze.cli.console import print_summary

    print_summary()
