"""MLflow runs: each stage is a child run of one parent run per pass through the pipeline.

Each stage is a separate process, so the parent run is found by a tag. Its id is random: were it passed on in an output
of DVC, every later stage would run again.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordgaze.config.params import load_params
from wordgaze.core import paths
from wordgaze.core.errors import ParamsError, TrackingError
from wordgaze.core.files import fingerprint
from wordgaze.tracking.cost import measured_cost
from wordgaze.tracking.processes import process_tags
from wordgaze.tracking.store import Store, lock, open_store, quoted, translate_errors
from wordgaze.tracking.system_metrics import monitored

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PIPELINE_TAG = "wordgaze.pipeline"  # the tag that names a parent
STAGE = "stage"
WEIGHTS_TAG = "weights.sha256"
DATASET = "dataset"
EVALUATED_ON = "evaluated_on.fingerprint"
COMMIT = "git.commit"
_NO_COMMIT = "no-commit"


@dataclass(frozen=True)
class StageRun:
    """The active run of one stage. Its methods raise TrackingError where the store cannot be written."""

    client: "MlflowClient"
    run_id: str
    parent_id: str

    def metrics(self, values: Mapping[str, float], step: int = 0, parent: bool = False) -> None:
        """Logs several metrics at one step: an epoch, an update, or 0 for what is measured once.

        With ``parent`` they are logged to the parent run too, by which passes through the pipeline are compared.
        """
        from mlflow.entities import Metric
        from mlflow.utils.validation import MAX_METRICS_PER_BATCH as MOST

        now = time.time_ns() // 1_000_000
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        with translate_errors("log metrics"):
            for run_id in (self.run_id, self.parent_id) if parent else (self.run_id,):
                for start in range(0, len(metrics), MOST):
                    self.client.log_batch(run_id, metrics=metrics[start : start + MOST])

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Logs a file, or a folder under its name, into ``folder`` of the run's artifacts."""
        with translate_errors(f"log the artifact {path}"):
            self.client.log_artifact(self.run_id, str(path), folder)

    def tag(self, key: str, value: str) -> None:
        """Sets a tag, by which :func:`find_stage_run` finds the run."""
        with translate_errors(f"set the tag {key}"):
            self.client.set_tag(self.run_id, key, value)


@contextmanager
def stage_run(stage: str, params: Mapping[str, Any]) -> Iterator[StageRun]:
    """Opens a run named ``stage`` under the pipeline's parent run, which it finds or makes.

    ``params`` are the sections of params.yaml that the stage reads, ``{"train_stage1": {"learning_rate": 0.001}}``;
    nested keys are joined with dots. They are logged to the parent too. An exception in the block ends run and parent
    as FAILED, Ctrl-C or SIGTERM as KILLED, and goes on; else both end as FINISHED. Raises TrackingError where the store
    cannot be opened or written.
    """
    store = open_store()
    tags = _origin()
    with translate_errors(f"start the run of {stage}"):
        with lock():
            parent = _parent(store, tags)
        tags |= {STAGE: stage, "mlflow.parentRunId": parent, **process_tags()}
        run_id = store.client.create_run(store.experiment, tags=tags, run_name=stage).info.run_id
    run = StageRun(store.client, run_id, parent)
    try:
        with translate_errors("log the parameters"):
            _log_params(run, params)
        with monitored(run), measured_cost(run):
            yield run
    except BaseException as error:
        try:
            _end(run, "FAILED" if isinstance(error, Exception) else "KILLED")
        except TrackingError as second:  # the first error is the cause, and is the one to report
            error.add_note(str(second))
        raise
    _end(run, "FINISHED")


def find_stage_run(tag: str, value: str, stage: str | None = None) -> str | None:
    """The id of the newest finished run with this tag, of ``stage`` where given; None where there is none."""
    tags = {tag: value} | ({STAGE: stage} if stage else {})
    run = newest_run(open_store(), tags)
    return run.info.run_id if run else None


