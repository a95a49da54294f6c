"""What a project recorded of a captioner's training: the evaluation, ``dvc.lock``, and what the stages cost."""

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from wordgaze.core import paths
from wordgaze.core.errors import DataError, ParamsError
from wordgaze.core.files import read_json
from wordgaze.evaluation.results import EvaluationDetails, EvaluationReport

_log = logging.getLogger(__name__)
_LOCK = Path("dvc.lock")


class StageCost(NamedTuple):
    """What one stage took. ``joules`` is None where the machine measures no energy; ``commit`` is that of the code."""

    stage: str
    seconds: float
    cpu_seconds: float
    joules: float | None
    machine: str
    commit: str
    earlier: bool = False
    """Whether the stage ran in an earlier pass, whose results DVC used again."""


@dataclass(frozen=True)
class TrainingRecords:
    """What a project recorded of a captioner's training. ``params`` has dotted keys; ``outputs`` are MD5 checksums."""

    report: EvaluationReport | None = None
    details: EvaluationDetails | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    costs: tuple[StageCost, ...] = ()

    @property
    def dataset(self) -> str:
        """The name of the data set; "" if it is not recorded."""
        return self.report.dataset if self.report else ""


def training_records(weights: str, costs: tuple[StageCost, ...] = ()) -> TrainingRecords:
    """The records of the project in the working directory, if it evaluated the weights with this SHA-256 checksum.

    ``costs`` are those of the stages, which are not in the project's files but in MLflow. A record that cannot be read,
    such as that of another version of wordgaze, is left out with a warning.
    """
    path = paths.REPORTS / "evaluation.json"
    try:
        report = EvaluationReport.load(path) if path.is_file() else None
        return _records(report, path, costs) if report and report.weights == weights else TrainingRecords()
    except (DataError, ParamsError) as error:
        _log.warning("%s; the model card is written without it", error)
        return TrainingRecords()


def _records(report: EvaluationReport, path: Path, costs: tuple[StageCost, ...]) -> TrainingRecords:
    details = path.with_name("details.json")
    summary = paths.PREPARED / "summary.json"
    params, outputs = _locked()
    return TrainingRecords(
        report=report,
        details=EvaluationDetails.load(details) if details.is_file() else None,
        params=params,
        outputs=outputs,
        counts=read_json(summary, "run dvc repro") if summary.is_file() else {},
        costs=costs,
    )


def _locked() -> tuple[dict[str, object], dict[str, str]]:
    """All parameters and the checksums of all outputs in dvc.lock; nothing where it or ruamel.yaml is missing."""
    if not _LOCK.is_file() or importlib.util.find_spec("ruamel") is None:
        return {}, {}
    from wordgaze.config.recipes import flatten
    from wordgaze.config.yaml_files import read_yaml

    lock: Any = read_yaml(_LOCK)
    stages = list(lock.get("stages", {}).values())
    params = [values for stage in stages for values in stage.get("params", {}).values()]
    outputs = {out["path"]: str(out.get("md5", "")) for stage in stages for out in stage.get("outs", ())}
    return {k: v for values in params for k, v in flatten(values)}, outputs
