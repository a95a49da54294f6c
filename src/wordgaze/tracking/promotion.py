"""Promotion: the challenger becomes the champion if the gate lets it pass, and a champion can be taken back.

Decoding and comparing take minutes and hold nothing. Only the change of the aliases is exclusive: it happens if the two
captioners that were compared still are challenger and champion.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from wordgaze.config.params import GateParams
from wordgaze.core.errors import ParamsError, TrackingError, WordgazeError
from wordgaze.core.printable import printable
from wordgaze.core.settings import problems_of
from wordgaze.tracking.alias_move import completing, record_decision, repair
from wordgaze.tracking.decisions import Decision, Outcome, history, new_decision
from wordgaze.tracking.gate import GateResult, pass_gate
from wordgaze.tracking.gate_captions import Candidate
from wordgaze.tracking.gate_data import GateData, GateIdentity, read_gate_data
from wordgaze.tracking.gate_overlap import without_training_images
from wordgaze.tracking.names import CHALLENGER, CHAMPION, tracking_params
from wordgaze.tracking.registered_model import CaptionerModel
from wordgaze.tracking.registry_claim import claimed
from wordgaze.tracking.shipped import candidate_of
from wordgaze.tracking.store import open_store, translate_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_log = logging.getLogger(__name__)
_MAX_REASON = 1_000
"""A claim has the whole decision in one tag, of which PostgreSQL and MySQL keep 5,000 characters in MLflow's tables."""


def promote(
    *,
    data: str | None = None,
    metric: str | None = None,
    confidence: float | None = None,
    new_data: bool = False,
    force: bool = False,
    reason: str = "",
) -> Decision:
    """Makes the challenger the champion if it passes the gate, and records the decision with its table.

    Args:
        data: ``dev``, ``test``, or the path of a folder or table of images with captions.
        metric: the score that has to be better.
        confidence: the level at which the difference has to be significant.
        new_data: compares on data other than those on which the champion was promoted; otherwise that is refused.
        force: promotes whatever the gate finds, and also where it cannot run.
        reason: why it is forced; required with ``force``.

    ``None`` takes the value of ``tracking.gate`` of params.yaml. A refusal is a decision and not an error.

    Raises:
        TrackingError: there is no challenger, or the store cannot be read or written.
        DataError: the gate set cannot be read.
        ParamsError: a value is not valid, or ``force`` has no reason.
    """
    reason = _reason(reason)
    if force and not reason:
        raise ParamsError("--force needs --reason TEXT, which is kept with the decision")
    settings = _settings(data=data, metric=metric, confidence=confidence)
    model = _open()
    with translate_errors(f"promote the challenger of {model.name}"):
        repair(model)
        aliases = model.aliases()
        if CHALLENGER not in aliases:
            raise TrackingError(_no_challenger(model, aliases))
        challenger, champion = model.version(aliases[CHALLENGER]), _champion(model, aliases)
    if champion is not None and champion.version == challenger.version:
        return _already_champion(model, challenger)
    gate = _Gate(model, challenger, champion, settings, new_data)
    decision = gate.forced(reason) if force else gate.decide()
    return record_decision(model, decision)


def roll_back(reason: str = "") -> Decision:
    """Makes the previous champion the champion again, and records that.

    The version that is taken back has no alias afterwards; ``register`` makes it the challenger again. Raises
    TrackingError where there is no champion, or the registry knows of none before it.
    """
    reason = _reason(reason)
    model = _open()
    with translate_errors(f"roll back the champion of {model.name}"):
        repair(model)
        aliases = model.aliases()
        if CHAMPION not in aliases:
            raise TrackingError(f"{model.name} has no {CHAMPION} to take back; run `wordgaze register` and `promote`")
        current = aliases[CHAMPION]
        decisions = history(model.versions())
        moves = [each for each in decisions if each.outcome in ("promoted", "forced") and each.version == current]
        before = moves[-1].champion if moves else None
        if before is None:
            raise TrackingError(
                f"the registry knows of no champion before version {current} of {model.name}; register another"
                " captioner and promote it, with --force --reason TEXT if need be"
            )
        version = model.version(before)
    why = reason or f"version {current} is taken back"
    made = [each for each in decisions if each.version == before and each.is_move and each.data]
    decision = new_decision("rolled back", version, current, why)
    return record_decision(model, decision.model_copy(update={"data": made[-1].data if made else None}))


