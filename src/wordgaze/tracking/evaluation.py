"""An evaluation in MLflow: the report, its scores, and the captioner as a model.

All of it is read from ``reports/`` and ``models/``, so an evaluation that DVC found done already, in a clone with a
store of its own, is logged as well as one that has just been made.
"""

import json
from pathlib import Path
from typing import Any

from wordgaze.core import paths
from wordgaze.core.errors import TrackingError
from wordgaze.core.files import sha256
from wordgaze.generation.config import GenerationConfig
from wordgaze.tracking.package import log_captioner
from wordgaze.tracking.runs import DATASET, WEIGHTS, StageRun, find_stage_run, stage_run

LOGGED = ("evaluation.json", "details.json", "evaluation.html", "captions.csv", "attention")


def log_evaluation(run: StageRun, report: dict[str, Any]) -> None:
    """Logs ``reports/`` and the captioner that it is about, with the scores of the report."""
    run.tag(DATASET, report["dataset"])
    trained = find_stage_run(WEIGHTS, report["weights"], stage="train_stage2")
    if trained:
        run.tag("train_run_id", trained)
    for name in LOGGED:
        if (paths.REPORTS / name).exists():  # the page is DVC's: a clone without its cache has none
            run.artifact(paths.REPORTS / name, "reports")
    scores = {
        f"{report['split']}/{strategy}/{name}": value
        for strategy, of_one in report["decoding"].items()
        for name, value in of_one.items()
        if value is not None
    }
    example = min((paths.RAW / "images").iterdir())
    log_captioner(run, paths.STAGE2, example, scores, GenerationConfig.model_validate(report["decode"]))


def log_finished_evaluation(captioner_folder: Path) -> None:
    """Makes a run of an evaluation that is not in the store. Raises TrackingError where it is of other weights."""
    path = paths.REPORTS / "evaluation.json"
    weights = sha256(captioner_folder / "weights.safetensors")
    report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if report.get("weights") != weights:
        raise TrackingError(
            f"no evaluation of {captioner_folder} is in MLflow or in {path}; run `dvc repro -f -s evaluate`"
        )
    with stage_run("evaluate", {"dataset": {"name": report["dataset"]}, "decode": report["decode"]}) as run:
        log_evaluation(run, report)
