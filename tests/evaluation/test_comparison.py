"""Several systems on the same images."""

import pytest

from wordgaze.evaluation.comparison import Comparison, diversity
from wordgaze.metrics.captions import SCORES, score_captions

REFERENCES = [[f"a dog number {i} runs over the grass".split(), f"dog {i} runs".split()] for i in range(30)]
GOOD = [f"a dog number {i} runs {'over' if i % 2 else 'on'} the grass".split() for i in range(30)]
BAD = ["a man rides a bike".split()] * 30


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return Comparison({"good": GOOD, "bad": BAD}, REFERENCES, num_resamples=200, seed=1)


def test_scores_and_their_intervals(comparison: Comparison) -> None:
    scores, intervals = comparison.scores(), comparison.intervals()
    assert dict(scores["good"].items()) == pytest.approx(score_captions(GOOD, REFERENCES))
    for system in ("good", "bad"):
        values, ends = dict(scores[system].items()), dict(intervals[system].items())
        assert set(values) == set(ends) == set(SCORES)
        for name in SCORES:
            low, high = ends[name].low, ends[name].high
            assert low is not None and high is not None
            assert low <= values[name] + 1e-12
            assert values[name] <= high + 1e-12


def test_a_better_system_is_significantly_better(comparison: Comparison) -> None:
    scores = comparison.scores()
    [pair] = comparison.differences("bad", ["good", "bad"])
    assert (pair.system, pair.base) == ("good", "bad")
    cider = pair.differences.cider
    assert cider.value == pytest.approx(scores["good"].cider - scores["bad"].cider)
    assert cider.low is not None and cider.value is not None and cider.high is not None and cider.p is not None
    assert 0 < cider.low < cider.value < cider.high
    assert cider.p < 0.05


def test_parts_of_the_images_are_scored_in_the_order_of_their_numbers(comparison: Comparison) -> None:
    groups = ["10 objects" if i < 10 else "2 objects" for i in range(30)]
    parts = comparison.by_group("good", groups)
    assert [(part.name, part.num_images) for part in parts] == [("2 objects", 20), ("10 objects", 10)]
    [part] = comparison.by_length("good")
    assert part.name == "1–7 words"  # 8 and 3 words
    assert part.scores.cider == pytest.approx(comparison.scores()["good"].cider)


def test_one_score_an_image(comparison: Comparison) -> None:
    scores = comparison.per_image("good")
    assert {name: values.shape for name, values in scores.items()} == dict.fromkeys(SCORES, (30,))


def test_diversity_is_none_where_it_is_not_defined() -> None:
    single = diversity([[words] for words in GOOD], train=GOOD[:15])
    assert single.novelty == 0.5
    assert single.self_bleu is None
    assert single.mean_length == 8
    pairs = diversity([[words, words] for words in GOOD], [])
    assert pairs.self_bleu == pytest.approx(1)
    assert pairs.novelty is None
