"""Runs wordgaze's commands in forks of a process that has imported everything, and ends them at a random moment."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CALLS = frozenset(
    "open os.rename os.remove os.mkdir os.rmdir os.link os.listdir os.scandir os.chmod os.truncate sqlite3.connect"
    " shutil.copyfile shutil.move shutil.rmtree subprocess.Popen import".split()
)  # audit events: before each of these a command can be killed


@dataclass(frozen=True)
class Moment:
    """When a signal is sent: after ``seconds``, or before the call number ``call`` that touches files."""

    signal: int
    seconds: float | None = None
    call: int | None = None


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or minus the signal; what it printed; its seconds and its calls."""

    code: int
    output: str
    seconds: float
    calls: int
    reached: bool = False  # the call before which the signal was to be sent


def preload() -> None:
    """Imports what the commands import. Nothing is computed, and no thread is started."""
    from wordgaze.tracking.store import configure_mlflow

    configure_mlflow()
    import great_expectations  # noqa: F401
    import mlflow
    import mlflow.pyfunc
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import timm  # noqa: F401
    import torch
    import torchvision  # noqa: F401

    import wordgaze.cli
    import wordgaze.data.contracts
    import wordgaze.inference.caption_files
    import wordgaze.stages.download
    import wordgaze.stages.evaluate
    import wordgaze.stages.features
    import wordgaze.stages.prepare
    import wordgaze.stages.training
    import wordgaze.tracking.registry  # noqa: F401

    assert mlflow.MlflowClient
    torch.set_num_threads(1)


def run(work: Callable[[], None], folder: Path, log: Path, moment: Moment | None = None) -> Ended:
    """Runs ``work`` in a fork, a process group of its own in ``folder``, and sends the signal at its moment.

    ``log`` gets three files: what is printed, the files that were flushed to the disk, and the number of calls.
    """
    log.mkdir(parents=True, exist_ok=True)
    for path in log.iterdir():
        path.unlink()
    sys.stdout.flush()
    sys.stderr.flush()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_child(work, folder, log, moment)
    if moment is not None and moment.seconds is not None:
        _sleep_or_end(child, moment.seconds)
        _send(child, moment.signal)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    _send(child, signal.SIGKILL)  # what is left of its group
    seconds = time.monotonic() - started
    calls = log / "calls"
    number = int(calls.read_text()) if calls.exists() else 0
    output = (log / "output").read_text(errors="replace")
    return Ended(code, output, seconds, number, (log / "reached").exists())


def _be_child(work: Callable[[], None], folder: Path, log: Path, moment: Moment | None) -> None:
    code = 70
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        output = os.open(log / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        calls = _watch(log, moment)
        try:
            work()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except KeyboardInterrupt:
            code = 130
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = 1
        (log / "calls").write_text(str(calls()))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _watch(log: Path, moment: Moment | None) -> Callable[[], int]:
    """Counts calls, sends the signal before one of them, and notes each flushed file with the size that it has then."""
    number = 0
    process, target = os.getpid(), moment.call if moment else None
    fsync, flushed = os.fsync, os.open(log / "flushed", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def hook(event: str, _: object) -> None:
        nonlocal number
        if event in CALLS and os.getpid() == process:
            number += 1
            if number == target:
                assert moment is not None
                os.close(os.open(log / "reached", os.O_CREAT))
                os.kill(process, moment.signal)

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        os.write(flushed, f"{status.st_ino} {status.st_size}\n".encode())

    os.fsync = noted
    sys.addaudithook(hook)
    return lambda: number


def _sleep_or_end(child: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.002)


def _send(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
