"""Checkpoints: everything that training needs to go on as if it had never stopped, without a pickle.

One safetensors file holds the tensors (weights, the best weights so far, the optimiser's moments, the state of the
random numbers) and, in its header, the position and the history as JSON.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from wordgaze.core.files import write_tensors


def save_checkpoint(path: Path, tensors: dict[str, dict[str, Tensor]], progress: dict[str, Any]) -> None:
    """Writes groups of tensors and JSON-able progress, atomically."""
    flat = {f"{group}/{name}": t.detach().cpu() for group, ts in tensors.items() for name, t in ts.items()}
    write_tensors(path, flat, {"progress": json.dumps(progress)})


def load_checkpoint(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Reads what :func:`save_checkpoint` wrote."""
    tensors: dict[str, dict[str, Tensor]] = {}
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 (a handle, not a mapping)
            group, name = key.split("/", 1)
            tensors.setdefault(group, {})[name] = file.get_tensor(key)
        return tensors, json.loads(file.metadata()["progress"])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state, one tensor a parameter and quantity."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value) for index, of_one in state.items() for name, value in of_one.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts the tensors of :func:`optimizer_tensors` back."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
