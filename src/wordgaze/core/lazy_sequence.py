"""A sequence whose values are made when they are read."""

from collections.abc import Callable, Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class LazySequence(Sequence[T]):
    """``length`` values, of which ``value(i)`` makes the i-th at each access; a part of the sequence is a list."""

    def __init__(self, length: int, value: Callable[[int], T]) -> None:
        self._length, self._value = length, value

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> list[T]: ...

    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self._value(i) for i in range(*place.indices(self._length))]
        if not -self._length <= place < self._length:
            raise IndexError(place)
        return self._value(place % self._length)

    def __len__(self) -> int:
        return self._length
