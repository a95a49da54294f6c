"""What a stage costs: time, processor time, memory and energy, measured while it runs."""

import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from wordgaze.core.parallel import available_cpus

if TYPE_CHECKING:
    from wordgaze.tracking.runs import StageRun

SECONDS, CPU_SECONDS = "cost/seconds", "cost/cpu_seconds"
PEAK_MEMORY, ENERGY = "cost/peak_memory_mb", "cost/energy_joules"
MACHINE = "machine"

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the energy counters of Intel's and AMD's processors (RAPL), for root alone on most machines."""


@contextmanager
def measured_cost(run: "StageRun") -> Iterator[None]:
    """Logs what the block took to a run, unless it raises: ``cost/seconds`` and the like, and the tag ``machine``.

    CPU seconds are those of the process and of its children that have ended; the peak memory is that of the largest of
    them, in megabytes. ``cost/energy_joules`` is the energy of all processors and GPUs of the machine, whoever used
    them, and is left out where the machine has no counters that may be read.
    """
    started, cpu, counters = time.perf_counter(), _cpu_seconds(), _energy_counters()
    yield
    values = {
        SECONDS: time.perf_counter() - started,
        CPU_SECONDS: _cpu_seconds() - cpu,
        PEAK_MEMORY: _peak_memory(),
    }
    joules = _spent(counters, _energy_counters())
    run.metrics(values if joules is None else values | {ENERGY: joules})
    run.tag(MACHINE, machine_name())


def machine_name() -> str:
    """The processor, the number of usable CPUs and the GPU of this machine, as a reader of a card knows them."""
    names = [_processor(), f"{available_cpus()} CPUs"]
    torch = sys.modules.get("torch")  # a stage that uses a GPU has imported it
    if torch is not None and torch.cuda.is_available():
        names.append(torch.cuda.get_device_name())
    return ", ".join(names)


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak_memory() -> float:
    """In megabytes; Linux counts in kilobytes, macOS in bytes."""
    used = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(used) / (1e6 if sys.platform == "darwin" else 1e3)


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _energy_counters() -> dict[str, tuple[float, float]]:
    """(joules so far, joules at which the counter begins again) by counter: packages of processors, and GPUs."""
    counters = {}
    for package in sorted(POWERCAP.glob("*-rapl:?")) if POWERCAP.is_dir() else ():
        with suppress(OSError, ValueError):
            joules, most = (float((package / name).read_text()) / 1e6 for name in ("energy_uj", "max_energy_range_uj"))
            counters[package.name] = (joules, most)
    return counters | _gpu_counters()


def _gpu_counters() -> dict[str, tuple[float, float]]:
    try:
        import pynvml
    except ModuleNotFoundError:
        return {}
    counters = {}
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        for number in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            counters[f"gpu:{number}"] = (pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3, 0.0)
    return counters


def _spent(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]) -> float | None:
    """The joules between two readings; None without a counter. A counter that began again has passed its end once."""
    both = before.keys() & after.keys()
    if not both:
        return None
    differences = ((after[name][0] - before[name][0], after[name][1]) for name in both)
    return sum(joules + most if joules < 0 else joules for joules, most in differences)
