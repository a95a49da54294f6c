"""The captioner folder inside a model of the registry, where it lies or as a copy."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from wordgaze.core.errors import TrackingError
from wordgaze.core.files import atomic_directory
from wordgaze.core.scratch import writable_scratch
from wordgaze.inference.folder_names import CARD
from wordgaze.tracking.names import champion_address
from wordgaze.tracking.package import ARTIFACT
from wordgaze.tracking.store import Store, lock, open_store, translate_errors

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo


def fetch_model(address: str) -> Path:
    """The captioner folder inside a registered model: ``models:/captioner@champion``, ``models:/captioner/3``.

    A model that lies on this machine is used where it is. Another one is brought here once and then kept in the scratch
    folder. Raises TrackingError for an unknown address.
    """
    store = open_store(create=False)
    from mlflow.artifacts import download_artifacts
    from mlflow.models import get_model_info

    with translate_errors(f"find {address}", "see `mlflow ui`, or run `wordgaze register` and `wordgaze promote`"):
        info = get_model_info(address)
        place: str | None = info.flavors.get("python_function", {}).get("artifacts", {}).get(ARTIFACT, {}).get("path")
        if place is None:
            raise TrackingError(f"{address} is not a captioner; give the address of one, such as {champion_address()}")
        here = _local_folder(store, info)
    if here is not None and (here / place / CARD).is_file():
        return here / place
    with translate_errors(f"fetch {address}"), lock():
        folder = writable_scratch("fetched") / str(info.model_id or info.model_uuid)
        if not folder.exists():
            with atomic_directory(folder) as temporary:
                download_artifacts(f"{address}/{place}", dst_path=str(temporary))
    return folder / place


def _local_folder(store: Store, info: "ModelInfo") -> Path | None:
    """The folder of the artifacts of a model that a run has logged, if it is on this machine."""
    if info.model_id is None:
        return None
    location = store.client.get_logged_model(info.model_id).artifact_location or ""
    scheme, host, path, *_ = urlsplit(location)
    if scheme == "file" and not host:
        return Path(url2pathname(path))
    return Path(location) if Path(location).is_absolute() else None