def newest_run(store: Store, tags: Mapping[str, str], before: int | None = None) -> "Run | None":
    """The newest finished run of the experiment with all these tags that began ``before`` a time in milliseconds."""
    if not store.experiment:
        return None
    wanted = ["attributes.status = 'FINISHED'"] + [f"tags.`{key}` = {quoted(value)}" for key, value in tags.items()]
    wanted += [f"attributes.start_time < {before}"] if before is not None else []
    with translate_errors("search the runs"):
        newest = store.client.search_runs(
            [store.experiment], " and ".join(wanted), max_results=1, order_by=["attributes.start_time DESC"]
        )
    return newest[0] if newest else None


def _parent(store: Store, origin: Mapping[str, str]) -> str:
    """The id of the parent run, now RUNNING. Call it under the lock."""
    key = _pipeline(origin)
    found = store.client.search_runs([store.experiment], f"tags.`{PIPELINE_TAG}` = {quoted(key)}", max_results=1)
    tags = {PIPELINE_TAG: key, **origin, **process_tags()}
    if not found:
        return str(store.client.create_run(store.experiment, tags=tags, run_name=_parent_name(origin)).info.run_id)
    run_id: str = found[0].info.run_id
    for tag, value in process_tags().items():  # before the status: a run with an ended process counts as killed
        store.client.set_tag(run_id, tag, value)
    store.client.update_run(run_id, status="RUNNING")
    return run_id


def _pipeline(origin: Mapping[str, str]) -> str:
    """The name that all stages of a pass share: that of the DVC experiment or the commit, and a hash of the params."""
    params = paths.PARAMS.read_text(encoding="utf-8", errors="replace") if paths.PARAMS.exists() else ""
    return f"{os.environ.get('DVC_EXP_NAME') or origin[COMMIT][:12]}-{fingerprint(params)}"


def _parent_name(origin: Mapping[str, str]) -> str:
    """The name that people see: that of the DVC experiment, or the data set and the commit, ``scenes-4963830``."""
    if experiment := os.environ.get("DVC_EXP_NAME"):
        return experiment
    commit = origin[COMMIT]
    try:
        dataset: str = load_params(paths.PARAMS).dataset.name
    except ParamsError:
        dataset = "pipeline"
    return f"{dataset}-{commit if commit == _NO_COMMIT else commit[:7]}"


def _origin() -> dict[str, str]:
    """Tags for the commit and the DVC experiment that a run comes from; they are the same on every machine."""
    given = {"dvc.experiment": "DVC_EXP_NAME", "dvc.baseline": "DVC_EXP_BASELINE_REV"}
    return {COMMIT: _commit()} | {tag: os.environ[name] for tag, name in given.items() if os.environ.get(name)}


def _commit() -> str:
    try:
        git = subprocess.run(["git", "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, no repository, or nothing committed yet
        return _NO_COMMIT
    return git.stdout.strip()


def _log_params(run: StageRun, params: Mapping[str, Any]) -> None:
    from mlflow.entities import Param
    from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH as LONGEST
    from mlflow.utils.validation import MAX_PARAMS_TAGS_PER_BATCH as MOST

    entries = [Param(key, value[:LONGEST]) for key, value in _flat(params)]
    of_parent = run.client.get_run(run.parent_id).data.params  # MLflow refuses another value of a param
    new = [entry for entry in entries if entry.key not in of_parent]
    for run_id, logged in ((run.run_id, entries), (run.parent_id, new)):
        for start in range(0, len(logged), MOST):
            run.client.log_batch(run_id, params=logged[start : start + MOST])


def _flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, list | tuple) else str(value)


def _end(run: StageRun, status: str) -> None:
    with translate_errors("end the run"):
        run.client.set_terminated(run.run_id, status)
        run.client.set_terminated(run.parent_id, status)