@dataclass(frozen=True)
class _Gate:
    """A challenger before the gate."""

    model: CaptionerModel
    challenger: "ModelVersion"
    champion: "ModelVersion | None"
    settings: GateParams
    new_data: bool

    def decide(self) -> Decision:
        """Promoted or refused."""
        data = read_gate_data(self.settings.data)
        if (mismatch := self._mismatch(data.identity)) is not None:
            return self._decision("refused", mismatch, data.identity)
        result, left_out = self._compare(data)
        outcome: Outcome = "refused" if result.failures else "promoted"
        why = [*(result.failures or [result.gain]), *([left_out] if left_out else [])]
        return self._decision(outcome, "; ".join(why), data.identity, result)

    def forced(self, reason: str) -> Decision:
        """Promoted by the user, with the table if it can be made."""
        try:
            data = read_gate_data(self.settings.data)
            return self._decision("forced", reason, data.identity, self._compare(data)[0])
        except WordgazeError as error:
            _log.warning("promoted without a comparison: %s", error)
            return self._decision("forced", reason)

    def _compare(self, data: GateData) -> tuple[GateResult, str]:
        """The comparison on the images that neither was trained on, and which images were left out."""
        challenger = self._candidate(self.challenger)
        champion = self._candidate(self.champion) if self.champion else None
        unseen, left_out = without_training_images(data, [challenger, *([champion] if champion else [])])
        return pass_gate(challenger, champion, unseen, self.settings), left_out

    def _candidate(self, version: "ModelVersion") -> Candidate:
        return candidate_of(self.model.name, int(version.version))

    def _mismatch(self, data: GateIdentity) -> str | None:
        """Why these data are not those that the champion was chosen on; None if they are, or may differ."""
        if self.champion is None or self.new_data:
            return None
        number = int(self.champion.version)
        moves = [each for each in history([self.champion]) if each.is_move]
        known = moves[-1].data if moves else None
        if known is not None and known.checksum == data.checksum:
            return None
        on = f"was promoted on {known}" if known else "was promoted without a record of the data"
        return (
            f"the gate set is {data}, and the {CHAMPION} (version {number}) {on}; give those images with --data, or"
            " compare both on the present ones with --new-data"
        )

    def _decision(
        self, outcome: Outcome, why: str, data: GateIdentity | None = None, result: GateResult | None = None
    ) -> Decision:
        champion = int(self.champion.version) if self.champion else None
        decision = new_decision(outcome, self.challenger, champion, why)
        params: dict[str, Any] = self.settings.model_dump(mode="json") | {"new_data": self.new_data}
        if data is not None:
            params["data"] = data.name  # as given it may be a path of this machine
        return decision.model_copy(
            update={"data": data, "params": params, "table": result.rows if result else ()}, deep=True
        )


def _reason(text: str) -> str:
    """The reason that a user gave, as one line of text that every store can hold."""
    if len(text) > _MAX_REASON:
        raise ParamsError(f"--reason has {len(text):,} characters; {_MAX_REASON:,} can be kept with the decision")
    return printable(" ".join(text.split()))


def _already_champion(model: CaptionerModel, version: "ModelVersion") -> Decision:
    with translate_errors(f"promote the challenger of {model.name}"), claimed(model, completing(model)):
        aliases = model.aliases()
        if aliases.get(CHALLENGER) == aliases.get(CHAMPION):
            model.delete_alias(CHALLENGER)
    number = int(version.version)
    return new_decision("unchanged", version, number, f"version {number} is the {CHAMPION} already")


def _no_challenger(model: CaptionerModel, aliases: dict[str, int]) -> str:
    champion = f"; its {CHAMPION} is version {aliases[CHAMPION]}" if CHAMPION in aliases else ""
    return f"{model.name} has no {CHALLENGER}{champion}; run `wordgaze register` first"


def _champion(model: CaptionerModel, aliases: dict[str, int]) -> "ModelVersion | None":
    return model.version(aliases[CHAMPION]) if CHAMPION in aliases else None


def _settings(**given: Any) -> GateParams:
    """``tracking.gate`` of params.yaml with the given values that are not None."""
    values = tracking_params().gate.model_dump() | {key: value for key, value in given.items() if value is not None}
    try:
        return GateParams.model_validate(values)
    except ValidationError as error:
        raise ParamsError(problems_of(error)) from error


def _open() -> CaptionerModel:
    return CaptionerModel(open_store(create=False), tracking_params().model_name)
