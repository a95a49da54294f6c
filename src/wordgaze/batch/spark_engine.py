"""Captions partitions by Spark: a task captions one partition and writes its files."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordgaze.batch.worker import (
    WorkerSettings,
    caption_partition,
    captioner_files,
    engine_error,
    limit_threads,
    worker_captioner,
)

if TYPE_CHECKING:
    import pandas as pd

_FAILURES = 4  # of a task before Spark gives the job up, as on a cluster; a local master would not try again


def caption_by_spark(
    folder: Path, partitions: Sequence[int], settings: WorkerSettings, cluster: str | None = None
) -> None:
    """Captions partitions of a run with the captioner in ``folder``.

    ``cluster`` is a Spark master; by default that of the Spark configuration, as spark-submit sets it, or the cores of
    this machine. A worker uses as many threads as a task has cores (``spark.task.cpus``).

    Raises the error of wordgaze that ended a task, or DistributedError if Spark gives the job up for another reason.
    """
    session = _session(cluster)
    session.sparkContext.setLogLevel("ERROR")
    files = session.sparkContext.broadcast(captioner_files(folder))
    threads = int(session.conf.get("spark.task.cpus", "1"))
    numbers = list(partitions)

    def work(batches: "Iterator[pd.DataFrame]") -> "Iterator[pd.DataFrame]":
        limit_threads(threads)
        captioner = worker_captioner(settings.card.captioner, lambda: files.value)
        for batch in batches:
            for index in batch["id"]:
                caption_partition(numbers[index], captioner, settings)
            yield batch

    try:
        session.range(0, len(numbers), 1, len(numbers)).mapInPandas(work, "id long").count()
    except Exception as error:  # of pyspark and py4j, of several classes
        raise engine_error(error, "Spark") from error


def _session(cluster: str | None) -> Any:
    """The session of the program, which is made if there is none."""
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf = SparkConf()
    if cluster is not None or not conf.contains("spark.master"):
        conf.setMaster(cluster or f"local[*,{_FAILURES}]")
    if conf.get("spark.master", "").startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        conf.setIfMissing("spark.ui.enabled", "false")
    conf.setIfMissing("spark.app.name", "wordgaze")
    return SparkSession.builder.config(conf=conf).getOrCreate()
