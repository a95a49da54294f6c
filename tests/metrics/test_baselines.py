"""What a captioner is compared with: one caption for all, chance, the most similar training picture, people."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.examples import CANDIDATES, REFERENCES, words
from wordgaze.core.errors import ScoreError
from wordgaze.metrics.baselines import (
    constant_caption,
    leave_one_out_scores,
    nearest_captions,
    pooled,
    random_captions,
)
from wordgaze.metrics.captions import score_captions


def test_human_scores_average_each_reference_against_the_others() -> None:
    (a, b, c), (d, e) = REFERENCES[0], REFERENCES[1]
    first = score_captions([a, d], [[b, c], [e]])
    second = score_captions([b, e], [[a, c], [d]])
    expected = {name: (first[name] + second[name]) / 2 for name in first}
    assert leave_one_out_scores(CANDIDATES, REFERENCES)["human"] == pytest.approx(
        expected
    )  # the picture with one reference is left out


def test_a_captioner_is_scored_on_the_references_that_people_are_scored_on() -> None:
    (a, b, c), (d, e) = REFERENCES[0], REFERENCES[1]
    first = score_captions(CANDIDATES[:2], [[b, c], [e]])
    second = score_captions(CANDIDATES[:2], [[a, c], [d]])
    expected = {name: (first[name] + second[name]) / 2 for name in first}
    assert leave_one_out_scores(CANDIDATES, REFERENCES)["fewer_references"] == pytest.approx(expected)


def test_with_one_reference_a_picture_there_are_no_human_scores() -> None:
    assert leave_one_out_scores([CANDIDATES[2]], [REFERENCES[2]]) == {}


def test_captions_without_a_picture_are_refused() -> None:
    with pytest.raises(ScoreError, match="2 captions for 3 images"):
        leave_one_out_scores(CANDIDATES[:2], REFERENCES)


def test_the_constant_caption_is_the_training_caption_that_scores_best_on_all_pictures() -> None:
    truths = [words("a dog runs on the grass"), words("a dog runs on the sand")]
    good, bad, only_words = words("a dog runs on the road", "two kids play with a ball", "grass sand the on runs dog a")
    assert constant_caption([bad, bad, good], truths) == good
    assert constant_caption([only_words, only_words, good], truths) == good  # by BLEU-4, not by BLEU-1
    rare = [bad] * 2 + [words(f"n{i} m{i}")[0] for i in range(49) for _ in range(2)]
    assert constant_caption([*rare, good], truths) != good  # it is chosen among the 50 most frequent captions


def test_random_captions_are_training_captions_by_the_seed() -> None:
    train = [[str(number)] for number in range(1000)]
    drawn = random_captions(train, 50, seed=1)
    assert len(drawn) == 50 and all(caption in train for caption in drawn)
    assert drawn == random_captions(train, 50, seed=1) != random_captions(train, 50, seed=2)
    with pytest.raises(ScoreError, match="there are no training captions"):
        random_captions([], 1, seed=1)


TRAIN = [
    words("a cat sleeps on a sofa", "a cat"),
    words("a dog runs", "a brown dog runs over grass", "a dog runs over the grass"),
    words("the dog on grass", "a dog runs over grass quickly"),
    words("a man on a bike"),
]
TRAIN_FEATURES = np.array([[1, 0, 0], [0, 1, 0], [0, 0.9, 0.1], [0, 0, 1]], dtype=np.float32)


def test_the_nearest_images_are_those_with_the_most_similar_features() -> None:
    features = np.array([[0.2, 7, 0], [5, 4, 0], [0, 0.1, 0.3]], dtype=np.float32)  # the length does not matter
    captions = [[of_image[0]] for of_image in TRAIN]
    assert nearest_captions(features, [TRAIN_FEATURES], captions, k=1) == words(
        "a dog runs", "a cat sleeps on a sofa", "a man on a bike"
    )


def test_the_consensus_of_the_nearest_is_the_caption_most_like_the_others() -> None:
    features = np.array([[0, 1, 0.02]], dtype=np.float32)
    assert nearest_captions(features, [TRAIN_FEATURES], TRAIN, k=2) == words("a dog runs over the grass")
    everything = nearest_captions(features, [TRAIN_FEATURES], TRAIN, k=99)  # more than there are: all of them
    assert everything == nearest_captions(features, [TRAIN_FEATURES], TRAIN, k=4)


@pytest.mark.parametrize(
    ("features", "train_features", "captions", "k", "message"),
    [
        (np.ones((1, 3)), TRAIN_FEATURES, TRAIN, 0, "k is 0"),
        (np.ones((1, 3)), TRAIN_FEATURES[:2], TRAIN, 1, "2 training images with captions of 4"),
        (np.ones((1, 3)), TRAIN_FEATURES[:1], [[]], 1, "each needs at least one"),
        (np.ones((1, 3)), TRAIN_FEATURES[:0], [], 1, "0 training images"),
        (np.ones((1, 2)), TRAIN_FEATURES, TRAIN, 1, r"features of shapes \(2,\) and \(3,\)"),
        (np.full((1, 3), np.nan), TRAIN_FEATURES, TRAIN, 1, "NaN"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    features: np.ndarray, train_features: np.ndarray, captions: list[list[list[str]]], k: int, message: str
) -> None:
    with pytest.raises(ScoreError, match=message):
        nearest_captions(features.astype(np.float32), [train_features], captions, k)


def test_of_captions_that_agree_equally_the_first_is_taken() -> None:
    captions = [words("the cat", "a dog"), words("a dog", "the cat"), words("a man on a bike")]
    features = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    assert nearest_captions(features[:1], [features], captions, k=2) == words("the cat")


def test_the_nearest_baseline_has_the_scores_that_were_reported_before() -> None:
    """The numbers were computed by an earlier implementation, with NumPy."""
    rng = np.random.default_rng(7)
    topics = rng.integers(8, size=120)
    features = (np.eye(8)[topics] + 0.3 * rng.normal(size=(120, 8))).astype(np.float32)
    captions = [[_caption(rng, topic) for _ in range(3)] for topic in topics]
    expected = {
        2: {"bleu_1": 0.5444015443994424, "rouge_l": 0.3927291397273483, "cider": 0.8276324836344591},
        10: {"bleu_1": 0.5870445344105788, "rouge_l": 0.4438093374425214, "cider": 0.9862014848480307},
    }
    for k, scores in expected.items():
        chosen = nearest_captions(features[80:], np.array_split(features[:80], 3), captions[:80], k)
        found = score_captions(chosen, captions[80:])
        assert {name: found[name] for name in scores} == pytest.approx(scores, abs=1e-6)


def _caption(rng: np.random.Generator, topic: int) -> list[str]:
    return [f"w{int(topic * 5 + 40 * rng.random() ** 3) % 40}" for _ in range(rng.integers(4, 9))]


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
    features = pooled(store, ["a", "b", "zero"] * 100)[:3]
    np.testing.assert_allclose(features, [[0.6, 0.8], [0, 1], [0, 0]], atol=1e-6)
    assert features.dtype == np.float32
    assert store.asked == [256, 44]
