"""The confidence of a caption: it ranks right captions before wrong ones, is a probability, and is stored whole."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.generation.tiny import CELLS, CHANNELS
from wordgaze.core.errors import ModelError
from wordgaze.generation.confidence import ConfidenceModel
from wordgaze.generation.image_statistics import ImageStatistics
from wordgaze.generation.outputs import Caption
from wordgaze.generation.principal_regression import MIN_FREQUENCY, PrincipalRegression
from wordgaze.metrics.calibration import captions_right
from wordgaze.metrics.selective import auroc
from wordgaze.text.vocabulary import SPECIAL, Vocabulary

DOG, MEN = "a dog runs on grass".split(), "two men sit in suits".split()
VOCABULARY = Vocabulary((*SPECIAL, *sorted({*DOG, *MEN})))


def caption(words: list[str], log_prob: float = -0.5) -> Caption:
    attention = np.zeros((len(words), 1, CELLS), np.float32)
    return Caption(tuple(words), log_prob * (len(words) + 1), log_prob, (log_prob,) * len(words), attention, "end")


def images(number: int, seed: int) -> torch.Tensor:
    """Features of dogs, whose first channels are high, and then of as many men."""
    features = torch.randn(2 * number, CELLS, CHANNELS, generator=torch.Generator().manual_seed(seed))
    features[:number, :, :2] += 4
    return features


@pytest.fixture(scope="module")
def parts() -> tuple[ImageStatistics, PrincipalRegression]:
    means = images(30, 0).mean(1)
    statistics = ImageStatistics.fit(means)
    captions = [[DOG, [*DOG[:2], "unheard-of"]]] * 30 + [[MEN]] * 30
    return statistics, PrincipalRegression.fit(statistics.project(means)[0], captions, VOCABULARY)


@pytest.fixture(scope="module")
def model(parts: tuple[ImageStatistics, PrincipalRegression]) -> ConfidenceModel:
    """Fitted to forty images, of which every fourth has the wrong caption."""
    captions = [caption(DOG if (i < 20) != (i % 4 == 0) else MEN, -0.5 - 0.02 * (i % 7)) for i in range(40)]
    return ConfidenceModel.fit(*parts, images(20, 1).mean(1), captions, [[DOG]] * 20 + [[MEN]] * 20)


def test_a_caption_that_fits_the_image_has_a_higher_confidence(model: ConfidenceModel) -> None:
    features = images(25, 2)
    [*found] = model.assign([[caption(DOG), caption(MEN)]] * 50, features)
    dog, men = ([of_image[i].confidence for of_image in found] for i in (0, 1))
    assert all(value is not None and 0 <= value <= 1 for value in dog + men)
    right, wrong = dog[:25] + men[25:], men[:25] + dog[25:]
    assert auroc(wrong, right) > 0.95  # type: ignore[arg-type]
    assert np.mean(right) > 0.8 > 0.4 > np.mean(wrong)  # type: ignore[arg-type]


def test_nothing_but_the_confidence_of_a_caption_and_the_outlier_mark_changes(model: ConfidenceModel) -> None:
    before = caption(DOG)
    [[after]] = model.assign([[before]], images(1, 3)[:1])
    assert replace(after, confidence=None, is_outlier=False, attention=before.attention) == before
    assert after.confidence is not None


def test_the_probabilities_are_calibrated_where_they_were_fitted(
    parts: tuple[ImageStatistics, PrincipalRegression],
) -> None:
    """Without Platt's targets the mean of a logistic regression would be the share exactly (its first condition)."""
    random = np.random.default_rng(0)
    captions = [caption(DOG if random.random() < 0.7 else MEN, -random.random()) for _ in range(400)]
    references = [[DOG]] * 400
    features = images(200, 4)
    fitted = ConfidenceModel.fit(*parts, features.mean(1), captions, references)
    found = fitted.assign([[one] for one in captions], features)
    share = np.mean(captions_right([one.words for one in captions], references))
    assert np.mean([of_image[0].confidence for of_image in found]) == pytest.approx(share, abs=0.01)  # type: ignore[arg-type]


