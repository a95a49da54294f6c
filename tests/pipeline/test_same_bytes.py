"""With reproducible: any_cpu, features, weights and reports are the same bytes on different processors.

Other processors are stood in for by the libraries' own limits, by another number of threads, and, where there is a C
compiler, by telling MKL that the processor is Intel's, for which it has kernels of its own.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Project, change_params
from wordgaze.core.files import sha256

pytestmark = pytest.mark.slow

LIMITED = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "2"}
INTEL = "int mkl_serv_intel_cpu_true(void) {return 1;} int mkl_serv_cpuiszen(void) {return 0;}"


@pytest.fixture(scope="module")
def processors(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The environments that stand for two processors."""
    other = dict(LIMITED)
    if compiler := shutil.which("cc"):
        library = tmp_path_factory.mktemp("library") / "intel.so"
        command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        subprocess.run(command, input=INTEL, text=True, check=True)
        other["LD_PRELOAD"] = str(library)
    return [{"OMP_NUM_THREADS": "1"}, other]


def checksums(project: Project, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of the features, the weights and the curve of stage 1."""
    with monkeypatch.context() as patch:
        patch.setattr(Project, "environment", lambda self, original=Project.environment: original(self) | environment)
        for stage in ("features", "train_stage1"):
            done = project.stage(stage)
            assert done.returncode == 0, done.stderr
    shards = sorted((project.root / "data/features").glob("shard-*"))
    reports = ("models/stage1/weights.safetensors", "reports/train_stage1.csv")
    return [sha256(path) for path in (*shards, *(project.root / report for report in reports))]


@pytest.mark.parametrize("reproducible", ["any_cpu", "same_machine"])
def test_the_bytes_do_not_depend_on_the_processor_with_any_cpu_alone(
    reproducible: str,
    copied: Callable[[], Project],
    processors: list[dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = copied()
    change_params(Path(project.root / "params.yaml"), {"reproducible": reproducible, "train_stage1": {"epochs": 1}})
    first, second = (checksums(project, environment, monkeypatch) for environment in processors)
    assert (first == second) == (reproducible == "any_cpu")
