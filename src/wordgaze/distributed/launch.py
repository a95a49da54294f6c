"""Starts the ranks of a stage, or joins those that torchrun has started, and ends them together.

The process that runs a stage is rank 0. Where the stage is to use several devices, it starts the other ranks itself, as
processes that do their part of the same work; they meet on the loopback interface. Where RANK and WORLD_SIZE
are in the environment, as torchrun, Slurm scripts and Kubernetes operators set them, each process is one of the ranks
already, and they meet at MASTER_ADDR and MASTER_PORT.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from wordgaze.core import progress
from wordgaze.core.device import pick_device
from wordgaze.core.environment import positive_number
from wordgaze.core.errors import DistributedError, ParamsError, WordgazeError
from wordgaze.core.interruption import check_interruption
from wordgaze.distributed.ranks import AGAIN, Ranks

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

RENDEZVOUS_TIMEOUT = 120.0
"""Seconds for which ranks of other launchers wait for each other, unless WORDGAZE_RENDEZVOUS_TIMEOUT says others."""

_LOOPBACK = "127.0.0.1"
_LOST = 3  # exit code of a rank that lost the others, which is not the reason of what happened
_GRACE = 10.0  # seconds that rank 0 has to notice that a rank has ended
_log = logging.getLogger(__name__)

RankMain = Callable[[Ranks], None]


class Placement(Protocol):
    """The settings that say where a stage runs: on which kind of device, and on how many of them."""

    @property
    def device(self) -> Literal["auto", "cpu", "cuda"]: ...

    @property
    def devices(self) -> int | Literal["auto"]: ...


@contextmanager
def started_ranks(settings: Placement, main: RankMain) -> Iterator[Ranks]:
    """Yields this process's place among the ranks of a stage. ``main`` is called in each process that is started.

    If the block ends with an exception, all ranks that were started here are ended. Raises ParamsError and
    DistributedError if the environment of another launcher cannot be used.
    """
    device = pick_device(settings.device)
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        ranks = _ranks_of_environment(device)
    elif (world_size := count_ranks(settings, device)) > 1:
        with _start_workers(main, world_size, device) as ranks:
            yield ranks
        return
    else:
        ranks = Ranks()
    try:
        yield ranks
    except WordgazeError as error:
        if not isinstance(error, DistributedError):  # which all ranks have noticed
            ranks.report(str(error))
        raise
    ranks.leave()


def count_ranks(settings: Placement, device: torch.device) -> int:
    """The number of ranks that a stage starts: ``auto`` is one for each GPU, and one on a CPU. N are at most as many as
    there are GPUs."""
    wanted = settings.devices
    if device.type != "cuda":
        return 1 if wanted == "auto" else wanted
    available = torch.cuda.device_count()
    if wanted != "auto" and wanted > available:
        _log.warning("devices is %d, and torch finds %d GPU(s), which are used", wanted, available)
    return available if wanted == "auto" else min(wanted, available)


def _ranks_of_environment(device: torch.device) -> Ranks:
    """The ranks of torchrun, or of another launcher that sets its variables."""
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]

    rank, world_size = _number("RANK"), _number("WORLD_SIZE")
    if world_size == 1:
        return Ranks()
    if not 0 <= rank < world_size:
        raise ParamsError(f"RANK is {rank}, and WORLD_SIZE {world_size}; give each process a rank below WORLD_SIZE")
    local_rank, local_world_size = _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", 1)
    _use_device(device, local_rank)
    host, port = os.environ.get("MASTER_ADDR", ""), _number("MASTER_PORT")
    if not host:
        raise ParamsError("RANK and WORLD_SIZE are set, but not MASTER_ADDR; set it to the machine of rank 0")
    timeout = positive_number("WORDGAZE_RENDEZVOUS_TIMEOUT", RENDEZVOUS_TIMEOUT, "seconds")
    address = f"{host}:{port}"
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun keeps its store when it starts ranks again
    is_server = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    if not is_server:
        _await_server(rank, host, port, timeout)
    try:
        store = PrefixStore(attempt, _store(host, port, is_server, timeout))
    except RuntimeError as error:  # of a port that is taken, for example
        reason = str(error).partition("\n")[0]
        raise DistributedError(
            f"rank {rank} cannot meet the others at {address} ({reason}); set another MASTER_PORT"
        ) from error
    if rank:
        _only_errors()
    return Ranks(rank, world_size, local_world_size, store, address, timeout)


def _number(name: str, default: int | None = None) -> int:
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise ParamsError(
            f"the environment variable {name} is {text!r}; a launcher such as torchrun sets it to a number"
        )
    return int(text)


def _store(host: str, port: int, is_server: bool, timeout: float) -> "TCPStore":
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    return TCPStore(host, port, None, is_server, timedelta(seconds=timeout), wait_for_workers=False)


def _await_server(rank: int, host: str, port: int, timeout: float) -> None:
    """Waits until rank 0, or torchrun, listens. PyTorch's own waiting takes twice as long and prints traces."""
    until = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, port), max(0.1, min(5.0, until - time.monotonic()))).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                raise DistributedError(
                    f"rank {rank} cannot reach the rendezvous at {host}:{port} within {timeout:g} s"
                    f" ({error.strerror or error}); check MASTER_ADDR, MASTER_PORT and that rank 0 runs, or set"
                    " WORDGAZE_RENDEZVOUS_TIMEOUT to more seconds"
                ) from error
        check_interruption()
        time.sleep(0.1)


