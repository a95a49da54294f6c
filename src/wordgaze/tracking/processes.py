"""The process of a run, so that the run of a process that was killed can be told from one that is still at work."""

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from wordgaze.core.files import fingerprint

HOST, PID, STARTED = "process.host", "process.pid", "process.started"


def process_tags() -> dict[str, str]:
    """Tags of a run: this machine, this process, and when the process began."""
    pid = os.getpid()
    return {HOST: host(), PID: str(pid), STARTED: process_start(pid)}


def host() -> str:
    """The name of this machine, with a hash of its machine id: machines of one name share a tracking server."""
    name = ""
    with suppress(OSError):
        name = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    return f"{platform.node()}-{fingerprint(name)[:8]}"


def has_ended(tags: Mapping[str, str]) -> bool:
    """Whether the process of a run of this machine has ended; False for a run of another machine or without tags."""
    if tags.get(HOST) != host() or not tags.get(PID, "").isdecimal():
        return False
    return process_start(int(tags[PID])) != tags.get(STARTED)


def process_start(pid: int) -> str:
    """When a process began; "" if it has ended. The number of a process is given to another one later.

    On Linux these are the boot and the clock ticks since then: the time of day can be set while a process runs.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else f"{boot}/{fields[19]}"  # a zombie waits for its parent only
    except OSError:
        pass
    with suppress(psutil.Error):
        return str(psutil.Process(pid).create_time())
    return ""
