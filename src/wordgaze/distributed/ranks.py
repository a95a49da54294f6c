"""The ranks of a stage: processes of torch.distributed, one for each device, that divide the work."""

import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from wordgaze.core.errors import DistributedError
from wordgaze.core.interruption import check_interruption

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

STEP_TIMEOUT = timedelta(minutes=30)
"""For which a rank waits for the others in a step; :meth:`Ranks.from_first` waits for as long as it takes."""

AGAIN = "run the stage again: it goes on from what it has saved"
_PAUSE = 0.05  # seconds between two looks into the store
_REASON_SECONDS = 5.0  # for which a lost connection waits for its reason

T = TypeVar("T")


class Ranks:
    """The processes of a stage, and which of them this is. By default there is no other.

    local_world_size: the number of ranks on this machine, which divide its threads. store: where ranks meet. address
    and timeout: its name and the seconds for which ranks wait for each other there, None for as long as it takes.
    find_ended: says which process has ended before its time, if any.
    """

    def __init__(
        self,
        rank: int = 0,
        world_size: int = 1,
        local_world_size: int = 1,
        store: "Store | None" = None,
        address: str = "",
        timeout: float | None = None,
        find_ended: Callable[[], str] = lambda: "",
    ) -> None:
        self.rank, self.world_size, self.local_world_size = rank, world_size, local_world_size
        self.store, self.address, self.timeout, self.find_ended = store, address, timeout, find_ended
        self.waiting_since: float | None = None  # for the others, by time.monotonic()
        self._num_threads = torch.get_num_threads()
        self._turns = 0
        if store:
            store.set(f"come/{rank}", "")

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which alone writes files, tracks and reports."""
        return self.rank == 0

    def join(self, checksums: Mapping[str, str], device: torch.device) -> None:
        """Connects with the other ranks, and compares what all have to have, by name.

        Raises DistributedError if a rank does not come in time, or has other checksums than the first one.
        """
        if self.world_size == 1:
            return
        own = (platform.node(), {**checksums, "PyTorch": torch.__version__})
        everyone: list[tuple[str, Mapping[str, str]]] = [own] * self.world_size
        with self._connected():
            self._store.set(f"ready/{self.rank}", "")
            for rank in range(self.world_size):
                self._wait_for(f"come/{rank}", rank, self.timeout)
            for rank in range(self.world_size):  # which may have had more to read
                self._wait_for(f"ready/{rank}", rank, STEP_TIMEOUT.total_seconds())
            backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(
                backend, store=self.store, rank=self.rank, world_size=self.world_size, timeout=STEP_TIMEOUT
            )
            dist.all_gather_object(everyone, own)
        (first_host, expected), *others = everyone
        for rank, (host, values) in enumerate(others, start=1):
            if different := [name for name in expected if values.get(name) != expected[name]]:
                raise DistributedError(
                    f"rank {rank} on {host} has other {' and '.join(different)} than rank 0 on {first_host}; make them"
                    " equal, and start all ranks again"
                )

    def report(self, message: str) -> None:
        """Tells the other ranks why this one ends."""
        if self.store:
            with suppress(RuntimeError):
                self.store.set("failed", f"rank {self.rank} on {platform.node()}: {message}")

    def failure(self, seconds: float = 0.0) -> str:
        """Why another rank has ended, as soon as that is known and after at most ``seconds``; empty if it is not."""
        until = time.monotonic() + seconds
        while not (reason := self._reported() or self.find_ended()) and time.monotonic() < until:
            time.sleep(_PAUSE)
        return reason

    @staticmethod
    def leave() -> None:
        """Closes the connections of this process, if there are any."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def from_first(self, compute: Callable[[], T]) -> T:
        """What rank 0 computes, with the threads of all ranks of its machine while they wait."""
        if self.world_size == 1:
            return compute()
        self._turns += 1
        key, box = f"turn/{self._turns}", list[T]()
        if self.is_first:
            torch.set_num_threads(self._num_threads)
            box.append(compute())
            torch.set_num_threads(self.threads_per_rank)
        with self._connected():
            if self.is_first:
                self._store.set(key, "")
            else:
                self._wait_for(key)  # for as long as it takes
                box = [None]  # type: ignore[list-item]
            dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
        return box[0]

    def all_gather(self, value: T) -> list[T]:
        """What all ranks have computed, by rank. One that is ready waits for the others for as long as it takes."""
        if self.world_size == 1:
            return [value]
        self._turns += 1
        values = [value] * self.world_size
        with self._connected():
            self._store.set(f"turn/{self._turns}/{self.rank}", "")
            for rank in range(self.world_size):
                self._wait_for(f"turn/{self._turns}/{rank}", rank)
            dist.all_gather_object(values, value)
        return values

    def check(self) -> None:
        """Raises DistributedError if another rank has ended before its time, for work that waits for no other."""
        if reason := self.failure():
            raise DistributedError(reason)

    def broadcast(self, tensors: list[Tensor]) -> None:
        """Overwrites the tensors by those of rank 0."""
        if self.world_size > 1:
            with self._connected(), torch.no_grad():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def all_reduce(self, tensor: Tensor) -> None:
        """Overwrites the tensor by the sum over all ranks."""
        with self._connected():
            dist.all_reduce(tensor)
            if tensor.device.type == "cuda":
                torch.cuda.synchronize()  # here, so that a rank that was lost is noticed here

    @property
    def threads_per_rank(self) -> int:
        """The share of a rank in the threads of its machine."""
        return self.share_of(self._num_threads)

    def share_of(self, count: int) -> int:
        """The share of a rank in ``count`` processors or threads of its machine."""
        return max(1, count // self.local_world_size)

    @contextmanager
    def divided_threads(self) -> Iterator[None]:
        """Limits this process to its share of the threads."""
        torch.set_num_threads(self.threads_per_rank)
        try:
            yield
        finally:
            torch.set_num_threads(self._num_threads)

    @property
    def _store(self) -> "Store":
        assert self.store is not None, "a rank that is alone has no store"
        return self.store

    def _reported(self) -> str:
        with suppress(RuntimeError):  # the store may be gone
            if self.store and self.store.check(["failed"]):
                return str(self.store.get("failed").decode())
        return ""

    def _wait_for(self, key: str, rank: int = 0, timeout: float | None = None) -> None:
        """Waits until a rank has set a key, in Python, so that Ctrl-C is noticed."""
        started = time.monotonic()
        while not self._store.check([key]):
            check_interruption()
            self.check()
            if timeout is not None and time.monotonic() - started > timeout:
                raise DistributedError(
                    f"rank {rank} of {self.world_size} has not come to {self.address} within {timeout:g} s; start it"
                    " with the same MASTER_ADDR, MASTER_PORT and WORLD_SIZE, or set WORDGAZE_RENDEZVOUS_TIMEOUT to"
                    " more seconds"
                )
            time.sleep(_PAUSE)

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Raises DistributedError where the block loses the other ranks."""
        self.waiting_since = time.monotonic()
        try:
            yield
        except RuntimeError as error:
            check_interruption()  # the others may have been lost because all are to end
            raise DistributedError(self.failure(_REASON_SECONDS) or self._lost(error)) from error
        finally:
            self.waiting_since = None

    def _lost(self, error: RuntimeError) -> str:
        reason = re.sub(r"^\[[^]]*\] ", "", str(error).partition("\n")[0])
        return f"rank {self.rank} has lost the other ranks ({reason}), whose own messages say why; {AGAIN}"
