"""The captioner as an MLflow model that runs where wordgaze is not installed."""

import base64
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordgaze.core.errors import TrackingError
from wordgaze.core.files import sha256
from wordgaze.core.leftovers import temporary_folder
from wordgaze.inference.captioner_folder import read_card
from wordgaze.inference.packaged import PHOTOS
from wordgaze.text.tokenizers import STORED
from wordgaze.tracking.runs import WEIGHTS_TAG, StageRun
from wordgaze.tracking.store import translate_errors

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Dataset
    from mlflow.models import ModelSignature

    from wordgaze.generation.config import GenerationConfig

ARTIFACT = "captioner"
_CODE = Path(__file__).parents[1]
PYFUNC_MODEL = Path(__file__).with_name("pyfunc_model.py")
REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pydantic",
    "regex",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
)


def log_captioner(
    run: StageRun,
    captioner_folder: Path,
    example_image: Path,
    metrics: Mapping[str, float],
    decode: "GenerationConfig | None" = None,
    dataset: "Dataset | None" = None,
) -> str:
    """Logs a captioner folder, with the code that runs it, as a model of this run; returns the model's address.

    The model takes the fields of ``decode`` as params, by default as they are there but for ``num``, so that it
    captions as it was measured; and ``seed`` and ``attention``. ``metrics`` are logged to the run, to its parent and to
    the model, there as measured on ``dataset``. The run is tagged with the checksum of the weights. The model captions
    ``example_image`` before its address is returned, so an error of the captioner surfaces here.
    """
    import mlflow
    import pandas as pd

    from wordgaze.generation.config import GenerationConfig

    weights = captioner_folder / "weights.safetensors"
    if not weights.is_file():
        raise TrackingError(f"{weights} is missing, so there is no captioner to package; run `dvc repro`")
    example = pd.DataFrame({"image": [base64.b64encode(example_image.read_bytes()).decode()]})
    with _unchanged_sys_path(), translate_errors(f"package {captioner_folder}"), _code() as code:
        with mlflow.start_run(run_id=run.run_id, nested=True, log_system_metrics=False):
            info = mlflow.pyfunc.log_model(
                name=ARTIFACT, input_example=example, **_parts(captioner_folder, decode or GenerationConfig(), code)
            )
        run.client.update_run(run.run_id, status="RUNNING")  # MLflow's context manager has ended it
        _log_metrics(run, info.model_id, metrics, dataset)
    run.tag(WEIGHTS_TAG, sha256(weights))
    _check_prediction(info.model_uri, example)
    return str(info.model_uri)


def save_packaged(folder: Path, captioner_folder: Path) -> None:
    """Writes a captioner folder, with the code that runs it, as a model into a new folder, without a run.

    The model captions by the captioner's own settings unless a request has others.
    """
    import mlflow

    with translate_errors(f"package {captioner_folder}"), _code() as code:
        mlflow.pyfunc.save_model(str(folder), **_parts(captioner_folder, read_card(captioner_folder).generation, code))


def signature(decode: "GenerationConfig") -> "ModelSignature":
    """The signature of the packaged model; see ``pyfunc_model`` for its columns."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    kinds = {str: "string", bool: "boolean", int: "long", float: "double"}
    settings = decode.model_dump() | {
        "num_return_sequences": 1, "seed": 0, "attention": False, "on_error": "raise",
    }  # fmt: skip
    params = [
        ParamSpec(name, "string", list(value), shape=(-1,))
        if isinstance(value, tuple)
        else ParamSpec(name, kinds[type(value)], value)
        for name, value in settings.items()
    ]
    # What every row has: Spark takes these columns from each prediction, and lacks none. Those that only some params
    # add are not among them.
    outputs = [
        ColSpec(DataType.string, "caption", required=False),
        *(ColSpec(DataType.double, name, required=False) for name in ("log_prob", "score", "probability")),
        ColSpec(Array(DataType.string), "words"),
        ColSpec(Array(DataType.double), "word_log_probs"),
        ColSpec(DataType.double, "confidence", required=False),
        ColSpec(DataType.boolean, "is_outlier", required=False),
        ColSpec(DataType.string, "error", required=False),
    ]
    return ModelSignature(Schema([ColSpec("string", "image")]), Schema([*outputs]), ParamSchema(params))


@contextmanager
def _code() -> Iterator[Path]:
    """A copy of wordgaze's code without the captioners that come with it, which would be a part of every model."""
    with temporary_folder() as folder:
        aside = shutil.ignore_patterns("__pycache__", PHOTOS)
        yield shutil.copytree(_CODE, folder / _CODE.name, ignore=aside)


def _parts(captioner_folder: Path, decode: "GenerationConfig", code: Path) -> dict[str, Any]:
    card = read_card(captioner_folder)
    referred = [one.package.replace("_", "-") for one in card.encoder_weights if one]
    referred += [STORED[card.tokenizer].library] if card.tokenizer in STORED else []
    return {
        "python_model": str(PYFUNC_MODEL),
        "code_paths": [str(code)],
        "artifacts": {ARTIFACT: str(captioner_folder)},
        "signature": signature(decode),
        "pip_requirements": [f"{name}=={version(name).split('+')[0]}" for name in (*REQUIREMENTS, *referred)],
    }


def _log_metrics(run: StageRun, model_id: str, metrics: Mapping[str, float], dataset: "Dataset | None") -> None:
    from mlflow.entities import Metric

    now = time.time_ns() // 1_000_000
    of_data = {"dataset_name": dataset.name, "dataset_digest": dataset.digest} if dataset else {}
    logged = [Metric(name, float(value), now, 0, model_id=model_id, **of_data) for name, value in metrics.items()]
    run.client.log_batch(run.run_id, metrics=logged)
    run.client.log_batch(run.parent_id, metrics=[Metric(name, float(v), now, 0) for name, v in metrics.items()])


def _check_prediction(uri: str, example: "pd.DataFrame") -> None:
    """Predicts the example once: MLflow does so too, but writes a failure only to its log."""
    import mlflow

    with _unchanged_sys_path(), temporary_folder() as folder:  # loading it in place would leave bytecode in the model
        mlflow.pyfunc.load_model(uri, dst_path=str(folder)).predict(example)


@contextmanager
def _unchanged_sys_path() -> Iterator[None]:
    """Restores ``sys.path``: loading a model puts the model's copy of wordgaze first on it."""
    before: list[Any] = sys.path.copy()
    try:
        yield
    finally:
        sys.path[:] = before
