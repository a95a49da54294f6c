"""The registry: versions of the captioner; ``challenger`` is the newest, ``champion`` the one to use."""

from pathlib import Path
from typing import TYPE_CHECKING

from wordgaze.core import paths
from wordgaze.core.errors import TrackingError
from wordgaze.core.files import atomic_directory, sha256
from wordgaze.tracking.evaluation import log_finished_evaluation
from wordgaze.tracking.package import ARTIFACT
from wordgaze.tracking.runs import COMMIT, DATASET, STAGE, WEIGHTS_TAG, newest_run
from wordgaze.tracking.store import Store, lock, open_store, quoted, translate_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

MODEL_NAME = "captioner"
CHALLENGER, CHAMPION = "challenger", "champion"
GATE = "test/beam/cider"
EVALUATE = "run `dvc repro -f -s evaluate`"


def register(captioner_folder: Path | None = None) -> int:
    """Registers the model that ``evaluate`` logged for these weights as a version, and makes it the challenger.

    The same weights give the same version again. An evaluation that DVC did not repeat, because its report was there
    already, is logged first. Raises TrackingError where these weights were not evaluated.
    """
    folder = captioner_folder or paths.STAGE2
    weights = folder / "weights.safetensors"
    if not weights.is_file():
        raise TrackingError(f"{weights} is missing, so there is no captioner to register; run `dvc repro`")
    store = open_store()
    run = _evaluation(store, sha256(weights))
    if run is None:
        log_finished_evaluation(folder)
        run = _evaluation(store, sha256(weights))
    model_id = _model_of(run) if run else None
    if run is None or model_id is None:
        raise TrackingError(f"no finished evaluate run has logged the model of {weights}; {EVALUATE}")
    tags = {key: run.data.tags[key] for key in (WEIGHTS_TAG, DATASET, COMMIT) if key in run.data.tags}
    if DATASET not in tags:
        raise TrackingError(f"the evaluate run {run.info.run_id} has no tag {DATASET!r} to compare by; {EVALUATE}")
    with translate_errors("register the captioner"), lock():
        version = _registered(store, tags[WEIGHTS_TAG]) or _new_version(store, run.info.run_id, model_id, tags)
        _describe(store, version, run, tags)
        store.client.set_registered_model_alias(MODEL_NAME, CHALLENGER, str(version))
    return version


def promote(force: bool = False) -> int:
    """Makes the challenger the champion and returns its version.

    Raises TrackingError where there is no challenger, and, without ``force``, where its test CIDEr is below the
    champion's on the same data set, or where the two were not measured on the same one.
    """
    store = open_store(create=False)
    with translate_errors("promote the challenger"), lock():
        challenger, champion = _version_of(store, CHALLENGER), _version_of(store, CHAMPION)
        if challenger is None:
            raise TrackingError(f"{MODEL_NAME} has no {CHALLENGER}; run `wordgaze register` first")
        if champion is not None and not force:
            _gate(store, challenger, champion)
        store.client.set_registered_model_alias(MODEL_NAME, CHAMPION, challenger.version)
        store.client.delete_registered_model_alias(MODEL_NAME, CHALLENGER)
    return int(challenger.version)


def fetch_model(address: str) -> Path:
    """The captioner folder inside a registered model: ``models:/captioner@champion``, ``models:/captioner/3``.

    A model is brought here once and then kept in the scratch folder. Raises TrackingError for an unknown address.
    """
    open_store(create=False)
    from mlflow.artifacts import download_artifacts
    from mlflow.models import get_model_info

    with translate_errors(f"find {address}", "see `mlflow ui` for what is registered, or run `wordgaze register`"):
        info = get_model_info(address)
    place: str | None = info.flavors.get("python_function", {}).get("artifacts", {}).get(ARTIFACT, {}).get("path")
    if place is None:
        raise TrackingError(
            f"{address} is not a captioner; give the address of one, such as models:/{MODEL_NAME}@{CHAMPION}"
        )
    folder = paths.scratch("fetched") / info.model_id
    with translate_errors(f"fetch {address}"), lock():
        if not folder.exists():
            with atomic_directory(folder) as temporary:
                download_artifacts(f"{address}/{place}", dst_path=str(temporary))
    return folder / place


def _evaluation(store: Store, weights: str, **tags: str) -> "Run | None":
    return newest_run(store, {STAGE: "evaluate", WEIGHTS_TAG: weights, **tags})


def _model_of(run: "Run") -> str | None:
    return run.outputs.model_outputs[-1].model_id if run.outputs and run.outputs.model_outputs else None


def _registered(store: Store, weights: str) -> int | None:
    found = store.client.search_model_versions(f"name = '{MODEL_NAME}' and tags.`{WEIGHTS_TAG}` = {quoted(weights)}")
    return int(found[0].version) if found else None


def _new_version(store: Store, run_id: str, model_id: str, tags: dict[str, str]) -> int:
    client = store.client
    if not client.search_registered_models(f"name = '{MODEL_NAME}'"):
        client.create_registered_model(MODEL_NAME, description="Captions an image and shows where each word looked.")
    version = client.create_model_version(MODEL_NAME, f"models:/{model_id}", run_id, tags, model_id=model_id)
    return int(version.version)


def _describe(store: Store, version: int, run: "Run", tags: dict[str, str]) -> None:
    """Describes the version by its newest evaluation: a version registered earlier may have been evaluated again."""
    for key, value in tags.items():
        store.client.set_model_version_tag(MODEL_NAME, str(version), key, value)
    score = run.data.metrics.get(GATE)
    measured = "not measured" if score is None else f"{score:.3f}"
    store.client.update_model_version(
        MODEL_NAME, str(version), f"Test CIDEr on {tags[DATASET]} {measured} (beam); weights {tags[WEIGHTS_TAG][:12]}."
    )


def _version_of(store: Store, alias: str) -> "ModelVersion | None":
    models = store.client.search_registered_models(f"name = '{MODEL_NAME}'")
    number = models[0].aliases.get(alias) if models else None
    return store.client.get_model_version(MODEL_NAME, str(number)) if number else None


def _gate(store: Store, challenger: "ModelVersion", champion: "ModelVersion") -> None:
    dataset = challenger.tags[DATASET]
    scores = []
    for alias, version in ((CHALLENGER, challenger), (CHAMPION, champion)):
        run = _evaluation(store, version.tags[WEIGHTS_TAG], **{DATASET: dataset})
        if run is None or GATE not in run.data.metrics:
            raise TrackingError(
                f"the {alias} (version {version.version}) has no {GATE} on {dataset}, the challenger's data set; "
                "evaluate it there, or promote with --force"
            )
        scores.append(run.data.metrics[GATE])
    if not scores[0] >= scores[1]:  # a NaN fails the gate
        raise TrackingError(
            f"the challenger (version {challenger.version}) has {GATE} {scores[0]:.6g} on {dataset}, below the "
            f"champion's {scores[1]:.6g} (version {champion.version}); promote it anyway with --force"
        )
