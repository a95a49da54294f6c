"""The change of the aliases by a decision: exclusive, only if nothing has changed meanwhile, completed after a kill."""

import logging
from collections.abc import Callable

from pydantic import ValidationError

from wordgaze.tracking.decisions import Decision, history
from wordgaze.tracking.names import CHALLENGER, CHAMPION
from wordgaze.tracking.registered_model import CaptionerModel
from wordgaze.tracking.registry_claim import CLAIM_PREFIX, claimed
from wordgaze.tracking.store import translate_errors

_log = logging.getLogger(__name__)


def record_decision(model: CaptionerModel, decision: Decision) -> Decision:
    """Moves the alias if the decision says so and nothing has changed since it was made, and stores the decision."""
    action = f"promote version {decision.version} of {model.name}"
    with translate_errors(action), claimed(model, completing(model)) as claim:
        change = _change_since(model, decision) if decision.is_move else None
        if change is not None:
            decision = decision.model_copy(update={"outcome": "refused", "why": change})
        if decision.is_move:
            claim.check()
            claim.announce(decision.model_dump_json())
            model.set_alias(CHAMPION, decision.version)
            _complete(model, decision)
        else:
            model.tag_version(decision.version, decision.tags())
    return decision


def _change_since(model: CaptionerModel, decision: Decision) -> str | None:
    """What another process has changed while this decision was made."""
    aliases = model.aliases()
    moved_by = next((each for each in reversed(history(model.versions())) if each.is_move), None)
    if aliases.get(CHAMPION) != decision.champion:
        who = f", by {moved_by.who} at {moved_by.when}" if moved_by else ""
        return (
            f"the {CHAMPION} has changed from {_shown(decision.champion)} to {_shown(aliases.get(CHAMPION))} while"
            f" version {decision.version} was compared{who}; run it again"
        )
    if decision.outcome != "rolled back" and aliases.get(CHALLENGER) != decision.version:
        return (
            f"the {CHALLENGER} has changed from version {decision.version} to {_shown(aliases.get(CHALLENGER))} during"
            " the comparison; run it again"
        )
    return None


def _shown(version: int | None) -> str:
    return "none" if version is None else f"version {version}"


def _complete(model: CaptionerModel, decision: Decision) -> None:
    """What follows the move of the alias; done again after a kill, it changes nothing."""
    if model.aliases().get(CHALLENGER) == decision.version:
        model.delete_alias(CHALLENGER)
    model.tag_version(decision.version, decision.tags())


def completing(model: CaptionerModel) -> Callable[[str], None]:
    """Completes the decision of a killed process if it had moved the alias; otherwise nothing has happened."""

    def complete(intent: str) -> None:
        try:
            decision = Decision.model_validate_json(intent)
        except ValidationError:  # of another version of wordgaze
            return
        if model.aliases().get(CHAMPION) == decision.version:
            _log.info("a killed promotion of version %d is completed", decision.version)
            _complete(model, decision)

    return complete


def repair(model: CaptionerModel) -> None:
    """Completes what a killed process has begun, before the aliases are read."""
    if any(key.startswith(CLAIM_PREFIX) for key in model.tags()):
        with claimed(model, completing(model)):
            pass
