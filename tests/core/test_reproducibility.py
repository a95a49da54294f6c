"""reproducible: any_cpu fixes the kernels before the libraries are loaded, and says so where it comes too late."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wordgaze.core.errors import ParamsError
from wordgaze.core.reproducibility import fix_cpu_kernels

SHOW = """
import sys
sys.path.insert(0, sys.argv[1])
from wordgaze.core.reproducibility import fix_cpu_kernels
fix_cpu_kernels()
import torch
from wordgaze.core.device import pick_dtype
print(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), pick_dtype("auto", torch.device("cpu")))
"""


def test_the_kernels_do_not_depend_on_the_users_environment() -> None:
    given = {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "AUTO"}
    source = Path(__file__).parents[2] / "src"
    command = [sys.executable, "-c", SHOW, str(source)]
    shown = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["AVX2", "2", "torch.float32"]


def test_after_pytorch_it_is_too_late() -> None:
    import torch  # noqa: F401

    with pytest.raises(ParamsError, match=r"torch.* is loaded already; run the stage as a process of its own"):
        fix_cpu_kernels()
