"""What is done where a GPU has too little memory for a batch: it is divided, and the work goes on."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from wordgaze.core.errors import ModelError

_log = logging.getLogger(__name__)

_LOGGED: set[str] = set()  # the messages that this process has logged

Item = TypeVar("Item")
Result = TypeVar("Result")


def halved(run: Callable[[Sequence[Item]], Result], items: Sequence[Item], what: str) -> list[Result]:
    """``[run(items)]``; where that runs out of a GPU's memory, the results of both halves, each halved in turn.

    The first time in a process that ``what`` is halved, a warning says so. Raises ModelError if one item is too much.
    """
    import torch

    try:
        return [run(items)]
    except torch.OutOfMemoryError as error:
        if len(items) == 1:
            raise ModelError(f"the GPU has too little memory for one image in {what}; use device: cpu") from error
    free_memory(what, len(items))
    middle = (len(items) + 1) // 2
    return halved(run, items[:middle], what) + halved(run, items[middle:], what)


def free_memory(what: str, count: int) -> None:
    """Gives memory that PyTorch has kept back to the GPU, and says once that batches of ``what`` are halved."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if what not in _LOGGED:
        _LOGGED.add(what)
        _log.warning("the GPU has too little memory for %d images at once in %s; batches are halved", count, what)