def _use_device(device: torch.device, local_rank: int) -> None:
    """Makes ``cuda`` the GPU of this rank."""
    if device.type != "cuda":
        return
    if local_rank >= (available := torch.cuda.device_count()):
        raise ParamsError(f"LOCAL_RANK is {local_rank}, and torch finds {available} GPU(s); start a rank for each GPU")
    torch.cuda.set_device(local_rank)


def _only_errors() -> None:
    """The first rank alone tells what is done."""
    progress.hide()
    logging.getLogger("wordgaze").setLevel(logging.ERROR)


@contextmanager
def _start_workers(main: RankMain, world_size: int, device: torch.device) -> Iterator[Ranks]:
    """Starts the ranks from 1 on, and ends them at the end of the block."""
    _use_device(device, 0)
    store = _store(_LOOPBACK, 0, True, RENDEZVOUS_TIMEOUT)
    with _gloo_on_loopback():
        workers = _Workers()
        try:
            for rank in range(1, world_size):
                workers.start(main, rank, world_size, store.port, device)
            ranks = Ranks(0, world_size, world_size, store, f"{_LOOPBACK}:{store.port}", find_ended=workers.find_ended)
            workers.guard(ranks)
            yield ranks
            Ranks.leave()
            workers.join()
        finally:
            workers.kill()
            if device.type == "cpu":  # NCCL waits for the others, also for those that have ended
                Ranks.leave()


@contextmanager
def _gloo_on_loopback() -> Iterator[None]:
    """Has gloo connect on the loopback interface, and not on the one that the name of the machine resolves to."""
    name = "GLOO_SOCKET_IFNAME"
    loopback = next((each for _, each in socket.if_nameindex() if each.startswith("lo")), None)
    if name in os.environ or loopback is None:
        yield
        return
    os.environ[name] = loopback
    try:
        yield
    finally:
        del os.environ[name]


@contextmanager
def _signals_held() -> Iterator[None]:
    """Delivers Ctrl-C and SIGTERM after the block, and never to a process that the block starts: rank 0 decides."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Workers:
    """The processes of the ranks from 1 on."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")  # a fork would inherit the locks of threads, not them
        self._processes: list[Any] = []
        self._is_over = threading.Event()

    def start(self, main: RankMain, rank: int, world_size: int, port: int, device: torch.device) -> None:
        process = self._context.Process(
            target=_run_worker, args=(main, rank, world_size, port, device.type), daemon=True
        )
        with _signals_held():
            process.start()
        self._processes.append(process)

    def guard(self, ranks: Ranks) -> None:
        """Ends this process if it still waits for the others some time after one of them has ended: NCCL would wait for
        many minutes, and cannot be interrupted."""
        threading.Thread(target=self._guard, args=(ranks,), daemon=True).start()

    def join(self) -> None:
        """Waits for the end of processes that have done their work."""
        self._is_over.set()
        for process in self._processes:
            process.join(_GRACE)

    def kill(self) -> None:
        self._is_over.set()
        for process in self._processes:
            process.kill()
            process.join()

    def find_ended(self) -> str:
        """Which process has ended before its time. That a rank has lost the others is not the reason that it did."""
        for rank, process in enumerate(self._processes, start=1):
            code = process.exitcode
            if code is not None and code < 0:
                return (
                    f"rank {rank} was ended by {signal.Signals(-code).name}; {AGAIN}, with fewer devices if memory ran"
                    " out"
                )
            if code not in (None, 0, _LOST):
                return f"rank {rank} ended with exit code {code}; {AGAIN}"
        return ""

    def _guard(self, ranks: Ranks) -> None:
        wait([process.sentinel for process in self._processes])
        first_ended = time.monotonic()
        while not self._is_over.wait(1.0):
            since = ranks.waiting_since
            has_failed = any(process.exitcode for process in self._processes)
            if has_failed and since is not None and time.monotonic() - max(since, first_ended) > _GRACE:
                print(f"wordgaze: {ranks.failure() or f'a rank has ended; {AGAIN}'}", file=sys.stderr)
                for process in self._processes:
                    process.kill()
                os._exit(1)


def _run_worker(main: RankMain, rank: int, world_size: int, port: int, device: str) -> None:
    """Does the work of a rank other than the first, whose end ends this process too."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _only_errors()
    ranks = Ranks(rank, world_size, world_size, _store(_LOOPBACK, port, False, RENDEZVOUS_TIMEOUT))
    try:
        _use_device(torch.device(device), rank)
        main(ranks)
        ranks.leave()
    except DistributedError:
        os._exit(_LOST)
    except BaseException as error:
        reason = str(error) if isinstance(error, WordgazeError) else traceback.format_exc(limit=-1)
        ranks.report(" ".join(reason.split()))
        os._exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(_LOST)
