"""The decisions about champions, as tags of the versions that they are about."""

import getpass
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from wordgaze.core.files import stable_json
from wordgaze.core.source import code_fingerprint
from wordgaze.evaluation.result_types import Result
from wordgaze.tracking.gate import GateRow
from wordgaze.tracking.gate_data import GateIdentity
from wordgaze.tracking.runs import COMMIT

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

DECISION_PREFIX = "decision."
_LATEST = "gate."
Outcome = Literal["promoted", "refused", "forced", "rolled back", "unchanged"]
_MOVES: tuple[Outcome, ...] = ("promoted", "forced", "rolled back")
"""The outcomes after which ``version`` is the champion."""


class Decision(Result):
    """A decision about ``version``. ``champion`` is the version that was champion before it, None for the first.

    ``why`` is the reason in a sentence: that of the gate, or the one that the user gave. ``data`` is the gate set, None
    if none was read, ``code`` the commit of the version and the fingerprint of the code that decided, ``params`` what
    was asked of it, and ``table`` both captioners in scores and in what is guarded. ``unchanged`` is not stored.
    """

    outcome: Outcome
    version: int
    champion: int | None
    who: str
    when: str
    why: str
    data: GateIdentity | None = None
    code: Mapping[str, str] = Field(default_factory=dict)
    params: Mapping[str, Any] = Field(default_factory=dict)
    table: tuple[GateRow, ...] = ()

    @property
    def is_move(self) -> bool:
        """Whether ``version`` is the champion by this decision."""
        return self.outcome in _MOVES

    def tags(self) -> dict[str, str]:
        """The tags of the version: the whole decision under its time, and the latest one in parts to read."""
        whole = self.model_dump(mode="json")
        parts = {
            "outcome": self.outcome,
            "who": self.who,
            "when": self.when,
            "why": self.why,
            "data": "" if self.data is None else stable_json(whole["data"]),
            "code": stable_json(self.code),
            "params": stable_json(self.params),
            "table": stable_json(whole["table"]),
        }
        return {f"{DECISION_PREFIX}{self.when}": self.model_dump_json()} | {
            f"{_LATEST}{key}": v for key, v in parts.items()
        }


def new_decision(outcome: Outcome, version: "ModelVersion", champion: int | None, why: str) -> Decision:
    """A decision of now, by this user, with this code."""
    from wordgaze import __version__

    code = {"commit": version.tags.get(COMMIT, ""), "wordgaze": __version__, "gate": code_fingerprint("gate")}
    when = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return Decision(
        outcome=outcome, version=int(version.version), champion=champion, who=_user(), when=when, why=why, code=code
    )


def read_decisions(tags: Mapping[str, str]) -> list[Decision]:
    """The decisions in the tags of a version, the oldest first. One that cannot be read, of another wordgaze, is left
    out."""
    found = []
    for key in sorted(key for key in tags if key.startswith(DECISION_PREFIX)):
        try:
            found.append(Decision.model_validate_json(tags[key]))
        except ValidationError:
            continue
    return found


def history(versions: "Iterable[ModelVersion]") -> list[Decision]:
    """The decisions about all versions of a model, the oldest first."""
    return sorted((each for version in versions for each in read_decisions(version.tags)), key=lambda one: one.when)


def _user() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        name = "unknown"
    return f"{name}@{socket.gethostname()}"
