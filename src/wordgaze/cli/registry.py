"""The commands of the model registry, register, promote and models, and pack, which writes a captioner to pass on."""

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
    data: Annotated[
        str | None,
        typer.Option(
            help="The gate set: dev, test, or a folder or table of images with captions.",
            show_default="tracking.gate.data of params.yaml",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="The score that has to be better: bleu_1 … bleu_4, rouge_l, meteor, cider.",
            show_default="tracking.gate.metric",
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="How certain the difference has to be, 0.5 to 0.999.", show_default="tracking.gate.confidence"
        ),
    ] = None,
    new_data: Annotated[
        bool, typer.Option("--new-data", help="Compare on other data than those the champion was promoted on.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Promote whatever the gate finds; needs --reason.")] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Make the previous champion the champion again.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why; it is stored with the decision.", show_default=False)] = "",
) -> None:
    """Make the challenger the champion, if it is better on the gate set.

    Both captioners caption the gate set with the settings that they ship with, and are compared by a paired bootstrap.
    """
    from wordgaze.cli.registry_tables import print_decision
    from wordgaze.core.errors import ParamsError, TrackingError
    from wordgaze.tracking.names import champion_address, model_name
    from wordgaze.tracking.promotion import promote as promote_challenger
    from wordgaze.tracking.promotion import roll_back

    if rollback and (force or new_data or data is not None or metric is not None or confidence is not None):
        raise ParamsError("--rollback compares nothing; give it with --reason alone")
    if rollback:
        decision = roll_back(reason)
    else:
        decision = promote_challenger(
            data=data, metric=metric, confidence=confidence, new_data=new_data, force=force, reason=reason
        )
    print_decision(decision)
    if decision.outcome == "refused":
        raise TrackingError(f"version {decision.version} is not promoted: {decision.why}")
    typer.echo(f"{decision.outcome}: {decision.why}")
    typer.echo(f"{model_name()} version {decision.version} is the champion: --model {shlex.quote(champion_address())}")


@app.command(rich_help_panel=PANEL)
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all scores and decisions.")] = False,
) -> None:
    """List the registered versions: aliases, scores, what they were trained on, and the last decision about each."""
    from wordgaze.cli.registry_tables import print_versions
    from wordgaze.core.files import stable_json
    from wordgaze.tracking.names import model_name, tracking_params
    from wordgaze.tracking.versions import registered_versions

    versions = registered_versions()
    if as_json:
        typer.echo(stable_json([one.model_dump(mode="json") for one in versions]))
    elif versions:
        print_versions(versions, model_name(), tracking_params().gate.metric)
    else:
        typer.echo(f"{model_name()} has no versions; run `wordgaze register`")


@app.command(cls=GenerationCommand, rich_help_panel=PANEL)
@generation_options()
def pack(
    captioner: Annotated[
        str,
        typer.Argument(
            metavar="CAPTIONER", help="A captioner folder, or an address of the registry.", show_default=False
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write.", show_default=False)],
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
