"""Samples: from the model's own distribution, narrowed as the papers say, the same again from the same seed."""

from collections import Counter
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare  # type: ignore[import-untyped]

from tests.generation.tiny import argmax_loop, model, pictures, settings, words_of
from wordgaze.generation.generate import generate
from wordgaze.generation.logits_warpers import build_logits_warpers
from wordgaze.generation.outputs import Caption
from wordgaze.generation.sampling import draw_tokens
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import END, PAD, START, UNK

LIKELY = 1e-3  # how improbable the counts may be before they are held to be wrong


def fits(counts: Counter[tuple[str, ...]], probs: dict[tuple[str, ...], float]) -> bool:
    """Pearson's chi-square test; what is expected less than five times is put together."""
    total = sum(counts.values())
    assert set(counts) <= set(probs)
    common = [caption for caption, p in probs.items() if p * total >= 5]
    observed = [counts[caption] for caption in common]
    expected = [probs[caption] * total for caption in common]
    if (rest := total - sum(expected)) > 1e-6 * total:
        observed.append(total - sum(observed))
        expected.append(rest)
    return bool(chisquare(observed, np.array(expected) * total / sum(expected)).pvalue > LIKELY)


@pytest.mark.parametrize("seed", range(3))
def test_samples_follow_the_models_distribution(seed: int) -> None:
    decoder, vocabulary = model(3, seed)
    features = pictures(2)
    found = generate(
        decoder, features, vocabulary, settings("sample", num_return_sequences=3000, max_new_tokens=2), seed=seed
    )
    ended = [[*words, END] for n in range(2) for words in product(range(4, 7), repeat=n)]
    every = ended + [list(words) for words in product(range(4, 7), repeat=2)]
    for picture, captions in zip(features, found, strict=True):
        probs = {words_of(vocabulary, words): sayable(decoder, picture, words) for words in every}
        assert sum(probs.values()) == pytest.approx(1, abs=1e-5)
        counts = Counter(caption.words for caption in captions)
        assert fits(counts, probs)
        assert not fits(counts, dict(zip(probs, list(probs.values())[::-1], strict=True)))  # the test can fail


@torch.no_grad()
def sayable(decoder: Decoder, picture: torch.Tensor, words: list[int]) -> float:
    """The probability of these words where PAD, START and UNK cannot be generated."""
    memory = decoder.encode(picture.unsqueeze(0))
    state, last, probability = decoder.init_state(memory, 1), START, 1.0
    for word in words:
        logits, state, _ = decoder.step(torch.tensor([last]), decoder.prepare_step(state, memory), memory)
        logits[:, [PAD, START, UNK]] = -torch.inf
        probability *= float(torch.softmax(logits, 1)[0, word])
        last = word
    return probability


@pytest.mark.parametrize(
    "values", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}, {"top_p": 0.0}]
)
@pytest.mark.parametrize("seed", range(3))
def test_what_leaves_one_word_is_greedy(seed: int, values: dict[str, float]) -> None:
    decoder, vocabulary = model(8, seed)
    features = pictures(6)
    expected = [words_of(vocabulary, argmax_loop(decoder, picture, 10)) for picture in features]
    found = generate(
        decoder, features, vocabulary, settings("sample", num_return_sequences=2, max_new_tokens=10, **values)
    )
    assert [[c.words for c in of_one] for of_one in found] == [[words, words] for words in expected]


def identical(mine: list[Caption], theirs: list[Caption]) -> bool:
    return all(
        (a.words, a.log_prob, a.weights.tobytes()) == (b.words, b.log_prob, b.weights.tobytes())
        for a, b in zip(mine, theirs, strict=True)
    )


def test_a_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    decoder, vocabulary = model(30, 1)
    params = settings("sample", num_return_sequences=4, max_new_tokens=8, temperature=1.5)
    one, again, other = (generate(decoder, pictures(5), vocabulary, params, seed=seed) for seed in (1, 1, 2))
    assert all(identical(mine, theirs) for mine, theirs in zip(one, again, strict=True))
    assert [[c.words for c in of_one] for of_one in one] != [[c.words for c in of_one] for of_one in other]
    assert len({c.words for of_one in one for c in of_one}) > 10


def test_more_samples_begin_with_the_fewer() -> None:
    decoder, vocabulary = model(30, 1)
    few, many = (
        generate(decoder, pictures(3), vocabulary, settings("sample", num_return_sequences=num, max_new_tokens=8))
        for num in (2, 5)
    )
    assert [[c.words for c in of_one] for of_one in few] == [[c.words for c in of_one[:2]] for of_one in many]


# No two words are equally likely: which of them falls within an edge is nobody's business.
distributions = st.lists(st.integers(1, 10**6), min_size=2, max_size=200, unique=True).map(
    lambda p: np.array(p) / sum(p)
)


def slowly(probs: npt.NDArray[np.float64], top_k: int, top_p: float, typical_p: float, min_p: float) -> list[float]:
    """The filters one after the other, with plain lists."""

    def keep(kept: set[int]) -> None:
        whole = sum(p[i] for i in kept)
        p[:] = [x / whole if i in kept else 0.0 for i, x in enumerate(p)]

    def fewest(order: list[int], mass: float) -> set[int]:
        kept, total = set(), 0.0
        for i in order:
            kept.add(i)
            total += p[i]
            assume(abs(total - mass) > 1e-9)
            if total >= mass:
                break
        return kept

    p = list(probs)
    if 0 < top_k < len(p):
        least = sorted(p, reverse=True)[top_k - 1]
        keep({i for i, x in enumerate(p) if x >= least})
    if top_p < 1:
        keep(fewest(sorted(range(len(p)), key=lambda i: -p[i]), top_p))
    if typical_p < 1:
        entropy = -sum(x * np.log(x) for x in p if x)
        real = [i for i, x in enumerate(p) if x]
        keep(fewest(sorted(real, key=lambda i: abs(-np.log(p[i]) - entropy)), typical_p))
    keep({i for i, x in enumerate(p) if x and x >= min_p * max(p)})
    return p


@given(distributions, st.integers(0, 300), st.floats(0.05, 1), st.floats(0.05, 1), st.floats(0, 1))
def test_the_filters_are_those_of_their_papers(
    probs: npt.NDArray[np.float64], top_k: int, top_p: float, typical_p: float, min_p: float
) -> None:
    params = settings("sample", top_k=top_k, top_p=top_p, typical_p=typical_p, min_p=min_p)
    narrowed = build_logits_warpers(params)(torch.from_numpy(probs).log().unsqueeze(0))[0]
    expected = torch.tensor(slowly(probs, top_k, top_p, typical_p, min_p), dtype=torch.float64)
    torch.testing.assert_close(narrowed, expected)


@given(distributions, st.floats(0, 1, exclude_max=True))
def test_a_word_without_probability_is_never_drawn(probs: npt.NDArray[np.float64], uniform: float) -> None:
    probs[::2] = 0
    row = torch.from_numpy(np.stack([probs, probs[::-1]]))
    for index in (0, 1):
        word = draw_tokens(row, torch.tensor([index]), torch.tensor([uniform], dtype=torch.float64))
        assert row[index, int(word)] > 0


def test_temperature_sharpens_and_flattens() -> None:
    log_probs = torch.tensor([[0.7, 0.2, 0.1]]).log()
    for temperature in (0.5, 1.0, 2.0):
        expected = torch.tensor([0.7, 0.2, 0.1]) ** (1 / temperature)
        found = build_logits_warpers(settings("sample", temperature=temperature))(log_probs)[0]
        torch.testing.assert_close(found, expected / expected.sum())
