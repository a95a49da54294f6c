"""``wordgaze retrain``: corrections in, a challenger out."""

from typing import Annotated

import typer

PANEL = "Model registry"

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def retrain(
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set-param", "-S", metavar="KEY=VALUE", help="A parameter of the experiment, as for dvc exp run."
        ),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Let the gate compare the challenger with the champion.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands, and run none.")] = False,
) -> None:
    """Train on the data set and the corrections, register the challenger, and let the gate judge it.

    Each step is a command that is printed before it runs. After an interruption the same command continues.
    """
    from wordgaze.app.corrections import Corrections
    from wordgaze.config.params import load_params
    from wordgaze.core import paths
    from wordgaze.tracking.retraining import RetrainStep, plan_retraining, run_retraining

    corrections = Corrections(paths.home() / paths.CORRECTIONS).all()
    pairs = [(each.checksum, each.accepted) for each in corrections]
    retraining = plan_retraining(load_params(paths.PARAMS), pairs, settings or [], promote)
    if dry_run:
        for step in retraining.steps:
            typer.echo(step.shown + ("" if step in retraining.remaining() else "  # done"))
        return
    images = len({each.checksum for each in corrections})
    typer.echo(f"{len(set(pairs))} corrected captions of {images} images")

    def announce(number: int, step: RetrainStep) -> None:
        typer.echo(f"[{number}/{len(retraining.steps)}] {step.title}: {step.shown}")

    run_retraining(retraining, announce)
    typer.echo("done; to keep the experiment: git add -A, git commit. To undo it: git checkout ., dvc checkout")
