"""Checkpoints: all that training needs to continue as if it had never stopped, without a pickle.

One safetensors file holds the tensors (the weights, the best weights so far, the optimiser's moments, the state of the
random number generators) and, in its header, the trainer's state as JSON and the checksum of all of this.
"""

import json
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wordgaze.core.checksums import tensor_digest
from wordgaze.core.files import write_tensors

_log = logging.getLogger(__name__)

Checkpoint = tuple[dict[str, dict[str, Tensor]], dict[str, Any]]


def save_checkpoint(path: Path, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
    """Writes groups of tensors and JSON-able state, atomically."""
    flat = {f"{group}/{name}": t.detach().cpu() for group, ts in tensors.items() for name, t in ts.items()}
    text = json.dumps(state)
    write_tensors(path, flat, {"state": text, "sha256": tensor_digest(flat, text)})


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Reads what :func:`save_checkpoint` wrote; None if there is no checkpoint.

    A file that is not a whole checkpoint, such as an empty or truncated one, and one that does not have its checksum
    are renamed to ``*.broken`` with a warning, and the result is None too.
    """
    if not path.exists():
        return None
    try:
        return _read(path)
    except (SafetensorError, KeyError, ValueError, RuntimeError, RecursionError) as error:
        broken = path.with_name(f"{path.name}.broken")
        path.replace(broken)
        _log.warning(
            "%s is not a whole checkpoint (%s); it is renamed to %s, and training starts from the beginning",
            path, " ".join(str(error).split()), broken.name,
        )  # fmt: skip
        return None


def _read(path: Path) -> Checkpoint:
    tensors: dict[str, dict[str, Tensor]] = {}
    flat: dict[str, Tensor] = {}
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        text, expected = header["state"], header["sha256"]
        for key in file.keys():  # noqa: SIM118 (a handle, not a mapping)
            group, name = key.split("/", 1)
            flat[key] = tensors.setdefault(group, {})[name] = file.get_tensor(key)
    if tensor_digest(flat, text) != expected:
        raise ValueError("its contents do not have the checksum in its header")
    state: dict[str, Any] = json.loads(text)
    return tensors, state


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state, one tensor per parameter and quantity."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, quantities in state.items()
        for name, value in quantities.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Loads the tensors of :func:`optimizer_tensors` into the optimiser."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
