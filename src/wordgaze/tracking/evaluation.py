"""Logs an evaluation to MLflow: the report, its scores, and the captioner as a model.

Everything is read from ``reports/`` and ``models/``. So an evaluation that DVC did not repeat, as in a clone with an
MLflow store of its own, is logged in the same way as a new one.
"""

from pathlib import Path

from wordgaze.core import paths
from wordgaze.core.errors import TrackingError
from wordgaze.core.files import sha256, stable_json
from wordgaze.evaluation.results import EvaluationDetails, EvaluationReport
from wordgaze.inference.captioner_folder import read_card
from wordgaze.tracking.card import make_model_card, training_costs, with_model_card
from wordgaze.tracking.lineage import link_captioner, log_splits
from wordgaze.tracking.package import log_captioner
from wordgaze.tracking.runs import DATASET, WEIGHTS_TAG, StageRun, find_stage_run, stage_run
from wordgaze.tracking.split_fingerprint import evaluated_data
from wordgaze.tracking.store import open_store

LOGGED = ("evaluation.json", "details.json", "evaluation.html", "captions.csv", "attention")

SCORES_TAG = "evaluation.scores"
"""The tag with the scores of the evaluated strategy as JSON: ``{"cider": [value, low, high], …}``."""


def log_evaluation(run: StageRun) -> None:
    """Logs ``reports/`` and the captioner that was evaluated, with its scores as ``{split}/{strategy}/{score}``.

    Raises DataError where ``reports/evaluation.json`` or the data cannot be read, TrackingError where the data are not
    those of the report.
    """
    report = EvaluationReport.load(paths.REPORTS / "evaluation.json")
    run.tag(DATASET, report.dataset)
    for key, value in evaluated_data(report).items():
        run.tag(key, value)
    run.tag(SCORES_TAG, _scores(report))
    trained = find_stage_run(WEIGHTS_TAG, report.weights, stage="train_stage2")
    if trained:
        run.tag("train_run_id", trained)
    for name in LOGGED:
        if (paths.REPORTS / name).exists():  # a clone without DVC's cache lacks the page
            run.artifact(paths.REPORTS / name, "reports")
    scores = {
        f"{report.split}/{strategy}/{name}": value
        for strategy, of_strategy in report.scores.items()
        for name, value in of_strategy.items()
    }
    example = min((paths.RAW / "images").iterdir())
    card = make_model_card(
        paths.STAGE2.as_posix(),
        read_card(paths.STAGE2),
        report.weights,
        "wordgaze register",
        training_costs(open_store(), report.weights),
    )
    with with_model_card(paths.STAGE2, card) as folder:
        for name in card.files():
            run.artifact(folder / name)
        [data] = log_splits(run, report.dataset, [report.split])
        uri = log_captioner(run, folder, example, scores, report.generation, data)
    link_captioner(run, uri.rpartition("/")[2], trained, {DATASET: report.dataset, WEIGHTS_TAG: report.weights})


def log_finished_evaluation(captioner_folder: Path) -> None:
    """Makes a run of an evaluation that is not in the store.

    Raises TrackingError where ``reports/evaluation.json`` is missing or belongs to other weights.
    """
    path = paths.REPORTS / "evaluation.json"
    report = EvaluationReport.load(path) if path.is_file() else None
    if report is None or report.weights != sha256(captioner_folder / "weights.safetensors"):
        raise TrackingError(
            f"no evaluation of {captioner_folder} is in MLflow or in {path}; run `dvc repro -f -s evaluate`"
        )
    settings = {"dataset": {"name": report.dataset}, "generation": report.generation.model_dump(mode="json")}
    with stage_run("evaluate", settings) as run:
        log_evaluation(run)


def _scores(report: EvaluationReport) -> str:
    """The value of SCORES_TAG; without intervals where ``reports/details.json`` is missing, as in a clone."""
    path = paths.REPORTS / "details.json"
    intervals = EvaluationDetails.load(path).intervals.get(report.system) if path.is_file() else None
    ends = {name: (one.low, one.high) for name, one in intervals.items()} if intervals else {}
    scores = report.scores[report.system].items()
    return stable_json({name: [value, *ends.get(name, (None, None))] for name, value in scores})
