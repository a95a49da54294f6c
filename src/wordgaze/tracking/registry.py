"""The registry: versions of the captioner; ``challenger`` is the newest, ``champion`` the one to use."""

from pathlib import Path
from typing import TYPE_CHECKING

from wordgaze.core import paths
from wordgaze.core.errors import TrackingError
from wordgaze.core.files import sha256
from wordgaze.tracking.alias_move import completing
from wordgaze.tracking.evaluation import SCORES_TAG, log_finished_evaluation
from wordgaze.tracking.names import CHALLENGER, model_name
from wordgaze.tracking.registered_model import CaptionerModel
from wordgaze.tracking.registry_claim import claimed
from wordgaze.tracking.runs import COMMIT, DATASET, EVALUATED_ON, STAGE, WEIGHTS_TAG, newest_run
from wordgaze.tracking.split_fingerprint import EVALUATED
from wordgaze.tracking.store import Store, open_store, translate_errors

if TYPE_CHECKING:
    from mlflow.entities import Run

_EVALUATE = "run `dvc repro -f -s evaluate`"
_KEPT = (WEIGHTS_TAG, DATASET, EVALUATED_ON, COMMIT, SCORES_TAG, *EVALUATED)


def register(captioner_folder: Path | None = None) -> int:
    """Registers the model that ``evaluate`` logged for these weights as a version, and makes it the challenger.

    The registered model has the name ``tracking.model_name`` of params.yaml. The same weights with the same decoding
    settings give the same version again. An evaluation that DVC did not repeat, because its report was there already,
    is logged first. Raises TrackingError where these weights were not evaluated.
    """
    folder = captioner_folder or paths.STAGE2
    name, weights = model_name(), folder / "weights.safetensors"
    if not weights.is_file():
        raise TrackingError(f"{weights} is missing, so there is no captioner to register; run `dvc repro`")
    store = open_store()
    run = _evaluation(store, sha256(weights))
    if run is None:
        log_finished_evaluation(folder)
        run = _evaluation(store, sha256(weights))
    model_id = _model_of(run) if run else None
    if run is None or model_id is None:
        raise TrackingError(f"no finished evaluate run has logged the model of {weights}; {_EVALUATE}")
    tags = {key: run.data.tags[key] for key in _KEPT if key in run.data.tags}
    if DATASET not in tags:
        raise TrackingError(
            f"the evaluate run {run.info.run_id} has no tag {DATASET!r} to tell its data by; {_EVALUATE}"
        )
    return _add(CaptionerModel(store, name), run, model_id, tags)


def _add(model: CaptionerModel, run: "Run", model_id: str, tags: dict[str, str]) -> int:
    """The version of an evaluated captioner, found or made. After a kill it is found and described again."""
    with translate_errors(f"register {model.name}"):
        model.create()
        with claimed(model, completing(model)) as claim:
            version = model.matching(tags)
            if version is None:
                claim.check()
                version = model.add(run.info.run_id, model_id, tags)
            model.tag_version(version, tags)  # one registered earlier may have been evaluated again
            model.describe(version, f"Trained on {tags[DATASET]}; weights {tags[WEIGHTS_TAG][:12]}.")
            model.set_alias(CHALLENGER, version)
    return version


def _evaluation(store: Store, weights: str) -> "Run | None":
    return newest_run(store, {STAGE: "evaluate", WEIGHTS_TAG: weights})


def _model_of(run: "Run") -> str | None:
    return run.outputs.model_outputs[-1].model_id if run.outputs and run.outputs.model_outputs else None
