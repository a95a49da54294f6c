"""What captions of a picture are expected to hold, against the regression written out."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from wordgaze.generation.ngram_regression import MIN_IMAGES, PENALTY, NgramRegression
from wordgaze.metrics.cider import Cider, unit_vector
from wordgaze.metrics.document_frequencies import DocumentFrequencies, document_frequencies

PICTURES = 12
DOGS = [["a dog runs".split(), "the dog runs on grass".split()], ["a dog on grass".split()]]
MEN = [["two men sit".split(), "men in suits".split()], ["two men in suits sit".split()]]
CANDIDATES = ["a dog runs on grass".split(), "two men sit".split(), "a dog sit in suits".split(), "unheard of".split()]


def vectors(count: int, seed: int = 3) -> torch.Tensor:
    return normalize(torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_it_is_the_ridge_regression_to_the_mean_vectors_of_the_captions() -> None:
    captions = (DOGS + MEN) * (PICTURES // 4)
    train, asked = vectors(PICTURES), vectors(4, 8)
    frequencies = document_frequencies(captions)
    found = NgramRegression(train, captions, frequencies)
    grams = sorted({gram for of_one in captions for words in of_one for gram in unit_vector(words, frequencies)})
    truth = np.zeros((PICTURES, len(grams)))
    for row, of_one in zip(truth, captions, strict=True):
        for words in of_one:
            for gram, x in unit_vector(words, frequencies).items():
                row[grams.index(gram)] += x / len(of_one)
    x, mean = train.double().numpy(), truth.mean(0)
    coefficients = np.linalg.solve(x.T @ x + PENALTY * np.eye(5), x.T @ (truth - mean))
    foretold = mean + asked.double().numpy() @ coefficients
    for scores, by_hand in zip(found.scores(asked, [CANDIDATES] * 4), foretold, strict=True):
        for words, score in zip(CANDIDATES, scores, strict=True):
            mine = unit_vector(words, frequencies)
            assert score == pytest.approx(
                10 / 4 * sum(mine.get(gram, 0) * y for gram, y in zip(grams, by_hand, strict=True)), abs=1e-4
            )


def test_where_all_pictures_have_the_same_captions_it_is_plain_cider_against_them() -> None:
    captions = [DOGS[0]] * PICTURES
    frequencies = DocumentFrequencies({("dog",): 0.5, ("grass",): 2.0}, 1.0)
    found = NgramRegression(vectors(PICTURES), captions, frequencies)
    references = [unit_vector(words, frequencies) for words in DOGS[0]]
    plain = [
        10 / 4 * sum(x * of_one.get(gram, 0) for gram, x in unit_vector(words, frequencies).items() for of_one in references)
        / len(references)
        for words in CANDIDATES
    ]  # fmt: skip
    assert found.scores(vectors(1, 5), [CANDIDATES])[0] == pytest.approx(plain, abs=1e-4)
    assert plain[0] > plain[1]


def test_pictures_foretell_what_is_generated_of_them() -> None:
    train = torch.cat([vectors(1), -vectors(1)]).repeat(PICTURES // 2, 1)
    captions = [DOGS[0], MEN[0]] * (PICTURES // 2)
    found = NgramRegression(train, captions, document_frequencies(captions))
    dog, man = found.scores(train[:2], [CANDIDATES] * 2)
    assert dog[0] > dog[2] > dog[1] and man[1] > man[2] > man[0]
    real = Cider([DOGS[0]], document_frequencies(captions)).reward([0, 0], CANDIDATES[:2])
    assert real[0] > real[1]  # and what is foretold ranks them as the real captions do


def test_what_few_pictures_generate_is_not_learned_and_too_few_pictures_foretell_nothing() -> None:
    captions = [DOGS[0]] * MIN_IMAGES + [MEN[0]] * (MIN_IMAGES - 1)
    frequencies = document_frequencies(captions)
    found = NgramRegression(vectors(len(captions)), captions, frequencies)
    dog, men, *_ = found.scores(vectors(1, 5), [CANDIDATES])[0]
    assert dog > 0 and men == 0
    nothing = NgramRegression(vectors(2), [DOGS[0], MEN[0]], frequencies)
    assert nothing.scores(vectors(1, 5), [CANDIDATES])[0] == [0.0] * len(CANDIDATES)
