"""The agreement of captions of one image with each other."""

import numpy as np
import pytest

from tests.metrics.examples import words
from wordgaze.metrics.bleu import corpus_bleu
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.consensus import UNIFORM, Utility, consensus_scores
from wordgaze.metrics.document_frequencies import DocumentFrequencies, document_frequencies

CANDIDATES = words("a dog runs", "a brown dog runs on grass", "a dog runs on grass", "", "two men sit in a car")


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
    expected = [value / (len(candidates) - 1) for value in alike]
    assert consensus_scores(candidates, "cosine", DocumentFrequencies(idf, 0.0)) == pytest.approx(expected)
    assert len({round(value, 6) for value in alike}) == 4


def test_cider_and_bleu_are_those_against_the_other_candidates() -> None:
    others = [[*CANDIDATES[:i], *CANDIDATES[i + 1 :]] for i in range(len(CANDIDATES))]
    bleu = [corpus_bleu([c], [rest])["bleu_4"] for c, rest in zip(CANDIDATES, others, strict=True)]
    assert consensus_scores(CANDIDATES, "bleu") == pytest.approx(bleu)
    for frequencies in (UNIFORM, document_frequencies([CANDIDATES, words("a cat"), words("a red car")])):
        cider = Cider(others, frequencies).per_image(CANDIDATES)
        assert consensus_scores(CANDIDATES, "cider", frequencies) == pytest.approx(cider)


@pytest.mark.parametrize(("utility", "perfect"), [("bleu", 1.0), ("cider", 10.0), ("cosine", 1.0)])
def test_equal_captions_agree_perfectly_and_so_does_a_single_one(utility: Utility, perfect: float) -> None:
    for count in (1, 2, 5):
        assert consensus_scores([CANDIDATES[2]] * count, utility) == pytest.approx([perfect] * count)


def test_words_that_all_images_have_do_not_count() -> None:
    assert consensus_scores(words("a dog", "a dog", ""), "cosine", DocumentFrequencies({}, 0.0)) == [0.0] * 3
