"""``wordgaze retrain``: corrections in, a challenger out."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from wordgaze.tracking.retraining import InitialCaptioner, RetrainStep

PANEL = "Model registry"

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def retrain(
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Train a new captioner instead of fine-tuning one.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="The captioner to fine-tune: a folder, or an address of the registry.",
            show_default="the champion, else models/stage2",
        ),
    ] = None,
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
    """Fine-tune a captioner on the data set and the corrections, register it, and let the gate judge it.

    Each step is a command that is printed before it runs. After an interruption the same command continues. That a
    challenger is not better than the champion is a result and not an error.
    """
    from wordgaze.app.corrections import Corrections
    from wordgaze.config.params import load_params
    from wordgaze.core import paths
    from wordgaze.core.errors import ParamsError
    from wordgaze.tracking.retraining import plan_retraining, run_retraining

    if from_scratch and model is not None:
        raise ParamsError(f"--from-scratch continues no captioner; leave out --model {model}")
    params, given = load_params(paths.PARAMS), settings or []

    def find_initial() -> "InitialCaptioner":
        from wordgaze.tracking.initial_captioner import find_initial_captioner

        return find_initial_captioner(params, given, model)

    corrections = Corrections(paths.home() / paths.CORRECTIONS).all()
    pairs = [(each.checksum, each.accepted) for each in corrections]
    retraining = plan_retraining(params, pairs, given, promote, None if from_scratch else find_initial)
    remaining = retraining.remaining()
    if dry_run:
        for step in retraining.steps:
            typer.echo(step.shown + ("" if step in remaining else "  # done"))
        return
    images = len({each.checksum for each in corrections})
    typer.echo(f"{len(set(pairs))} corrected captions of {images} images")

    def announce(number: int, step: "RetrainStep") -> None:
        typer.echo(f"[{number}/{len(retraining.steps)}] {step.title}: {step.shown}")

    if not remaining:
        typer.echo(f"all {len(retraining.steps)} steps are done already; see wordgaze retrain --dry-run")
        return
    run_retraining(retraining, announce, _judge)
    typer.echo("done; to keep the experiment: git add -A, git commit. To undo it: git checkout ., dvc checkout")


def _judge() -> None:
    """Lets the gate compare, and tells what it decided."""
    from wordgaze.cli.registry_tables import print_decision
    from wordgaze.tracking.promotion import promote

    decision = promote()
    print_decision(decision)
    if decision.outcome == "refused":
        champion = "" if decision.champion is None else f", and version {decision.champion} the champion"
        typer.echo(f"not promoted: {decision.why}")
        typer.echo(f"version {decision.version} stays the challenger{champion}; see wordgaze models")
    else:
        typer.echo(f"{decision.outcome}: {decision.why}")
        typer.echo(f"version {decision.version} is the champion")
