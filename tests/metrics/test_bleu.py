"""Corpus BLEU against the evaluation toolkit of COCO, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.toolkit import toolkit_scores
from wordgaze.core.errors import ScoreError
from wordgaze.metrics.bleu import Bleu, corpus_bleu

Corpus = tuple[list[list[str]], list[list[list[str]]]]
CAPTION = st.lists(st.sampled_from("abcd"), max_size=9)
PICTURE = st.tuples(CAPTION, st.lists(CAPTION.filter(len), min_size=1, max_size=4))


def words(*captions: str) -> list[list[str]]:
    return [caption.split() for caption in captions]


def assert_equal_to_the_toolkit(candidates: list[list[str]], references: list[list[list[str]]]) -> None:
    totals, each = toolkit_scores(candidates, references)
    bleu = Bleu(references)
    statistics = bleu.statistics(candidates)
    for name, score in corpus_bleu(candidates, references).items():
        assert score == pytest.approx(totals[name], abs=1e-6)
        assert bleu.scores(statistics)[name] == pytest.approx(each[name], abs=1e-6)


ADVERSARIAL: dict[str, Corpus] = {
    "one word again and again": (words("the the the the the the the"), [words("the cat is on the mat")]),
    "clipped by the reference with most": (words("a a a a b"), [words("a a c d e", "a a a f g")]),
    "captions shorter than four words": (
        words("a dog", "a", "a black dog runs fast"),
        [words("a dog runs"), words("a cat"), words("a black dog runs very fast")],
    ),
    "an empty caption among others": (words("", "a dog runs on grass"), [words("a cat"), words("a dog runs on grass")]),
    "too short, closest of several": (words("a b c d e"), [words("a b c d e f g", "a b c d e f", "x y")]),
    "a tie in length takes the shorter": (words("a b c d e"), [words("a b c d", "a b c d e f")]),
    "a perfect match": (words("a b c d e"), [words("a b c d e", "x")]),
    "longer than all": (words("a b c d e f g h"), [words("a b c d", "e f g")]),
}


@pytest.mark.parametrize(("candidates", "references"), ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
def test_equal_to_the_toolkit(candidates: list[list[str]], references: list[list[list[str]]]) -> None:
    assert_equal_to_the_toolkit(candidates, references)


@given(st.lists(PICTURE, min_size=1, max_size=6))
def test_equal_to_the_toolkit_on_any_corpus(corpus: list[tuple[list[str], list[list[str]]]]) -> None:
    assert_equal_to_the_toolkit([candidate for candidate, _ in corpus], [references for _, references in corpus])


def test_an_example_by_hand() -> None:
    scores = corpus_bleu(words("the cat sat on the mat"), [words("the cat is on the mat")])
    precisions = [5 / 6, 3 / 5, 1 / 4]
    for n in (1, 2, 3):
        assert scores[f"bleu_{n}"] == pytest.approx(math.prod(precisions[:n]) ** (1 / n))
    assert 0 < scores["bleu_4"] < 1e-3  # the toolkit's constant: no match is not quite 0


def test_counts_are_summed_over_the_corpus_and_not_averaged_over_sentences() -> None:
    scores = corpus_bleu(words("a b", "c x y z"), [words("a b"), words("c d e f")])
    assert scores["bleu_1"] == pytest.approx(3 / 6)
    assert scores["bleu_2"] == pytest.approx(math.sqrt(3 / 6 * 1 / 4))


@pytest.mark.parametrize(
    ("references", "penalty"),
    [
        (["a b c d e f g h", "a b c d e"], 1 - 5 / 4),
        (["a b c d e", "a b c"], 0),  # a tie: the shorter one
        (["a b c d e f g h"], 1 - 8 / 4),
        (["a b c"], 0),
    ],
)
def test_the_brevity_penalty_goes_by_the_closest_reference(references: list[str], penalty: float) -> None:
    precision = 1.0 if max(map(len, words(*references))) > 3 else 3 / 4
    assert corpus_bleu(words("a b c d"), [words(*references)])["bleu_1"] == pytest.approx(precision * math.exp(penalty))


def test_nothing_generated_or_nothing_right_scores_next_to_nothing() -> None:
    for generated in ("", "x y z"):
        scores = corpus_bleu(words(generated), [words("a b c d")])
        assert list(scores) == ["bleu_1", "bleu_2", "bleu_3", "bleu_4"]
        assert max(scores.values()) < 0.01
    assert corpus_bleu(words(""), [words("a b c d")])["bleu_1"] == 0


def test_sums_of_any_shape_are_scored_at_once() -> None:
    candidates, references = (
        words("a b c d e", "a b x", "f g h i"),
        [words("a b c d"), words("a b", "a b y z"), words("f")],
    )
    bleu = Bleu(references)
    statistics = bleu.statistics(candidates)
    chosen = np.array([[[1, 1, 1], [2, 0, 1]], [[0, 3, 0], [0, 1, 2]]])
    scores = bleu.scores(chosen @ statistics)
    assert scores["bleu_4"].shape == (2, 2)
    again = corpus_bleu([candidates[0]] * 2 + [candidates[2]], [references[0]] * 2 + [references[2]])
    assert {name: of[0, 1] for name, of in scores.items()} == pytest.approx(again)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ScoreError, match="1 captions for 2 images"):
        corpus_bleu(words("a"), [words("a"), words("b")])
    with pytest.raises(ScoreError, match="image number 1 has no reference"):
        Bleu([words("a"), []])
    with pytest.raises(ScoreError, match="no image has references"):
        Bleu([])
