"""The registry: versions of the captioner; ``challenger`` is the newest, ``champion`` the one to use."""

from pathlib import Path
from typing import TYPE_CHECKING

from wordgaze.core import paths
from wordgaze.core.errors import TrackingError
from wordgaze.core.files import sha256
from wordgaze.tracking.evaluation import log_finished_evaluation
from wordgaze.tracking.names import CHALLENGER, CHAMPION, model_name
from wordgaze.tracking.runs import COMMIT, DATASET, EVALUATED_ON, STAGE, WEIGHTS_TAG, newest_run
from wordgaze.tracking.store import Store, lock, open_store, quoted, translate_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

GATE = "test/beam/cider"
EVALUATE = "run `dvc repro -f -s evaluate`"


def register(captioner_folder: Path | None = None) -> int:
    """Registers the model that ``evaluate`` logged for these weights as a version, and makes it the challenger.

    The registered model has the name ``tracking.model_name`` of params.yaml. The same weights give the same version
    again. An evaluation that DVC did not repeat, because its report was there already, is logged first. Raises
    TrackingError where these weights were not evaluated.
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
        raise TrackingError(f"no finished evaluate run has logged the model of {weights}; {EVALUATE}")
    kept = (WEIGHTS_TAG, DATASET, EVALUATED_ON, COMMIT)
    tags = {key: run.data.tags[key] for key in kept if key in run.data.tags}
    if DATASET not in tags:
        raise TrackingError(f"the evaluate run {run.info.run_id} has no tag {DATASET!r} to compare by; {EVALUATE}")
    registered = _RegisteredModel(store, name)
    with translate_errors(f"register {name}"), lock():
        version = registered.with_weights(tags[WEIGHTS_TAG]) or registered.add(run.info.run_id, model_id, tags)
        registered.describe(version, run, tags)
        store.client.set_registered_model_alias(name, CHALLENGER, str(version))
    return version


def promote(force: bool = False) -> int:
    """Makes the challenger the champion and returns its version.

    Raises TrackingError where there is no challenger, and, without ``force``, where its test CIDEr is below the
    champion's, or where the two were not measured on the same split: the same images, references and tokenizer.
    """
    store, name = open_store(create=False), model_name()
    registered = _RegisteredModel(store, name)
    with translate_errors(f"promote the challenger of {name}"), lock():
        challenger, champion = registered.version_of(CHALLENGER), registered.version_of(CHAMPION)
        if challenger is None:
            raise TrackingError(f"{name} has no {CHALLENGER}; run `wordgaze register` first")
        if champion is not None and not force:
            _gate(store, challenger, champion)
        store.client.set_registered_model_alias(name, CHAMPION, challenger.version)
        store.client.delete_registered_model_alias(name, CHALLENGER)
    return int(challenger.version)


def _evaluation(store: Store, weights: str) -> "Run | None":
    return newest_run(store, {STAGE: "evaluate", WEIGHTS_TAG: weights})


def _model_of(run: "Run") -> str | None:
    return run.outputs.model_outputs[-1].model_id if run.outputs and run.outputs.model_outputs else None


class _RegisteredModel:
    """A registered model of the store and its versions."""

    def __init__(self, store: Store, name: str) -> None:
        self.client, self.name = store.client, name

    def with_weights(self, weights: str) -> int | None:
        """The version with these weights."""
        wanted = f"name = {quoted(self.name)} and tags.`{WEIGHTS_TAG}` = {quoted(weights)}"
        found = self.client.search_model_versions(wanted)
        return int(found[0].version) if found else None

    def add(self, run_id: str, model_id: str, tags: dict[str, str]) -> int:
        """A new version; the registered model itself is made where it is missing."""
        if not self.client.search_registered_models(f"name = {quoted(self.name)}"):
            about = "Captions an image and shows where each word looked."
            self.client.create_registered_model(self.name, description=about)
        source = f"models:/{model_id}"
        return int(self.client.create_model_version(self.name, source, run_id, tags, model_id=model_id).version)

    def describe(self, version: int, run: "Run", tags: dict[str, str]) -> None:
        """Describes a version by its newest evaluation: one registered earlier may have been evaluated again."""
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, str(version), key, value)
        score = run.data.metrics.get(GATE)
        measured = "not measured" if score is None else f"{score:.3f}"
        about = f"Test CIDEr on {tags[DATASET]} {measured} (beam); weights {tags[WEIGHTS_TAG][:12]}."
        self.client.update_model_version(self.name, str(version), about)

    def version_of(self, alias: str) -> "ModelVersion | None":
        """The version that has an alias."""
        models = self.client.search_registered_models(f"name = {quoted(self.name)}")
        number = models[0].aliases.get(alias) if models else None
        return self.client.get_model_version(self.name, str(number)) if number else None


def _gate(store: Store, challenger: "ModelVersion", champion: "ModelVersion") -> None:
    """Raises TrackingError unless the challenger scores at least as high as the champion on the challenger's split."""
    split = challenger.tags.get(EVALUATED_ON)
    if split is None:
        raise TrackingError(
            f"{_shown(CHALLENGER, challenger)} was evaluated by an older wordgaze, which did not record on which "
            f"images; {EVALUATE} and `wordgaze register`, or promote with --force"
        )
    if not _evaluations(store, champion, split):
        raise TrackingError(
            f"{_shown(CHALLENGER, challenger)} and {_shown(CHAMPION, champion)} were not measured on the same images "
            "and references, so they are not comparable; evaluate both on the same ones, or promote with --force"
        )
    new, old = _score(store, CHALLENGER, challenger, split), _score(store, CHAMPION, champion, split)
    if not new >= old:  # a NaN fails the gate
        raise TrackingError(
            f"{_shown(CHALLENGER, challenger)} has {GATE} {new:.6g}, below {old:.6g} of "
            f"{_shown(CHAMPION, champion)}; promote it anyway with --force"
        )


def _evaluations(store: Store, version: "ModelVersion", split: str) -> "list[Run]":
    """The newest evaluations of a version on a split, in this experiment and in that which it was registered from."""
    tags = {STAGE: "evaluate", WEIGHTS_TAG: version.tags[WEIGHTS_TAG], EVALUATED_ON: split}
    registered = store.client.get_run(version.run_id).info.experiment_id if version.run_id else ""
    found = (newest_run(Store(store.client, each), tags) for each in dict.fromkeys([store.experiment, registered]))
    return [run for run in found if run]


def _score(store: Store, alias: str, version: "ModelVersion", split: str) -> float:
    for run in _evaluations(store, version, split):
        if GATE in run.data.metrics:
            return float(run.data.metrics[GATE])
    raise TrackingError(
        f"{_shown(alias, version)} has no {GATE}; evaluate it with evaluate.split=test, or promote with --force"
    )


def _shown(alias: str, version: "ModelVersion") -> str:
    return f"the {alias} (version {version.version}, {version.tags.get(DATASET, 'unknown data')})"
