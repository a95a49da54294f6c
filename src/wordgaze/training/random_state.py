"""The state of PyTorch's random number generators: that of the CPU, and that of the GPU where one is used."""

import torch
from torch import Tensor


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states by the names of the devices, as tensors of bytes."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(device: torch.device, state: dict[str, Tensor]) -> None:
    """Sets what :func:`random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
