"""Kinds of failure that are found without a person."""

from wordgaze.metrics.failures import failures


def test_each_kind_finds_its_captions() -> None:
    said = [
        "a dog runs on the grass",
        "a man in a",
        "a red and red and white flag",
        "a dog dog runs",
        "two men talk",
        "two men talk",
        "two men talk",
        "",
        "a cat that was cut",
    ]
    captions = [text.split() for text in said]
    found = failures(captions, cut=[i == 8 for i in range(9)], wrong=[i == 4 for i in range(9)])
    assert found == {
        "names what is not there": [4],
        "breaks off": [1, 8],
        "repeats itself": [2, 3],
        "is said of 3 pictures or more": [4, 5, 6],
        "says nothing": [7],
    }
