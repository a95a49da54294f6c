"""Fast paths of the decoder, each with a plain twin that computes the same values and gradients.

- ``additive_energy``: the energies of additive attention without one tanh per pair of key and query;
- ``step_linear``: one weight gradient per sequence instead of one per step;
- ``packing``: teacher forcing over the real words alone, without padding.

Within :func:`reference` the plain twins run. The tests compare both for every kind of decoder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_reference: ContextVar[bool] = ContextVar("reference", default=False)


@contextmanager
def reference() -> Iterator[None]:
    """Runs the plain twins of all fast paths within the block; for tests and for debugging."""
    token = _reference.set(True)
    try:
        yield
    finally:
        _reference.reset(token)


def use_fast() -> bool:
    """Whether the fast paths run, which is the default."""
    return not _reference.get()
