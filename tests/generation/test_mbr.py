"""Minimum Bayes risk: the candidate that agrees most with the others wins."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.mbr import MbrReranker
from wordgaze.generation.outputs import Caption
from wordgaze.metrics.bleu import corpus_bleu


def caption(text: str, log_prob: float = -1.0) -> Caption:
    words = tuple(text.split())
    return Caption(words, log_prob, log_prob, (log_prob,) * len(words), np.zeros((len(words), 2, 2), np.float32), "end")


def rerank(candidates: list[Caption], num: int, utility: str) -> list[Caption]:
    config = GenerationConfig.model_validate(
        {"strategy": "mbr", "mbr_utility": utility, "mbr_samples": 100, "num_return_sequences": num}
    )
    return MbrReranker().rerank([candidates], torch.zeros(1, 4, 2), config)[0]


DOGS = [caption(text) for text in ("a dog runs on grass", "a brown dog runs on the grass", "a dog runs on the grass")]
ODD = caption("two men in suits", log_prob=-0.1)


@pytest.mark.parametrize("utility", ["cider", "bleu"])
def test_the_odd_one_out_does_not_win_however_likely_it_is(utility: str) -> None:
    best, *_, last = rerank([ODD, *DOGS], 4, utility)
    assert best.text == "a dog runs on the grass"
    assert last.text == ODD.text
    assert last.score == pytest.approx(0, abs=1e-6)


def test_bleu_utility_is_bleu_against_the_others() -> None:
    for found in rerank(DOGS, 3, "bleu"):
        others = [c.words for c in DOGS if c.words != found.words]
        assert found.score == pytest.approx(corpus_bleu([found.words], [others])["bleu_4"])


def test_candidates_found_twice_count_twice_and_come_back_once() -> None:
    found = rerank([*DOGS, ODD, ODD, ODD, ODD], 5, "cider")
    assert [c.text for c in found].count(ODD.text) == 1
    assert found[0].text == ODD.text
    assert len(found) == 4


@pytest.mark.parametrize("utility", ["cider", "bleu"])
def test_all_alike_is_the_best_agreement_there_is(utility: str) -> None:
    whole = {"cider": 10.0, "bleu": 1.0}[utility]
    for count in (1, 2, 5):
        [only] = rerank([DOGS[0]] * count, 3, utility)
        assert only.score == pytest.approx(whole)


words = st.lists(st.sampled_from("a dog cat runs sits on grass".split()), max_size=8).map(" ".join)


@given(st.lists(words, min_size=1, max_size=8), st.integers(1, 8), st.sampled_from(["cider", "bleu"]))
def test_the_winners_are_candidates_in_any_order_of_them(texts: list[str], num: int, utility: str) -> None:
    candidates = [caption(text, log_prob=-float(i)) for i, text in enumerate(sorted(set(texts)))]
    found = rerank(candidates, num, utility)
    assert len(found) == min(num, len(candidates))
    assert {c.words for c in found} <= {c.words for c in candidates}
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    backwards = rerank(candidates[::-1], num, utility)
    assert [c.score for c in backwards] == pytest.approx([c.score for c in found])
