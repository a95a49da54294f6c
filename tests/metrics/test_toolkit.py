"""Scores equal to the COCO evaluation toolkit's, from the raw captions on: its numbers without its Java."""

import pytest

from tests.metrics.toolkit import FROZEN, flickr8k, needs_flickr8k, needs_java, small, tokenized_by_java, toolkit_scores
from wordgaze.metrics.bleu import Bleu
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.rouge import RougeL
from wordgaze.text.tokenizers.ptb import tokenize

Captions = tuple[list[list[str]], list[list[list[str]]]]

SETS = [
    pytest.param("small"),
    pytest.param("human", marks=needs_flickr8k),
    pytest.param("model", marks=needs_flickr8k),
]


def raw(chosen: str) -> tuple[list[str], list[list[str]]]:
    return small() if chosen == "small" else flickr8k(chosen)


def ours(
    candidates: list[list[str]], references: list[list[list[str]]]
) -> tuple[dict[str, float], dict[str, list[float]]]:
    totals: dict[str, float] = {}
    each: dict[str, list[float]] = {}
    for metric in (Bleu(references), RougeL(references), Cider(references)):
        statistics = metric.statistics(candidates)
        totals |= {name: float(score) for name, score in metric.scores(statistics.sum(axis=0)).items()}
        each |= {name: scores.tolist() for name, scores in metric.scores(statistics).items()}
    return totals, each


def by_us(chosen: str) -> Captions:
    captions, references = raw(chosen)
    return [tokenize(caption) for caption in captions], [[tokenize(text) for text in of_one] for of_one in references]


@pytest.mark.parametrize("chosen", SETS)
def test_scores_are_the_frozen_ones_of_the_toolkit(chosen: str) -> None:
    totals, each = ours(*by_us(chosen))
    assert totals == pytest.approx(FROZEN[chosen]["scores"], abs=1e-6)
    for name, scores in FROZEN[chosen].get("per_picture", {}).items():
        assert each[name] == pytest.approx(scores, abs=1e-6), name


@pytest.mark.parametrize("chosen", [SETS[0], SETS[2]])
def test_scores_of_every_picture_are_the_toolkits(chosen: str) -> None:
    tokens = by_us(chosen)
    each, theirs = ours(*tokens)[1], toolkit_scores(*tokens)[1]
    assert each.keys() == theirs.keys()
    for name, scores in theirs.items():
        assert each[name] == pytest.approx(scores, abs=1e-6), name


@needs_java
@pytest.mark.parametrize("chosen", SETS)
def test_the_frozen_scores_are_what_the_toolkit_gives_with_its_own_tokenizer(chosen: str) -> None:
    captions, references = raw(chosen)
    tokens = iter(tokenized_by_java([*captions, *(text for of_one in references for text in of_one)]))
    totals, _ = toolkit_scores(
        [next(tokens) for _ in captions], [[next(tokens) for _ in of_one] for of_one in references]
    )
    assert totals == pytest.approx(FROZEN[chosen]["scores"], abs=1e-9)


def test_the_small_captions_are_tokenized_as_java_did() -> None:
    captions, _ = small()
    assert [" ".join(tokenize(caption)) for caption in captions] == FROZEN["small"]["tokens"]
