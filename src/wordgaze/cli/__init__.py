"""The command line. Each command imports what it needs when it runs, so that ``--help`` is quick."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from wordgaze.cli import project
from wordgaze.core.errors import WordgazeError

app = typer.Typer(
    name="wordgaze",
    help="Captions pictures and shows where each word looked.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _stage(name: str, help_: str) -> None:
    def command() -> None:
        from importlib import import_module

        from wordgaze.config.params import Params, load_params
        from wordgaze.core import paths

        run: Callable[[Params], None] = import_module(f"wordgaze.stages.{name}").run
        run(load_params(paths.PARAMS))

    app.command(name, help=help_)(command)


_stage("download", "Bring the data set here and leave out what cannot be used.")
_stage("prepare", "Clean the captions, split by image, count the vocabulary.")
_stage("features", "Turn every picture into a grid of features.")
_stage("train_stage1", "Train the decoder from scratch on a first set of samples.")
_stage("train_stage2", "Train on, from the best of stage 1, on the larger set.")
_stage("evaluate", "Score the test split and log the captioner as a model.")


Pictures = Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")]
Models = Annotated[
    list[str], typer.Option("--model", help="A captioner folder, or models:/captioner@champion; several: an ensemble.")
]
Num = Annotated[int, typer.Option(min=1, help="Captions a picture.")]
BeamWidth = Annotated[int, typer.Option(min=1, max=200)]
MaxLength = Annotated[int, typer.Option(min=1, max=200, help="Words at most.")]
Ban = Annotated[list[str], typer.Option(help="A word not to be said; repeat for more.")]
Require = Annotated[list[str], typer.Option(help='A word to be said, or "dog|puppy" for either; repeat for more.')]
Seed = Annotated[int, typer.Option(min=0, help="Of what is sampled.")]
RecipeName = Annotated[str, typer.Argument(metavar="NAME", help="The name of a recipe; see wordgaze recipe list.")]


@app.command()
def caption(
    pictures: Pictures,
    model: Models = ["models/stage2"],  # noqa: B006 (typer copies it)
    attention: Annotated[Path | None, typer.Option(help="Write where each word looked to this picture.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the captions to this .csv, .jsonl or .parquet.")] = None,
    strategy: Annotated[str, typer.Option(help="greedy, beam, diverse, sample, mbr or neighbours.")] = "beam",
    num_return_sequences: Num = 1,
    num_beams: BeamWidth = 5,
    length_penalty: Annotated[float, typer.Option(help="beam: log-probability over length to this power.")] = 0.7,
    num_beam_groups: Annotated[int, typer.Option(help="diverse: groups that the beam is divided into.")] = 5,
    diversity_penalty: Annotated[float, typer.Option(help="diverse: what a word costs that another group said.")] = 0.5,
    temperature: Annotated[float, typer.Option(help="sample, mbr: 0 is greedy, 1 the model's own.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="sample, mbr: the likeliest words; 0 is all.")] = 0,
    top_p: Annotated[float, typer.Option(help="sample, mbr: the nucleus; 1 is all.")] = 1.0,
    typical_p: Annotated[float, typer.Option(help="sample, mbr: the most typical words; 1 is all.")] = 1.0,
    min_p: Annotated[float, typer.Option(help="sample, mbr: at least this share of the likeliest; 0 is all.")] = 0.0,
    max_new_tokens: MaxLength = 20,
    min_new_tokens: Annotated[int, typer.Option(help="Words at least.")] = 0,
    no_repeat_ngram_size: Annotated[int, typer.Option(help="N-grams of this size are said once; 0 is any.")] = 0,
    no_dangling_end: Annotated[
        bool, typer.Option("--no-dangling-end", help='No ending on a word such as "in" or "a".')
    ] = False,
    bad_words: Ban = [],  # noqa: B006
    force_words: Require = [],  # noqa: B006
    seed: Seed = 0,
) -> None:
    """Print a caption for each picture, or --num-return-sequences of them, best first."""
    settings = {name: value for name, value in locals().items() if name not in _NOT_DECODING}
    from wordgaze.generation.config import parse_generation_config
    from wordgaze.inference.caption_files import caption_files

    decode = parse_generation_config(**settings)
    for path, captions in caption_files(pictures, model, decode, attention, output, seed):
        for found in captions:
            typer.echo(f"{path}\t{found.text}")


_NOT_DECODING = ("pictures", "model", "attention", "output", "seed")


@app.command()
def compare(
    picture: Annotated[Path, typer.Argument(help="A picture.")],
    model: Models = ["models/stage2"],  # noqa: B006
    num_return_sequences: Num = 3,
    num_beams: BeamWidth = 5,
    max_new_tokens: MaxLength = 20,
    bad_words: Ban = [],  # noqa: B006
    force_words: Require = [],  # noqa: B006
    seed: Seed = 0,
) -> None:
    """Show what every decoding strategy says of a picture, with probabilities."""
    from wordgaze.cli.console import print_comparison
    from wordgaze.inference.caption_files import compare_strategies

    common = {
        "num_beams": num_beams,
        "max_new_tokens": max_new_tokens,
        "bad_words": bad_words,
        "force_words": force_words,
    }
    print_comparison(picture, compare_strategies(picture, model, common, num_return_sequences, seed))


@app.command()
def look(
    picture: Annotated[Path, typer.Argument(help="A picture.")],
    words: Annotated[str, typer.Option(help="The caption that each captioner is made to say.")],
    output: Annotated[Path, typer.Option(help="The picture to write: a row of panels a captioner.")],
    model: Models = ["models/stage2"],  # noqa: B006
) -> None:
    """Show where several captioners look when they say the same words."""
    from wordgaze.inference.caption_files import look as do

    for name, said in do(picture, words, model, output):
        typer.echo(f"{name}\t{said.log_prob:.2f}")


@app.command()
def explain(
    picture: Annotated[Path, typer.Argument(help="A picture.")],
    gif: Annotated[Path | None, typer.Option(help="Write the caption as a film, word by word.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write a panel a word.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write words, weights and what else could have been said.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A captioner folder or an address; else the champion or the newest.")
    ] = None,
    words: Annotated[str | None, typer.Option(help="The caption to explain, if not the captioner's own.")] = None,
    strategy: Annotated[str, typer.Option(help="greedy, beam, diverse, sample, mbr or neighbours.")] = "beam",
    num_beams: BeamWidth = 5,
    max_new_tokens: MaxLength = 20,
    bad_words: Ban = [],  # noqa: B006
    force_words: Require = [],  # noqa: B006
    seed: Seed = 0,
) -> None:
    """Show where each word of a picture's caption looked: a film, a sheet, JSON."""
    from wordgaze.app.service import explain as do

    settings = {"strategy": strategy, "num_beams": num_beams, "max_new_tokens": max_new_tokens}
    settings |= {"bad_words": bad_words, "force_words": force_words}
    story = do(picture, model, words, settings, seed, gif=gif, png=png, json=json)
    typer.echo(f"{picture}\t{story.caption.text}")


