"""What a captioner is compared with: one caption for all, chance, the most similar training picture, people."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.examples import CANDIDATES, REFERENCES, words
from wordgaze.core.errors import ScoreError
from wordgaze.metrics.baselines import (
    consensus,
    constant_caption,
    fewer_references,
    human_scores,
    nearest_captions,
    pooled,
    random_captions,
)
from wordgaze.metrics.captions import score_captions
from wordgaze.metrics.cider import DocumentFrequencies


def test_human_scores_average_each_reference_against_the_others() -> None:
    (a, b, c), (d, e) = REFERENCES[0], REFERENCES[1]
    first = score_captions([a, d], [[b, c], [e]])
    second = score_captions([b, e], [[a, c], [d]])
    expected = {name: (first[name] + second[name]) / 2 for name in first}
    assert human_scores(REFERENCES) == pytest.approx(expected)  # the picture with one reference is left out


def test_a_captioner_is_scored_on_the_references_that_people_are_scored_on() -> None:
    (a, b, c), (d, e) = REFERENCES[0], REFERENCES[1]
    first = score_captions(CANDIDATES[:2], [[b, c], [e]])
    second = score_captions(CANDIDATES[:2], [[a, c], [d]])
    expected = {name: (first[name] + second[name]) / 2 for name in first}
    assert fewer_references(CANDIDATES, REFERENCES) == pytest.approx(expected)


def test_with_one_reference_a_picture_there_are_no_human_scores() -> None:
    assert human_scores([REFERENCES[2]]) is None
    assert fewer_references([CANDIDATES[2]], [REFERENCES[2]]) is None


def test_captions_without_a_picture_are_refused() -> None:
    with pytest.raises(ScoreError, match="2 captions for 3 images"):
        fewer_references(CANDIDATES[:2], REFERENCES)


def test_the_constant_caption_is_the_training_caption_that_scores_best_on_all_pictures() -> None:
    truths = [words("a dog runs on the grass"), words("a dog runs on the sand")]
    good, bad, only_words = words("a dog runs on the road", "two kids play with a ball", "grass sand the on runs dog a")
    assert constant_caption([bad, bad, good], truths) == good
    assert constant_caption([only_words, only_words, good], truths) == good  # by BLEU-4, not by BLEU-1
    assert constant_caption([bad, bad, good], truths, tried=1) == bad  # the commonest are tried, no more


def test_random_captions_are_training_captions_by_the_seed() -> None:
    train = [[str(number)] for number in range(1000)]
    drawn = random_captions(train, 50, seed=1)
    assert len(drawn) == 50 and all(caption in train for caption in drawn)
    assert drawn == random_captions(train, 50, seed=1) != random_captions(train, 50, seed=2)
    with pytest.raises(ScoreError, match="no training caption"):
        random_captions([], 1, seed=1)


TRAIN = [
    words("a cat sleeps on a sofa", "a cat"),
    words("a dog runs", "a brown dog runs over grass", "a dog runs over the grass"),
    words("the dog on grass", "a dog runs over grass quickly"),
    words("a man on a bike"),
]
TRAIN_FEATURES = np.array([[1, 0, 0], [0, 1, 0], [0, 0.9, 0.1], [0, 0, 1]], dtype=np.float32)


def test_the_nearest_caption_is_the_first_one_of_the_most_similar_picture() -> None:
    features = np.array([[0.2, 7, 0], [5, 4, 0], [0, 0.1, 0.3]], dtype=np.float32)  # the length does not matter
    assert nearest_captions(features, TRAIN_FEATURES, TRAIN) == words(
        "a dog runs", "a cat sleeps on a sofa", "a man on a bike"
    )


def test_the_consensus_of_the_nearest_is_the_caption_most_like_the_others() -> None:
    features = np.array([[0, 1, 0.02]], dtype=np.float32)
    assert nearest_captions(features, TRAIN_FEATURES, TRAIN, k=2) == words("a dog runs over the grass")
    everything = nearest_captions(features, TRAIN_FEATURES, TRAIN, k=99)  # more than there are: all of them
    assert everything == nearest_captions(features, TRAIN_FEATURES, TRAIN, k=4)


def test_consensus_agrees_with_the_mean_cosine_of_each_pair() -> None:
    candidates = words("a b c", "a b d", "a a b c d", "x y")
    idf = {
        gram: 0.5 + len(gram) * 0.3 + (gram[0] == "b")
        for caption in candidates
        for n in range(1, 5)
        for gram in zip(*(caption[i:] for i in range(n)), strict=False)
    }

    def cosine(one: list[str], two: list[str]) -> float:
        total = 0.0
        for n in range(1, 5):
            grams = [list(zip(*(caption[i:] for i in range(n)), strict=False)) for caption in (one, two)]
            known = sorted({*grams[0], *grams[1]})
            x, y = (np.array([of_one.count(gram) * idf[gram] for gram in known]) for of_one in grams)
            total += float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y))) if x.any() and y.any() else 0.0
        return total / 4

    alike = [sum(cosine(a, b) for j, b in enumerate(candidates) if j != i) for i, a in enumerate(candidates)]
    assert consensus(candidates, DocumentFrequencies(idf, 0.0)) == candidates[int(np.argmax(alike))]
    assert len({round(value, 6) for value in alike}) == 4


def test_of_equally_good_captions_consensus_takes_the_first() -> None:
    a, b = words("a dog", "the cat")
    alike = DocumentFrequencies({}, 1.0)
    assert consensus([b, a, a, b], alike) == b
    assert consensus([a], alike) == a
    assert consensus([a, a, []], DocumentFrequencies({}, 0.0)) == a  # words that all pictures have


@pytest.mark.parametrize(
    ("features", "train_features", "captions", "k", "message"),
    [
        (np.ones((1, 3)), TRAIN_FEATURES, TRAIN, 0, "k is 0"),
        (np.ones((1, 3)), TRAIN_FEATURES[:2], TRAIN, 1, "2 training pictures with captions of 4"),
        (np.ones((1, 3)), TRAIN_FEATURES[:1], [[]], 1, "each needs at least one"),
        (np.ones((1, 3)), TRAIN_FEATURES[:0], [], 1, "0 training pictures"),
        (np.ones((1, 2)), TRAIN_FEATURES, TRAIN, 1, r"features of \(2,\) and of \(3,\)"),
        (np.full((1, 3), np.nan), TRAIN_FEATURES, TRAIN, 1, "NaN"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    features: np.ndarray, train_features: np.ndarray, captions: list[list[list[str]]], k: int, message: str
) -> None:
    with pytest.raises(ScoreError, match=message):
        nearest_captions(features.astype(np.float32), train_features, captions, k)


class Stored:
    """Features by name; remembers how many pictures were asked for at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def read(self, images: Sequence[str]) -> Tensor:
        self.asked.append(len(images))
        of_one = {
            "a": torch.tensor([[3.0, 0], [3, 8]]),
            "b": torch.tensor([[0.0, 1], [0, 5]]),
            "zero": torch.zeros(2, 2),
        }
        return torch.stack([of_one[image] for image in images]).half()


def test_pooled_features_are_means_of_length_one_read_in_small_parts() -> None:
    store = Stored()
    features = pooled(store, ["a", "b", "zero"], batch=2)
    np.testing.assert_allclose(features, [[0.6, 0.8], [0, 1], [0, 0]], atol=1e-6)
    assert features.dtype == np.float32
    assert store.asked == [2, 1]
