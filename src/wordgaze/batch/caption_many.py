"""Captions the images of a bucket, a list or a table in partitions, on this machine or on a cluster."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from importlib.util import find_spec
from operator import add
from pathlib import Path
from typing import Literal, NamedTuple

from wordgaze.batch.addresses import image_addresses
from wordgaze.batch.run import BatchRun, PartitionCounts, RunCard, open_run
from wordgaze.batch.worker import WorkerSettings, caption_partition, captioner_checksum
from wordgaze.core.errors import DistributedError
from wordgaze.core.printable import count_noun
from wordgaze.core.progress import counter
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.outliers import warn_of_outliers

PARTITION_SIZE = 1000

_PACKAGES = {"ray": "ray", "spark": "pyspark"}  # of the engines

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is captioned.

    ``column`` is the column of the tables among the sources. ``cluster`` is the address of a Ray cluster or the master
    of Spark. With ``retry_failures`` the partitions in which images failed are captioned again.
    """

    engine: Literal["local", "ray", "spark"] = "local"
    cluster: str | None = None
    column: str | None = None
    partition_size: int = PARTITION_SIZE
    retry_failures: bool = False


class BatchResult(NamedTuple):
    """How many images a run has captioned and failed to caption, in all its commands, and the folder of failures."""

    captioned: int
    failed: int
    failures: str


def caption_many(
    sources: Sequence[str],
    output: str,
    folder: Path,
    generation_config: GenerationConfig,
    seed: int = 0,
    options: BatchOptions | None = None,
) -> BatchResult:
    """Captions the images of ``sources`` into the folder or address ``output`` with the captioner in ``folder``.

    The layout of the output is that of :mod:`wordgaze.batch.run`. Partitions that are done are left as they are, so
    that an interrupted run is continued by the same call, whatever the engine is.

    Raises DataError for sources without images, CaptionsError for a run with another captioner, other settings or
    other images, ModelError for a folder without a captioner, ModuleNotFoundError for an engine that is not installed,
    and DistributedError if an engine gives up.
    """
    options = options or BatchOptions()
    if (package := _PACKAGES.get(options.engine)) and find_spec(package) is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    card = RunCard(
        captioner=captioner_checksum(folder), generation=generation_config, seed=seed, images="", num_images=0,
        partition_size=options.partition_size,
    )  # fmt: skip
    run, addresses = open_run(output), image_addresses(sources, options.column)
    if run.exists():
        run.check(addresses, card)
    else:
        run.begin(addresses, card)
    counts = run.counts()
    kept = {number for number, each in counts.items() if not (options.retry_failures and each.failed)}
    missing = [number for number in range(run.card.num_partitions) if number not in kept]
    if kept:
        _log.info("%s: continuing; %d of %d partitions are done", output, len(kept), run.card.num_partitions)
    if missing:
        _caption(run, missing, folder, options)
        counts = run.counts()
    return _result(run, counts, folder)


def _caption(run: BatchRun, partitions: Sequence[int], folder: Path, options: BatchOptions) -> None:
    settings, total = WorkerSettings(run.output, run.card), run.card.num_images
    with counter("caption") as report:
        done = 0

        def count(partition: int) -> None:
            nonlocal done
            done += 1
            report(min(total, (run.card.num_partitions - len(partitions) + done) * run.card.partition_size), total)

        if options.engine == "ray":
            from wordgaze.batch.ray_engine import caption_by_ray

            caption_by_ray(folder, partitions, settings, options.cluster, count)
        elif options.engine == "spark":
            from wordgaze.batch.spark_engine import caption_by_spark

            caption_by_spark(folder, partitions, settings, options.cluster)
        else:
            from wordgaze.inference.captioner import Captioner

            captioner = Captioner.load(folder)
            for number in partitions:
                caption_partition(number, captioner, settings)
                count(number)


def _result(run: BatchRun, counts: dict[int, PartitionCounts], folder: Path) -> BatchResult:
    """Raises DistributedError if a partition is not done: two runs may have written it at the same time."""
    if lacking := run.card.num_partitions - len(counts):
        raise DistributedError(f"{run.output}: {count_noun(lacking, 'partition')} not done; run the same command again")
    total = reduce(add, counts.values(), PartitionCounts())
    if total.outliers:
        from wordgaze.inference.captioner_folder import read_card

        warn_of_outliers("the image", total.outliers, total.captioned, read_card(folder).dataset)
    return BatchResult(total.captioned, total.failed, run.failures)
