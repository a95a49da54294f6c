"""Leaves out of the gate set the images that a compared captioner was trained on: it would caption them by heart."""

import logging
from collections.abc import Sequence

from wordgaze.core.errors import TrackingError
from wordgaze.core.printable import count_noun
from wordgaze.data.datasets.source import Found
from wordgaze.tracking.gate import MIN_GATE_IMAGES
from wordgaze.tracking.gate_captions import Candidate
from wordgaze.tracking.gate_data import GateData
from wordgaze.training.training_images import training_images

_log = logging.getLogger(__name__)
_NAMED = 3  # images


def without_training_images(data: GateData, candidates: Sequence[Candidate]) -> tuple[GateData, str]:
    """The gate set without the training images of the candidates, and what is left out, as a clause; "" for nothing.

    Images are compared by their contents. A captioner of an older wordgaze does not state its training images, which is
    a warning. Raises TrackingError where too few images are left.
    """
    seen: set[str] = set()
    clauses = []
    for candidate in candidates:
        known = training_images(candidate.folder)
        if known is None:
            _log.warning(
                "version %d does not state its training images; whether the gate set has some of them is not known",
                candidate.version,
            )
            continue
        both = [image for image, each in zip(data.images, data.checksums, strict=True) if each in known]
        if both:
            images = count_noun(len(both), "training image")
            clauses.append(f"{images} of version {candidate.version} ({_named(both)})")
            seen |= known
    if not clauses:
        return data, ""
    left, told = data.without(frozenset(seen)), "; ".join(clauses)
    needed = MIN_GATE_IMAGES if len(candidates) > 1 else 1
    if len(left.images) < needed:
        raise TrackingError(
            f"the gate set {data.identity.name} has {told}; {len(left.images)} of its {len(data.images)} images are"
            f" left, and {needed} are needed: give other images with --data, or promote with --force --reason TEXT"
        )
    _log.warning("the gate set %s has %s; they are left out", data.identity.name, told)
    return left, f"left out of the gate set: {told}"


def _named(images: Sequence[Found]) -> str:
    names = ", ".join(image.label.name for image in images[:_NAMED])
    return names if len(images) <= _NAMED else f"{names} and {len(images) - _NAMED} more"
