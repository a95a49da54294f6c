"""Splits by image: the same for a picture whichever others there are, and none empty where that can be helped."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from wordgaze.data.records import Record, assign_splits


def records(count: int) -> list[Record]:
    return [Record(f"{number}.jpg", ("a dog",)) for number in range(count)]


def test_a_picture_s_split_does_not_depend_on_the_others() -> None:
    few, many = assign_splits(records(300), 0.1, 0.2), assign_splits(records(900), 0.1, 0.2)
    assert few == many[:300]
    shares = {split: count / 900 for split, count in Counter(record.split for record in many).items()}
    assert abs(shares["dev"] - 0.1) < 0.04 and abs(shares["test"] - 0.2) < 0.04


def test_a_split_that_is_given_stays() -> None:
    given_ones = [Record("a", ("x",), "dev"), Record("b", ("x",), "dev"), Record("c", ("x",), "train")]
    assert assign_splits(given_ones, 0.1, 0.1) == given_ones


@given(st.integers(3, 30), st.sampled_from([0.01, 0.1, 0.45]), st.sampled_from([0.01, 0.1, 0.45]))
def test_of_three_pictures_or_more_every_split_has_one(count: int, dev: float, test: float) -> None:
    found = assign_splits(records(count), dev, test)
    assert {record.split for record in found} == {"train", "dev", "test"}
    assert [record.image for record in found] == [record.image for record in records(count)]
    assert {r.image: r.split for r in assign_splits(records(count)[::-1], dev, test)} == {
        r.image: r.split for r in found
    }


def test_a_share_of_nothing_is_nothing() -> None:
    assert {record.split for record in assign_splits(records(50), 0.0, 0.2)} == {"train", "test"}


def test_two_pictures_do_not_make_three_splits() -> None:
    assert len(assign_splits(records(2), 0.1, 0.1)) == 2
