"""The command that captions images by the thousand or million: caption-many."""

from typing import Annotated, Any, Literal

import typer

from wordgaze.cli.models import resolve_captioner
from wordgaze.cli.options import (
    GenerationCommand,
    Model,
    Seed,
    generation_config,
    generation_options,
    refuse_unused,
    sampling_seed,
)
from wordgaze.core.printable import count_noun

PANEL = "Captions"

app = typer.Typer()


@app.command(cls=GenerationCommand, rich_help_panel=PANEL)
@generation_options()
def caption_many(
    settings: dict[str, Any],
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCES",
            help="Folders, also of a bucket such as s3://bucket/photos; tables (.parquet, .csv, .tsv) with a column of "
            "addresses or, in Parquet, of images; text files with one address per line; images.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="The folder to write, or its address. A run in it is continued.", show_default=False
        ),
    ],
    model: Model = None,
    engine: Annotated[
        Literal["local", "ray", "spark"],
        typer.Option(help="local: this process. ray: Ray Data. spark: Spark."),
    ] = "local",
    cluster: Annotated[
        str | None,
        typer.Option(
            help="The address of a Ray cluster, or the master of Spark. By default that of RAY_ADDRESS, or of Spark's "
            "configuration, else the cores of this machine.",
            show_default=False,
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="The column of addresses or images. By default one named address, url, uri, path or image."),
    ] = None,
    partition_size: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Images per partition, which is written at once.")
    ] = 1000,
    retry_failures: Annotated[
        bool, typer.Option("--retry-failures", help="Caption the partitions again in which images failed.")
    ] = False,
    seed: Seed = None,
) -> None:
    """Caption the images of a bucket, a table or a list, also on a cluster.

    Writes Parquet files: one row per caption in OUTPUT/captions, one row per image that could not be captioned in
    OUTPUT/failures. The same command continues an interrupted run: partitions that are done are kept.
    """
    from wordgaze.batch.caption_many import BatchOptions
    from wordgaze.batch.caption_many import caption_many as caption_batch

    refuse_unused(("--cluster", cluster is not None, engine != "local", "--engine ray or spark"))
    resolved = resolve_captioner(model)
    config = generation_config(settings, resolved.folder)
    options = BatchOptions(engine, cluster, column, partition_size, retry_failures)
    result = caption_batch(sources, output, resolved.folder, config, sampling_seed(seed, config), options)
    failed = f"; {result.failed:,} could not be captioned, see {result.failures}" if result.failed else ""
    typer.echo(f"{output}: {count_noun(result.captioned, 'image')} captioned{failed}")
