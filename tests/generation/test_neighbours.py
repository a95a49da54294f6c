"""Of the captions that a beam search finds, the one that the captions of similar pictures speak for."""

import numpy as np
import pytest
import torch

from tests.generation.tiny import CELLS, CHANNELS, model, pictures, settings
from wordgaze.core.errors import ModelError
from wordgaze.generation.ensemble import Ensemble
from wordgaze.generation.generate import generate
from wordgaze.generation.neighbours import NeighbourReranker
from wordgaze.generation.outputs import Caption
from wordgaze.text.vocabulary import SPECIAL, Vocabulary

DOG, MEN = "a dog runs on grass".split(), "two men sit in suits".split()
VOCABULARY = Vocabulary((*SPECIAL, *sorted({*DOG, *MEN})))
CANDIDATES = [["two", "men", "sit"], ["a", "dog", "runs"]]


def caption(words: list[str], score: float) -> Caption:
    return Caption(tuple(words), 2 * score, score, (score,) * len(words), np.zeros((len(words), 1, CELLS)), "end")


def known() -> tuple[torch.Tensor, NeighbourReranker]:
    """Twenty pictures with two captions each: dogs where all channels are high, men where they are low."""
    features = torch.randn(20, CELLS, CHANNELS, generator=torch.Generator().manual_seed(3))
    features[:10] += 10
    captions = [[DOG, [*DOG[:2], "unheard-of"]]] * 10 + [[MEN]] * 10
    return features, NeighbourReranker.fit(features.mean(1), captions, VOCABULARY)


def test_the_candidate_that_their_captions_agree_with_wins_over_a_likelier_one() -> None:
    features, neighbours = known()
    found = [[caption(CANDIDATES[0], -0.1), caption(CANDIDATES[1], -0.2)]] * 20
    chosen = neighbours.rerank(found, features, settings("neighbours", num_neighbours=5))
    assert [of_one[0].words[0] for of_one in chosen] == ["a"] * 10 + ["two"] * 10
    assert {len(of_one) for of_one in chosen} == {1}
    none = settings("neighbours", neighbour_weight=0.0, regression_weight=0.0, num_return_sequences=2)
    likeliest = neighbours.rerank(found, features, none)
    assert [[c.words[0] for c in of_one] for of_one in likeliest] == [["two", "a"]] * 20
    [dog, men] = neighbours.rerank(found, features, settings("neighbours", num_neighbours=5, num_return_sequences=2))[0]
    assert dog.score > -0.2 and dog.log_prob == pytest.approx(-0.4)
    assert dog.score > men.score


def test_what_all_training_pictures_foretell_decides_where_the_nearest_are_not_asked() -> None:
    features, neighbours = known()
    found = [[caption(CANDIDATES[0], -0.1), caption(CANDIDATES[1], -0.2)]] * 20
    foretold = settings("neighbours", neighbour_weight=0.0, num_return_sequences=2)
    chosen = neighbours.rerank(found, features, foretold)
    assert [of_one[0].words[0] for of_one in chosen] == ["a"] * 10 + ["two"] * 10
    [dog, men] = chosen[0]
    twice = neighbours.rerank(found, features, foretold.model_copy(update={"regression_weight": 8.0}))[0]
    assert [c.score for c in twice] == pytest.approx([2 * dog.score + 0.2, 2 * men.score + 0.1])


def test_what_is_stored_makes_the_same_choices() -> None:
    features, neighbours = known()
    again = NeighbourReranker.load(neighbours.tensors(), VOCABULARY)
    assert again
    found = [[caption(words, -0.1) for words in CANDIDATES]] * 20
    params = settings("neighbours", num_return_sequences=2)
    scores = [[[c.score for c in of_one] for of_one in n.rerank(found, features, params)] for n in (neighbours, again)]
    assert scores[0] == scores[1]
    assert NeighbourReranker.load({}, VOCABULARY) is None
    other = known()[1].tensors()
    assert all(torch.equal(tensor, other[name]) for name, tensor in neighbours.tensors().items())


def test_it_chooses_among_what_the_beam_finds() -> None:
    decoder, vocabulary = model(10, 0)
    features = pictures(6)
    words = [[list(vocabulary.words[-3:])]] * 6
    neighbours = NeighbourReranker.fit(features.mean(1), words, vocabulary)
    params = settings("neighbours", num_beams=6, num_return_sequences=2, max_new_tokens=6)
    beam = generate(
        decoder, features, vocabulary, settings("beam", num_beams=6, num_return_sequences=6, max_new_tokens=6)
    )
    for speaker, seen in ((decoder, features), (Ensemble([decoder, decoder]), [features, features])):
        found = generate(speaker, seen, vocabulary, params, neighbours=neighbours)
        for of_one, every in zip(found, beam, strict=True):
            assert len(of_one) == 2 and of_one[0].score >= of_one[1].score
            assert {c.words for c in of_one} <= {c.words for c in every}


def test_without_pictures_to_compare_with_it_is_refused() -> None:
    decoder, vocabulary = model(10, 0)
    with pytest.raises(ModelError, match="no training images to compare with; use another strategy"):
        generate(decoder, pictures(1), vocabulary, settings("neighbours"))
    with pytest.raises(ModelError, match="features of 2 channels cannot be compared with training images of 5"):
        known()[1].rerank([[]], torch.zeros(1, CELLS, 2), settings("neighbours"))
