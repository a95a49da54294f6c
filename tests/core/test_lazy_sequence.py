"""A sequence whose values are made when they are read."""

import pytest

from wordgaze.core.lazy_sequence import LazySequence


def test_values_are_made_when_they_are_read() -> None:
    made: list[int] = []

    def square(number: int) -> int:
        made.append(number)
        return number * number

    squares = LazySequence(5, square)
    assert (len(squares), made) == (5, [])
    assert (squares[2], squares[-1], squares[3:]) == (4, 16, [9, 16])
    assert list(squares) == [0, 1, 4, 9, 16]
    assert made == [2, 4, 3, 4, 0, 1, 2, 3, 4]
    with pytest.raises(IndexError):
        squares[5]
