"""CIDEr against the evaluation toolkit of COCO."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.cider.cider import Cider as Toolkit

from wordgaze.metrics.cider import Cider

CAPTION = st.lists(st.sampled_from("abcdef"), max_size=8)
PICTURE = st.tuples(CAPTION, st.lists(CAPTION.filter(len), min_size=1, max_size=4))
REFERENCES = [
    ["a brown dog runs over the grass", "a dog is running", "the dog runs fast over green grass"],
    ["two children play with a red ball", "kids play", "two kids are playing ball on the beach"],
    ["a man rides a bike", "a man in a red shirt rides a bike down the hill", "the man is riding", "bike rider"],
    ["a dog jumps over a red ball"],
]
CANDIDATES = [
    "a brown dog runs over the red grass",
    "two kids play with a ball ball ball ball",
    "a man",
    "a cat sleeps",
]


def split(captions: list[list[str]]) -> list[list[list[str]]]:
    return [[caption.split() for caption in of_one] for of_one in captions]


def toolkit(candidates: list[list[str]], references: list[list[list[str]]]) -> tuple[float, list[float]]:
    said = {i: [" ".join(caption)] for i, caption in enumerate(candidates)}
    truths = {i: [" ".join(caption) for caption in of_one] for i, of_one in enumerate(references)}
    mean, scores = Toolkit().compute_score(truths, said)
    return float(mean), [float(score) for score in scores]


def test_equal_to_the_toolkit() -> None:
    candidates, references = [caption.split() for caption in CANDIDATES], split(REFERENCES)
    mean, scores = toolkit(candidates, references)
    cider = Cider(references)
    assert cider.scores(candidates) == pytest.approx(scores, abs=1e-6)
    assert cider.score(candidates) == pytest.approx(mean, abs=1e-6)
    assert scores[0] > 1
    assert min(scores) == 0


@given(st.lists(PICTURE, min_size=1, max_size=6))
def test_equal_to_the_toolkit_on_any_corpus(corpus: list[tuple[list[str], list[list[str]]]]) -> None:
    candidates, references = [candidate for candidate, _ in corpus], [truths for _, truths in corpus]
    mean, scores = toolkit(candidates, references)
    assert Cider(references).scores(candidates) == pytest.approx(scores, abs=1e-6)
    assert Cider(references).score(candidates) == pytest.approx(mean, abs=1e-6)


def test_ten_is_a_perfect_match() -> None:
    references = split([["a brown dog runs"], ["two kids play ball"]])
    assert Cider(references).scores([of_one[0] for of_one in references]) == pytest.approx([10, 10])


def test_a_single_picture_has_no_rare_words_and_scores_zero() -> None:
    references = split([["a brown dog runs", "a dog"]])
    assert Cider(references).scores([["a", "brown", "dog", "runs"]]) == [0.0]


def test_an_empty_caption_scores_zero() -> None:
    assert Cider(split(REFERENCES)).scores([[], [], [], []]) == [0.0] * 4


def test_one_object_scores_many_times_and_gives_the_same() -> None:
    cider, candidates = Cider(split(REFERENCES)), [caption.split() for caption in CANDIDATES]
    first = cider.scores(candidates)
    cider.scores([["a", "new", "word"]] * 4)
    assert cider.scores(candidates) == first


def test_another_number_of_captions_is_refused() -> None:
    with pytest.raises(ValueError, match="1 candidates for 4 pictures"):
        Cider(split(REFERENCES)).scores([["a"]])