@app.command()
def score(
    captions: Annotated[Path, typer.Argument(help="Captions: COCO results, CSV, JSON lines or a token file.")],
    references: Annotated[Path, typer.Argument(help="References: COCO annotations, CSV, JSON lines or a token file.")],
    against: Annotated[Path | None, typer.Option(help="Another system's captions of the same pictures.")] = None,
    column: Annotated[str | None, typer.Option(help="The CSV's column of captions, where there are several.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the report here: a page, or .json.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="The pictures' folder: the page shows them.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="The page shows so many best and worst captions.")] = 10,
) -> None:
    """Score captions from any system as the COCO evaluation does, with intervals."""
    from wordgaze.cli.console import print_scores
    from wordgaze.evaluation.score import score_files

    print_scores(score_files(captions, references, against, column, output, pictures, examples))
    if output is not None:
        typer.echo(f"the report is {output}")


@app.command()
def spread(
    reports: Annotated[list[Path], typer.Argument(help="The evaluation.json of runs that differ in their seed.")],
) -> None:
    """Print mean and standard deviation of the scores over several runs."""
    from wordgaze.cli.console import print_spread

    print_spread(reports)


@app.command()
def ground(
    pictures: Pictures,
    boxes: Annotated[Path, typer.Option(help="COCO's instances JSON, or the folder of Flickr30k Entities.")],
    model: Annotated[str, typer.Option(help="A captioner folder, or an address of the registry.")] = "models/stage2",
    num_beams: BeamWidth = 5,
) -> None:
    """Measure whether the words of captions look at the objects that they name."""
    from wordgaze.cli.console import print_grounding
    from wordgaze.evaluation.ground import ground_pictures
    from wordgaze.generation.config import parse_generation_config
    from wordgaze.inference.caption_files import load_captioners

    [captioner] = load_captioners([model])
    print_grounding(ground_pictures(pictures, boxes, captioner, parse_generation_config(num_beams=num_beams)))


@app.command()
def register() -> None:
    """Put the evaluated captioner into the registry, as captioner@challenger."""
    from wordgaze.tracking.registry import register as do

    typer.echo(f"captioner version {do()} is the challenger; next: wordgaze promote")


@app.command()
def promote(
    force: Annotated[bool, typer.Option(help="Promote even if it scores lower than the champion.")] = False,
) -> None:
    """Make the challenger the champion, if it scores no lower on the same data set."""
    from wordgaze.tracking.registry import promote as do

    typer.echo(f"captioner version {do(force=force)} is the champion: --model models:/captioner@champion")


@app.command("app")
def page(
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in, without any password.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 7860,
    model: Annotated[
        list[str],
        typer.Option("--model", help="A captioner folder, or models:/captioner@champion; several: to compare."),
    ] = [],  # noqa: B006
) -> None:
    """Open the web page: caption pictures, see where each word looked, correct what is wrong."""
    from wordgaze.app.service import CaptionService

    service = CaptionService.open(model)  # before gradio is imported, which takes its time
    from wordgaze.app.page import serve as do

    do(service, host, port, typer.echo)


@app.command()
def serve(
    model: Annotated[
        str, typer.Option(help="An address of the registry, or a captioner folder.")
    ] = "models:/captioner@champion",
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines ask, without any password.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 5001,
) -> None:
    """Answer programs: MLflow's scoring server, POST /invocations with pictures as base64."""
    from wordgaze.tracking.server import serve as do

    do(model, host, port, lambda address: typer.echo(f"{model} answers at {address}/invocations; stop it with Ctrl-C"))


corrections = typer.Typer(
    name="corrections", help="Captions that people corrected.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(corrections)


@corrections.command("list")
def corrections_list() -> None:
    """Print a line a correction: time, picture, model, what it said, what a person accepted."""
    from wordgaze.app.corrections import Corrections
    from wordgaze.core import paths

    for each in Corrections(paths.home() / paths.CORRECTIONS).all():
        typer.echo(
            "\t".join((each.time, each.picture, f"{each.model} {each.version}".strip(), each.suggested, each.accepted))
        )


@corrections.command("export")
def corrections_export(folder: Annotated[Path, typer.Argument(help="A new or empty folder.")]) -> None:
    """Write the corrections as a data set to train on."""
    from wordgaze.app.corrections import Corrections
    from wordgaze.core import paths

    count = Corrections(paths.home() / paths.CORRECTIONS).export(folder)
    typer.echo(f"{folder} holds {count} captions; to train on them: -S dataset.name=folder -S dataset.source={folder}")


recipe = typer.Typer(name="recipe", help="Settings of published systems.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(recipe)


@recipe.command("list")
def recipe_list() -> None:
    """Print the recipes: encoder, data set, and what each reproduces."""
    from wordgaze.config.recipes import print_recipes

    print_recipes()


@recipe.command("show")
def recipe_show(name: RecipeName) -> None:
    """Print a recipe's settings beside the present ones, and the dvc command that runs it."""
    from wordgaze.config.recipes import print_recipe

    print_recipe(name)


@recipe.command("use")
def recipe_use(
    name: RecipeName,
    change: Annotated[
        list[str], typer.Option("--set", help="Another setting, such as train_stage1.epochs=2; repeat for more.")
    ] = [],  # noqa: B006
) -> None:
    """Write a recipe's settings into params.yaml."""
    from wordgaze.config.recipes import use_recipe

    changed = use_recipe(name, change)
    typer.echo(f"params.yaml has the settings of {name}; {len(changed)} changed; next: dvc repro")


@app.command()
def summary() -> None:
    """Print the scores of the last evaluation, three captions, and where to look next."""
    from wordgaze.cli.console import print_summary

    print_summary()


app.add_typer(project.app)


def main() -> None:
    """Runs the command line; what goes wrong on purpose becomes one line and exit code 1."""
    try:
        app()
    except WordgazeError as error:
        _fail(str(error))
    except OSError as error:
        # A full disk, a missing permission: the operating system's own words, with the file.
        _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))


def _fail(message: str) -> None:
    print(f"wordgaze: {message}", file=sys.stderr)
    sys.exit(1)
