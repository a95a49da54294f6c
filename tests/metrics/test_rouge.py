"""ROUGE-L against the evaluation toolkit of COCO, and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.toolkit import toolkit_scores
from wordgaze.core.errors import ScoreError
from wordgaze.metrics.rouge import RougeL

CAPTION = st.lists(st.sampled_from("abcd"), max_size=9)
PICTURE = st.tuples(CAPTION, st.lists(CAPTION.filter(len), min_size=1, max_size=4))


def words(*captions: str) -> list[list[str]]:
    return [caption.split() for caption in captions]


def score(generated: str, *references: str) -> float:
    rouge = RougeL([words(*references)])
    return float(rouge.scores(rouge.statistics(words(generated)))["rouge_l"][0])


@given(st.lists(PICTURE, min_size=1, max_size=6))
def test_equal_to_the_toolkit_on_any_corpus(corpus: list[tuple[list[str], list[list[str]]]]) -> None:
    candidates, references = [candidate for candidate, _ in corpus], [truths for _, truths in corpus]
    totals, each = toolkit_scores(candidates, references)
    rouge = RougeL(references)
    statistics = rouge.statistics(candidates)
    assert rouge.scores(statistics)["rouge_l"] == pytest.approx(each["rouge_l"], abs=1e-9)
    assert rouge.scores(statistics.sum(axis=0))["rouge_l"] == pytest.approx(totals["rouge_l"], abs=1e-9)


def test_an_example_by_hand() -> None:
    # "the cat the mat" is common: precision 4/6, recall 4/5
    p, r = 4 / 6, 4 / 5
    assert score("the cat sat on the mat", "the cat likes the mat") == pytest.approx(2.44 * p * r / (r + 1.44 * p))


def test_words_count_only_in_their_order() -> None:
    assert score("a b c d", "a b c d") == pytest.approx(1)
    assert score("d c b a", "a b c d") == pytest.approx(1 / 4)
    assert score("x y", "a b c d") == 0


def test_precision_and_recall_may_come_from_two_references() -> None:
    assert score("a b", "a b c d e f", "a") == pytest.approx(1)  # all of "a b" is in the first, all of "a" in it


def test_an_empty_caption_scores_zero() -> None:
    assert score("", "a b") == 0


def test_long_captions_are_no_matter() -> None:
    assert score("a b " * 300, "b a " * 300) == pytest.approx(599 / 600)


def test_sums_of_any_shape_are_scored_at_once() -> None:
    rouge = RougeL([words("a b"), words("c")])
    statistics = rouge.statistics(words("a b", "x"))
    scores = rouge.scores(np.array([[[2, 0]], [[1, 3]]]) @ statistics)["rouge_l"]
    assert scores == pytest.approx(np.array([[1.0], [0.25]]))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ScoreError, match="2 captions for 1 images"):
        RougeL([words("a")]).statistics(words("a", "b"))
    with pytest.raises(ScoreError, match="image number 0 has no reference"):
        RougeL([[]])
