"""What ``wordgaze models`` lists: the versions of the registered model, and what is known of each."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wordgaze.evaluation.result_types import OptionalValue, Result
from wordgaze.tracking.decisions import Decision, read_decisions
from wordgaze.tracking.evaluation import SCORES_TAG
from wordgaze.tracking.names import model_name
from wordgaze.tracking.registered_model import CaptionerModel
from wordgaze.tracking.runs import COMMIT, DATASET, WEIGHTS_TAG
from wordgaze.tracking.store import open_store, translate_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


class ScoreEstimate(Result):
    """A score with its 95 % interval, where that is known."""

    value: OptionalValue
    low: OptionalValue = None
    high: OptionalValue = None


class RegisteredVersion(Result):
    """A version. ``gate`` are its scores on ``gate_data``, the gate set of the newest decision that has a table, and
    ``evaluation`` those of stage ``evaluate`` on ``evaluated_on``. ``registered`` is a time in UTC."""

    version: int
    aliases: tuple[str, ...]
    trained_on: str
    commit: str
    weights: str
    registered: str
    evaluated_on: str
    evaluation: dict[str, ScoreEstimate]
    gate_data: str
    gate: dict[str, ScoreEstimate]
    decision: Decision | None

    @property
    def age(self) -> float:
        """Seconds since the registration."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.registered)).total_seconds()


def registered_versions() -> list[RegisteredVersion]:
    """The versions of the project's registered model, the newest first; none where it has none.

    Raises TrackingError where the registry cannot be read.
    """
    model = CaptionerModel(open_store(create=False), model_name())
    with translate_errors(f"list the versions of {model.name}"):
        aliases = model.aliases()
        return [_described(version, aliases) for version in reversed(model.versions())]


def _described(version: "ModelVersion", aliases: dict[str, int]) -> RegisteredVersion:
    tags, number = version.tags, int(version.version)
    decisions = read_decisions(tags)
    measured = next((one for one in reversed(decisions) if one.table), None)
    created = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    split, images = tags.get("evaluated_on.split", ""), tags.get("evaluated_on.images", "")
    return RegisteredVersion(
        version=number,
        aliases=tuple(sorted(alias for alias, of_alias in aliases.items() if int(of_alias) == number)),
        trained_on=tags.get(DATASET, ""),
        commit=tags.get(COMMIT, ""),
        weights=tags.get(WEIGHTS_TAG, ""),
        registered=created.isoformat(timespec="seconds").replace("+00:00", "Z"),
        evaluated_on=f"{split}, {images} images" if split else "",
        evaluation=_estimates(tags.get(SCORES_TAG, "{}")),
        gate_data=str(measured.data) if measured and measured.data else "",
        gate={
            row.name: ScoreEstimate(value=row.challenger, low=row.low, high=row.high)
            for row in (measured.table if measured else ())
        },
        decision=decisions[-1] if decisions else None,
    )


def _estimates(text: str) -> dict[str, ScoreEstimate]:
    """The scores of SCORES_TAG; none where the tag was changed by hand."""
    try:
        found = json.loads(text)
        return {n: ScoreEstimate(value=value, low=low, high=high) for n, (value, low, high) in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
