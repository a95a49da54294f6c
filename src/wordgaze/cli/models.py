"""The captioners of a command, with a line on stderr that says which one speaks where none was named."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wordgaze.tracking.resolve import ResolvedModel

_log = logging.getLogger(__name__)


def resolve_captioners(models: Sequence[str] | None) -> "list[ResolvedModel]":
    """The captioners that a command names, or the default, which is announced. Raises as ``tracking.resolve``."""
    from wordgaze.tracking.resolve import resolve_models

    resolved = resolve_models(models or [])
    if not models:
        dataset = {"folder": "a folder of images"}.get(resolved[0].dataset, resolved[0].dataset)
        trained = f", trained on {dataset}" if dataset else ""
        _log.info("captioner: %s%s; --model names another", resolved[0].address, trained)
    return resolved


def resolve_captioner(model: str | None) -> "ResolvedModel":
    """As :func:`resolve_captioners`, for a command that takes one captioner."""
    return resolve_captioners([model] if model is not None else None)[0]
