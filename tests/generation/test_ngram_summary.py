"""The summary of a regression chooses as the regression does, and holds no captions."""

import pytest
import torch

from tests.generation.test_neighbours import CANDIDATES, DOG, MEN, VOCABULARY, caption, known
from tests.generation.tiny import CELLS, CHANNELS, settings
from wordgaze.core.errors import ModelError
from wordgaze.generation.ngram_summary import NgramSummaryReranker

FOUND = [[caption(CANDIDATES[0], -0.1), caption(CANDIDATES[1], -0.2)]] * 20
BOTH = settings("neighbours", neighbour_weight=0.0, num_return_sequences=2)


def test_with_the_whole_rank_the_scores_are_those_of_the_regression() -> None:
    features, neighbours = known()  # five channels, fewer than the rank
    summary = NgramSummaryReranker.summarise(neighbours)
    exact = neighbours.rerank(FOUND, features, BOTH)
    for mine, theirs in zip(summary.rerank(FOUND, features, BOTH), exact, strict=True):
        assert [c.words for c in mine] == [c.words for c in theirs]
        assert [c.score for c in mine] == pytest.approx([c.score for c in theirs], abs=1e-3)


def test_a_lower_rank_describes_the_predictions_best() -> None:
    """Of all matrices of rank 1, it has the predictions with the least error on the training images."""
    _, neighbours = known()
    regression = neighbours.regression
    grams, down, up, bias = regression.reduced(1, 1)
    vectors = neighbours.vectors.float()
    places = [sorted(regression._images).index(gram) for gram in grams]
    exact = regression.predict(vectors)[:, places]
    best = torch.linalg.svdvals(exact - bias)[1:].square().sum()
    error = (vectors @ down @ up + bias - exact).square().sum()
    assert float(error) <= float(best) * 1.2 + 1e-4  # the ridge penalty weighs the rest


def test_it_is_stored_in_half_precision_without_a_caption() -> None:
    features, neighbours = known()
    summary = NgramSummaryReranker.summarise(neighbours)
    half = {name: x.half() if x.is_floating_point() else x for name, x in summary.tensors().items()}
    again = NgramSummaryReranker.load(half, VOCABULARY)
    assert again
    expected = [of_image[0].words for of_image in summary.rerank(FOUND, features, BOTH)]
    assert [of_image[0].words for of_image in again.rerank(FOUND, features, BOTH)] == expected
    assert {len(gram) for gram in half["ngrams"].tolist()} == {4}
    longest = max(len(DOG), len(MEN))
    assert longest > 4  # so no caption of the training images is among the n-grams
    assert NgramSummaryReranker.load({}, VOCABULARY) is None


def test_features_of_another_encoder_are_refused() -> None:
    _, neighbours = known()
    with pytest.raises(ModelError, match="7 channels cannot be compared with training images of 5"):
        NgramSummaryReranker.summarise(neighbours).rerank(FOUND[:1], torch.zeros(1, CELLS, CHANNELS + 2), BOTH)
