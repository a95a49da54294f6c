"""The same bytes on every processor: fixes the kernels that PyTorch and its libraries choose by the processor.

Each library measures the processor when it is loaded and takes its widest kernels. These round sums differently, and
training amplifies the difference. :func:`fix_cpu_kernels` makes all of them take kernels for AVX2, which every x86-64
server and desktop since about 2015 has, and a fixed number of threads, because a sum over threads depends on it too.
"""

import os
import platform
import sys

from wordgaze.core.errors import ParamsError

CPU_KERNELS = {
    # PyTorch's own kernels. Without AVX-512, `precision: auto` is fp32 (core/device.py).
    "ATEN_CPU_CAPABILITY": "avx2",
    # Convolutions, compiled at run time.
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    # Matrix products, exp and tanh. COMPATIBLE alone is the same on Intel's processors and on others.
    "MKL_CBWR": "COMPATIBLE",
    "MKL_DYNAMIC": "FALSE",  # otherwise MKL takes fewer threads where there are fewer cores
    # NumPy; a name that its version or the processor does not have is ignored.
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL",
    "OPENBLAS_CORETYPE": "Haswell",
    # Sums are split by threads.
    "OMP_NUM_THREADS": "2",
    "OMP_DYNAMIC": "FALSE",
    "MKL_NUM_THREADS": "2",
    "OPENBLAS_NUM_THREADS": "2",
}
"""The environment variables that fix the kernels. The libraries read them once, when they are loaded."""


def fix_cpu_kernels() -> None:
    """Makes the libraries that this process loads from now on compute the same bytes on every x86-64 processor with
    AVX2, and does nothing on others. It replaces what the user's environment says. Raises ParamsError if they are
    loaded already."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return
    loaded = [name for name in ("torch", "numpy") if name in sys.modules]
    if loaded:
        raise ParamsError(
            f"reproducible asks for fixed kernels, but {' and '.join(loaded)} is loaded already; run the stage as a"
            " process of its own, python -m pipeline STAGE, or set reproducible to same_machine"
        )
    os.environ.update(CPU_KERNELS)
