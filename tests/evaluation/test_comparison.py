"""Several systems on the same pictures."""

import pytest

from wordgaze.evaluation.comparison import Comparison, diversity
from wordgaze.metrics.captions import SCORES, score_captions

REFERENCES = [[f"a dog number {i} runs over the grass".split(), f"dog {i} runs".split()] for i in range(30)]
GOOD = [f"a dog number {i} runs {'over' if i % 2 else 'on'} the grass".split() for i in range(30)]
BAD = ["a man rides a bike".split()] * 30


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return Comparison({"good": GOOD, "bad": BAD}, REFERENCES, samples=200, seed=1)


def test_scores_and_their_intervals(comparison: Comparison) -> None:
    scores, intervals = comparison.scores(), comparison.intervals()
    assert scores["good"] == pytest.approx(score_captions(GOOD, REFERENCES))
    for system in ("good", "bad"):
        for name in SCORES:
            low, high = intervals[system][name]
            assert low <= scores[system][name] + 1e-12
            assert scores[system][name] <= high + 1e-12


def test_a_better_system_is_seen_to_be_better(comparison: Comparison) -> None:
    assert list(comparison.differences("bad")) == ["good against bad"]
    found = comparison.differences("bad")["good against bad"]["cider"]
    assert found["value"] == pytest.approx(comparison.scores()["good"]["cider"] - comparison.scores()["bad"]["cider"])
    assert 0 < found["low"] < found["value"] < found["high"]
    assert found["p"] < 0.05


def test_parts_of_the_pictures_are_scored_in_the_order_of_their_numbers(comparison: Comparison) -> None:
    groups = ["10 objects" if i < 10 else "2 objects" for i in range(30)]
    found = comparison.by("good", groups)
    assert {name: scores["pictures"] for name, scores in found.items()} == {"2 objects": 20, "10 objects": 10}
    assert list(found) == ["2 objects", "10 objects"]
    [(name, scores)] = comparison.by_length("good").items()
    assert name == "1–7 words"  # 8 and 3 words
    assert scores["cider"] == pytest.approx(comparison.scores()["good"]["cider"])


def test_one_score_a_picture(comparison: Comparison) -> None:
    found = comparison.per_picture("good")
    assert {name: of_each.shape for name, of_each in found.items()} == dict.fromkeys(SCORES, (30,))


def test_diversity_tells_what_it_can() -> None:
    found = diversity(GOOD, [[words] for words in GOOD], train=GOOD[:15])
    assert found["novelty"] == 0.5
    assert found["self_bleu"] is None
    assert found["mean_length"] == 8
    assert diversity(GOOD, [[words, words] for words in GOOD], [])["self_bleu"] == pytest.approx(1)
