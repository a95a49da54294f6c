"""The data of a run as MLflow's data sets, and the links from a captioner to its runs and its data."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordgaze.core import paths
from wordgaze.data.prepared import CAPTIONS
from wordgaze.tracking.store import translate_errors

if TYPE_CHECKING:
    from mlflow.entities import Dataset

    from wordgaze.tracking.runs import StageRun

_CONTEXT = "mlflow.data.context"
_MLFLOW_TYPES = {"int64": "long", "double": "double", "bool": "boolean"}  # from Arrow's; any other is text


def log_splits(run: "StageRun", dataset: str, splits: Sequence[str]) -> "list[Dataset]":
    """Logs splits of ``data/prepared`` as inputs of a run and of its parent, with the split as context.

    A split is named ``scenes/train``. Its digest is the hash that dvc.lock has of ``data/prepared``; the checksums of
    images and features are in its profile, as far as dvc.lock has them. Raises TrackingError where MLflow cannot.
    """
    from mlflow.entities import DatasetInput, InputTag

    digest = dvc_directory_hash(paths.PREPARED)
    found = [_dataset(dataset, split, digest) for split in splits]
    inputs = [DatasetInput(one, [InputTag(_CONTEXT, split)]) for one, split in zip(found, splits, strict=True)]
    with translate_errors("log the data set"):
        for run_id in (run.run_id, run.parent_id):
            run.client.log_inputs(run_id, inputs)
        run.client.set_tag(run.parent_id, "dataset", dataset)
    return found


def dvc_directory_hash(folder: Path) -> str:
    """The hash that DVC gives a folder, ``….dir``: the MD5 of the list of its files with their MD5s."""
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    entries = [{"md5": _md5(path), "relpath": name} for name, path in files]
    return hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest() + ".dir"


def link_captioner(run: "StageRun", model_id: str, training: str | None, tags: Mapping[str, str]) -> None:
    """Links a logged captioner to the parent of the run that evaluated it and to the run that trained it.

    MLflow shows it as an output of all three, and ``tags`` on its page.
    """
    from mlflow.entities import LoggedModelOutput

    related = {"parent_run_id": run.parent_id} | ({"train_run_id": training} if training else {})
    with translate_errors("link the model"):
        for run_id in related.values():
            run.client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
        run.client.set_logged_model_tags(model_id, {**related, **tags})


def _dataset(name: str, split: str, digest: str) -> "Dataset":
    from mlflow.entities import Dataset

    return Dataset(
        name=f"{name}/{split}",
        digest=digest,
        source_type="local",
        source=json.dumps({"uri": paths.PREPARED.as_posix()}),
        schema=json.dumps({"mlflow_colspec": _columns()}),
        profile=json.dumps(_counts(split) | _locked_hashes()),
    )


def _columns() -> list[dict[str, str | bool]]:
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(paths.PREPARED / CAPTIONS)
    return [
        {"type": _MLFLOW_TYPES.get(str(field.type), "string"), "name": field.name, "required": True} for field in schema
    ]


def _counts(split: str) -> dict[str, Any]:
    import pandas as pd

    images = pd.read_parquet(paths.PREPARED / CAPTIONS, columns=["split", "image"]).query("split == @split")["image"]
    return {"num_rows": len(images), "num_images": int(images.nunique())}


def _locked_hashes() -> dict[str, str]:
    """The hashes of images and features that dvc.lock has; empty outside of DVC."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        lock = YAML(typ="safe").load(Path("dvc.lock").read_text(encoding="utf-8"))
        outs = [out for stage in lock["stages"].values() for out in stage.get("outs", ())]
        wanted = (paths.RAW.as_posix(), paths.FEATURES.as_posix())
        return {f"dvc {out['path']}": str(out["md5"]) for out in outs if out["path"] in wanted}
    except (OSError, UnicodeDecodeError, YAMLError, KeyError, TypeError, AttributeError):
        return {}


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
