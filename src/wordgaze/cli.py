"""The command line. Each command imports what it needs when it runs, so that ``--help`` is quick."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from wordgaze.errors import WordgazeError

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

        from wordgaze import paths
        from wordgaze.params import Params, load_params

        run: Callable[[Params], None] = import_module(f"wordgaze.stages.{name}").run
        run(load_params(paths.PARAMS))

    app.command(name, help=help_)(command)


_stage("download", "Bring the data set here and leave out what cannot be used.")
_stage("prepare", "Clean the captions, split by image, count the vocabulary.")
_stage("features", "Turn every picture into a grid of features.")
_stage("train_stage1", "Train the decoder from scratch on a first set of samples.")
_stage("train_stage2", "Train on, from the best of stage 1, on the larger set.")
_stage("evaluate", "Score the test split and log the captioner as a model.")


@app.command()
def caption(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    model: Annotated[str, typer.Option(help="A captioner folder, or models:/captioner@champion.")] = "models/stage2",
    attention: Annotated[Path | None, typer.Option(help="Write where each word looked to this picture.")] = None,
    strategy: Annotated[str, typer.Option(help="beam or greedy.")] = "beam",
    beam_width: Annotated[int, typer.Option(min=1, max=200)] = 5,
    max_length: Annotated[int, typer.Option(min=1, max=200, help="Words at most.")] = 20,
) -> None:
    """Print a caption for each picture."""
    from wordgaze.caption import caption_pictures
    from wordgaze.params import decode_params

    decode = decode_params(strategy=strategy, beam_width=beam_width, max_length=max_length)
    for path, text in caption_pictures(pictures, model, decode, attention):
        typer.echo(f"{path}\t{text}")


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


@app.command()
def summary() -> None:
    """Print the scores of the last evaluation, three captions, and where to look next."""
    from wordgaze.summary import print_summary

    print_summary()


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