@given(st.integers(0, 1000), st.floats(-8, -0.01), st.lists(st.sampled_from([*DOG, *MEN]), max_size=20))
def test_every_caption_of_every_image_has_a_probability(
    model: ConfidenceModel, seed: int, log_prob: float, words: list[str]
) -> None:
    features = 10 * torch.randn(1, CELLS, CHANNELS, generator=torch.Generator().manual_seed(seed))
    [[found]] = model.assign([[caption(words, log_prob)]], features)
    assert found.confidence is not None and 0 <= found.confidence <= 1
    assert math.isfinite(model.outlier_scores([found], features)[0])


def test_an_image_of_another_kind_is_an_outlier(model: ConfidenceModel) -> None:
    known, other = images(50, 5), images(50, 6)
    other[:, :, 4] += 6  # a channel that hardly differs between the training images
    captions = [caption(DOG)] * 50 + [caption(MEN)] * 50
    usual, unusual = model.outlier_scores(captions, known), model.outlier_scores(captions, other)
    assert auroc(usual, unusual) > 0.95
    assert np.mean(np.array(usual) > model.outlier_threshold) < 0.3
    assert np.mean(np.array(unusual) > model.outlier_threshold) > 0.9
    assert model.outlier_scores([], known[:0]) == []
    for features, scores in ((known, usual), (other, unusual)):
        assigned = model.assign([[first, caption(MEN)] for first in captions], features)
        marks = [{each.is_outlier for each in of_image} for of_image in assigned]
        assert marks == [{score > model.outlier_threshold} for score in scores]  # of the image, by its best caption


def test_what_is_stored_gives_equal_confidences(
    model: ConfidenceModel, parts: tuple[ImageStatistics, PrincipalRegression]
) -> None:
    again = ConfidenceModel.load(model.tensors(), VOCABULARY)
    assert again
    features, captions = images(10, 7), [[caption(DOG), caption(MEN)]] * 20
    for mine, theirs in zip(model.assign(captions, features), again.assign(captions, features), strict=True):
        assert [one.confidence for one in mine] == [one.confidence for one in theirs]
    best = [of_image[0] for of_image in captions]
    assert model.outlier_scores(best, features) == again.outlier_scores(best, features)
    assert again.outlier_threshold == model.outlier_threshold
    assert ConfidenceModel.load({}, VOCABULARY) is None
    with pytest.raises(KeyError, match="calibration"):
        ConfidenceModel.load({k: v for k, v in model.tensors().items() if k != "calibration"}, VOCABULARY)


def test_equal_data_are_fitted_equally_and_the_random_numbers_of_others_stay(model: ConfidenceModel) -> None:
    means = images(30, 0).mean(1)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = ImageStatistics.fit(means)
    assert torch.equal(torch.rand(3), expected)
    second = ImageStatistics.fit(means)
    assert all(torch.equal(tensor, second.tensors()[name]) for name, tensor in first.tensors().items())


@pytest.mark.parametrize("words", [DOG, MEN, []])
def test_a_dev_split_of_one_caption_is_enough(
    parts: tuple[ImageStatistics, PrincipalRegression], words: list[str]
) -> None:
    fitted = ConfidenceModel.fit(*parts, images(1, 8)[:1].mean(1), [caption(words)], [[DOG]])
    [[found]] = fitted.assign([[caption(words)]], images(1, 8)[:1])
    assert found.confidence == pytest.approx(2 / 3 if words == DOG else 1 / 3, abs=1e-3)  # (1 + 1) / (1 + 2)


def test_features_of_another_encoder_are_refused(model: ConfidenceModel) -> None:
    with pytest.raises(ModelError, match="features of 2 channels cannot be compared with training images of 5"):
        model.assign([[caption(DOG)]], torch.zeros(1, CELLS, 2))


def test_rare_n_grams_and_unknown_words_are_not_estimated() -> None:
    means = images(30, 0).mean(1)
    statistics = ImageStatistics.fit(means)
    rare = [[DOG]] * (MIN_FREQUENCY - 1) + [[["unheard-of", "men"]]] * 41
    regression = PrincipalRegression.fit(statistics.project(means)[0], rare, VOCABULARY)
    words = {VOCABULARY.words[i] for row in regression.grams.tolist() for i in row if i}
    assert words == {"men"}
    assert regression.score(statistics.project(means)[0][0], DOG) == 0
