"""Selection of the device and the floating-point format."""

from typing import Literal

import torch

from wordgaze.core.errors import ParamsError


def pick_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """``auto`` is the GPU if there is one. Raises ParamsError if ``cuda`` is missing, and for another name."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise ParamsError(f"device is {wanted!r}; set it to auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ParamsError("device is cuda, but torch finds no GPU; set device to auto or cpu")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def pick_dtype(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> torch.dtype:
    """``auto`` is bf16 if the hardware supports it; elsewhere bf16 is emulated and about a hundred times slower."""
    if wanted == "auto":
        return torch.bfloat16 if _supports_bf16(device) else torch.float32
    return torch.bfloat16 if wanted == "bf16" else torch.float32


def _supports_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if torch.backends.cpu.get_cpu_capability() != "AVX512":  # ATEN_CPU_CAPABILITY can limit what is used
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
