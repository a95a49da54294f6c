"""Kinds of failure that are found without a person."""

from wordgaze.metrics.failures import failures


def test_each_kind_finds_its_captions() -> None:
    generated = [
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
    captions = [text.split() for text in generated]
    found = failures(captions, cut=[i == 8 for i in range(9)], wrong=[i == 4 for i in range(9)])
    assert found == {
        "names an absent object": [4],
        "is cut off": [1, 8],
        "repeats itself": [2, 3],
        "is the same for 3 or more images": [4, 5, 6],
        "is empty": [7],
    }
