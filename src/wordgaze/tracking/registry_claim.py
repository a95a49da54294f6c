"""One process at a time changes a registered model, also where the processes are on different machines.

MLflow has no lock and no compare-and-set. So a process announces itself by a tag of the registered model, a *claim*,
and changes the model only while its claim is the only one: of two processes that write their claims and then read, at
least one sees the other's. Where both do, the one whose claim sorts first stays and the other steps back. A claim holds
what its process is about to do, so that the next one can complete what a killed process has begun.
"""

import json
import os
import random
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wordgaze.core.errors import TrackingError
from wordgaze.tracking.processes import process_start
from wordgaze.tracking.registered_model import CaptionerModel

CLAIM_PREFIX = "claim."
STALE = 20.0
"""Seconds for which a claim of another machine may stand unchanged. A change of the registry takes about one."""

_TIMEOUT = 90.0
_PAUSE = 0.2
Claimed = dict[str, Any]


class RegistryClaim:
    """The claim of this process."""

    def __init__(self, model: CaptionerModel) -> None:
        self.model, self.key = model, CLAIM_PREFIX + secrets.token_hex(8)

    def announce(self, intent: str = "") -> None:
        """Writes the claim; ``intent`` is what a later process completes if this one is killed."""
        process = os.getpid()
        claim = {"machine": machine(), "process": process, "started": process_start(process), "intent": intent}
        self.model.set_tag(self.key, json.dumps(claim, sort_keys=True, ensure_ascii=False))

    def check(self) -> None:
        """Raises TrackingError where another process took this one for dead, as after a laptop's sleep."""
        if self.key not in self.model.tags():
            raise TrackingError(
                f"another process took over the change of {self.model.name}; see `wordgaze models` and run this again"
            )

    def withdraw(self) -> None:
        """Removes the claim."""
        self.model.delete_tag(self.key)


@contextmanager
def claimed(model: CaptionerModel, complete: Callable[[str], None]) -> Iterator[RegistryClaim]:
    """Holds the only claim on a model within the block.

    ``complete`` is called with the intent of each process that was killed before it could withdraw its claim. Raises
    TrackingError if others hold the model for too long.
    """
    claim, observed = RegistryClaim(model), _Observed()
    end = time.monotonic() + _TIMEOUT
    claim.announce()
    try:
        while living := observed.living(model.tags(), claim.key):
            if time.monotonic() > end:
                raise TrackingError(f"another process is changing {model.name} in the registry; run this again later")
            if min(living) < claim.key:
                claim.withdraw()
                time.sleep(_PAUSE * (1 + random.random()))  # nosec B311  # not a secret
                claim.announce()
            else:
                time.sleep(_PAUSE)
        for key, intent in observed.dead.items():
            if intent:
                complete(intent)
            model.delete_tag(key)
        yield claim
    finally:
        with suppress(Exception):  # the error of the block is the one to report; a claim that stays goes stale
            claim.withdraw()


class _Observed:
    """What is known of the claims of other processes, and since when by the clock of this one."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, float]] = {}
        self.dead: dict[str, str] = {}

    def living(self, tags: dict[str, str], own: str) -> list[str]:
        """The keys of the claims of processes that may be at work; ``dead`` gets those of the others."""
        claims = {key: value for key, value in tags.items() if key.startswith(CLAIM_PREFIX) and key != own}
        self.dead = {key: _parsed(value)["intent"] for key, value in claims.items() if self._is_dead(key, value)}
        return [key for key in claims if key not in self.dead]

    def _is_dead(self, key: str, value: str) -> bool:
        now, claim = time.monotonic(), _parsed(value)
        if claim["machine"] == machine():
            return bool(
                process_start(claim["process"]) != claim["started"]
            )  # the number may be another process's by now
        if key not in self._since or self._since[key][0] != value:
            self._since[key] = (value, now)
        return now - self._since[key][1] > STALE


def machine() -> str:
    """Names the machine and, in a container, its process ids: equal ids elsewhere are other processes."""
    try:
        return f"{socket.gethostname()}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _parsed(value: str) -> Claimed:
    """A claim; one that cannot be read is that of no machine, and goes stale."""
    nothing: Claimed = {"machine": "", "process": 0, "started": "", "intent": ""}
    try:
        found = json.loads(value)
    except ValueError:
        return nothing
    is_claim = isinstance(found, dict) and isinstance(found.get("process"), int)
    return nothing | found if is_claim else nothing
