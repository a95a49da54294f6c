"""Captions and references without a fault, and what an audit found."""

from collections.abc import Callable, Mapping
from typing import Any

from wordgaze.evaluation.audit.results import AuditFinding, CaptionAudit

ANIMALS = ("dog", "cat", "horse", "cow", "sheep", "goat", "pig", "duck", "hen", "fox", "wolf", "bear")
TRUTHS = {
    f"{n}.jpg": [f"a {animal} runs over the grass", f"the {animal} is on grass", f"one {animal} outside"]
    for n, animal in enumerate(ANIMALS)
}
SAID = {f"{n}.jpg": f"a {animal} runs outside on grass" for n, animal in enumerate(ANIMALS)}
"""Captions without a fault: nothing but what every file has is found."""

Audit = Callable[..., CaptionAudit]


def by_check(audited: CaptionAudit) -> dict[str, AuditFinding]:
    return {finding.check: finding for finding in audited.findings}


def faults(audited: CaptionAudit) -> set[str]:
    return {finding.check for finding in audited.findings if finding.count and finding.level == "warning"}


def scores(audited: CaptionAudit, protocol: str) -> dict[str, float]:
    [found] = [row for row in audited.scores if row.protocol == protocol]
    return dict(found.scores.items())


def rows(captions: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"image_id": key, "caption": text} for key, text in captions.items()]
