"""Finds the captioner that an address stands for: a folder, ``photos``, a model of the registry, or the default.

Folders are found without mlflow and the other packages of the pipeline, which are imported only for the registry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wordgaze.core import paths
from wordgaze.core.errors import ModelError
from wordgaze.core.files import sha256
from wordgaze.inference.folder_names import CARD, WEIGHTS
from wordgaze.inference.packaged import PHOTOS, packaged_captioner
from wordgaze.tracking.names import REGISTRY, champion_address

if TYPE_CHECKING:
    from wordgaze.inference.captioner import Captioner

DRAWN = frozenset({"scenes"})
"""The data sets of drawn images. A captioner trained on one of them is not for photographs."""


@dataclass(frozen=True)
class ResolvedModel:
    """An address and the captioner folder that it stands for."""

    address: str
    folder: Path

    @property
    def name(self) -> str:
        """A short name: that of the folder, or the address without ``models:/``."""
        return self.address.removeprefix(REGISTRY) if is_registered(self.address) else self.folder.name

    @property
    def dataset(self) -> str:
        """The name of the data set of its training, "" if it is unknown. Raises ModelError."""
        return _dataset(self.folder)

    @cached_property
    def version(self) -> str:
        """The version in the registry, or the beginning of the checksum of the weights. Raises ModelError."""
        if not (self.folder / WEIGHTS).is_file():
            raise ModelError(f"{self.folder} holds no captioner ({WEIGHTS} is missing); run dvc repro, or give --model")
        number = registered_version(self.address) if is_registered(self.address) else None
        return f"version {number}" if number else sha256(self.folder / WEIGHTS)[:12]


def load(model: str | Path | None = None, device: Literal["auto", "cpu", "cuda"] = "auto") -> "Captioner":
    """Loads a captioner.

    Args:
        model: a captioner folder, ``photos`` for the captioner that comes with wordgaze, or the address of a model in
            the MLflow registry such as ``models:/captioner@champion`` or ``models:/captioner/3``. By default the
            registry's champion if there is one; else the newest captioner folder under ``models/`` of the working
            directory that was trained on photographs; else ``photos``.
        device: ``auto`` is the GPU if there is one.

    Raises:
        ModelError: there is no captioner there, or it is broken or of an unsupported format.
        TrackingError: the registry cannot be read, or has no such model.
        ParamsError: ``device`` is ``cuda`` and there is no GPU.
    """
    from wordgaze.inference.captioner import Captioner

    return Captioner.load(resolve_model(model), device)


def resolve_model(model: str | Path | None = None) -> Path:
    """The captioner folder of a folder, of an address of the registry, or of the default, as in :func:`load`.

    A model of the registry that is on another machine is fetched once and then kept. Whether a folder holds a captioner
    is checked when it is loaded.
    """
    return resolve(model).folder


def resolve_models(models: Sequence[str]) -> list[ResolvedModel]:
    """As :func:`resolve`, for several models, or for the default when there are none."""
    return [resolve(model) for model in models] or [resolve()]


def resolve(model: str | Path | None = None) -> ResolvedModel:
    """As :func:`resolve_model`, with the address."""
    address = default_model() if model is None else str(model)
    if not is_registered(address):
        folder = packaged_captioner(address) or Path(address)
        if address != PHOTOS and not folder.exists() and get_close_matches(address, [PHOTOS]):
            raise ModelError(f"{address} is not a captioner folder; the captioner that comes with wordgaze is {PHOTOS}")
        return ResolvedModel(address, folder)
    if find_spec("mlflow") is None:
        raise ModelError(f'{address} needs mlflow, which is not installed; pip install "wordgaze[pipeline]"')
    from wordgaze.tracking.fetch import fetch_model

    return ResolvedModel(address, fetch_model(address))


def default_model() -> str:
    """The address of the captioner that is used where none is named.

    It is the champion of the project's registered model, which somebody promoted; else the newest captioner folder
    under ``models/`` that was trained on photographs; else ``photos``; else the newest folder of any kind. Raises
    ModelError when there is none of them, TrackingError when the registry cannot be read, ParamsError when the name of
    the registered model is not valid.
    """
    if (registered := champion()) is not None:
        return registered
    folder = paths.STAGE2.parent
    cards = sorted(folder.glob(f"[!.]*/{CARD}"), key=lambda card: (card.stat().st_mtime, str(card)), reverse=True)
    for_photographs = (card.parent for card in cards if not _is_drawn(card.parent))
    if (own := next(for_photographs, None)) is not None:
        return str(own)
    if packaged_captioner(PHOTOS) is not None:
        return PHOTOS
    if cards:
        return str(cards[0].parent)
    raise ModelError(
        f"there is no captioner: the registry has no champion and {folder}/ has no trained model; "
        "run `dvc repro` here, or name a captioner folder with --model"
    )


def champion() -> str | None:
    """The address of the registry's champion; None without one, or without a registry. Raises as default_model."""
    if not _has_registry():
        return None
    address = champion_address()
    return address if registered_version(address) is not None else None


def _is_drawn(folder: Path) -> bool:
    """Whether a captioner states that it was trained on drawn images. One that cannot be read does not."""
    try:
        return _dataset(folder) in DRAWN
    except ModelError:  # it is reported when it is loaded
        return False


def _dataset(folder: Path) -> str:
    from wordgaze.inference.captioner_folder import read_card  # which needs PyTorch

    return read_card(folder).dataset


def is_registered(address: str) -> bool:
    """Whether an address is of the registry."""
    return address.startswith(REGISTRY)


def registered_version(address: str) -> str | None:
    """The version that an address of the registry stands for; None if there is no such alias or no registry."""
    name, _, alias = address.removeprefix(REGISTRY).partition("@")
    if not alias:
        return name.partition("/")[2] or None
    if not _has_registry():
        return None
    from wordgaze.tracking.store import lacks_alias, open_store, quoted, translate_errors

    if lacks_alias(name, alias):
        return None
    store = open_store(create=False)
    with translate_errors("ask the registry"):
        models = store.client.search_registered_models(f"name = {quoted(name)}")
    return str(models[0].aliases[alias]) if models and alias in models[0].aliases else None


def _has_registry() -> bool:
    """Whether MLflow is installed and the project has a store."""
    if find_spec("mlflow") is None:
        return False
    from wordgaze.tracking.store import local_database

    database = local_database()
    return database is None or database.exists()
