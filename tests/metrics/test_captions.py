"""All scores at once are the scores one by one."""

import numpy as np
import pytest

from tests.metrics.examples import CANDIDATES, REFERENCES
from wordgaze.core.errors import ScoreError
from wordgaze.metrics.bleu import corpus_bleu
from wordgaze.metrics.captions import SCORES, CaptionScores, score_captions
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.meteor import Meteor
from wordgaze.metrics.rouge import RougeL


def test_scores_are_those_of_each_metric() -> None:
    scores = score_captions(CANDIDATES, REFERENCES)
    assert tuple(scores) == SCORES
    expected = corpus_bleu(CANDIDATES, REFERENCES)
    for metric in (RougeL(REFERENCES), Meteor(REFERENCES), Cider(REFERENCES)):
        expected |= {k: float(v) for k, v in metric.scores(metric.statistics(CANDIDATES).sum(0)).items()}
    assert scores == pytest.approx(expected)
    assert all(score > 0 for score in scores.values())


def test_statistics_have_the_columns_that_they_promise_and_any_sums_of_them_are_scored() -> None:
    metric = CaptionScores(REFERENCES)
    table = metric.statistics(CANDIDATES)
    assert table.shape == (3, metric.columns)
    sums = np.stack([table.sum(0), table[:1].sum(0)])
    scores = metric.scores(sums)
    alone = score_captions(CANDIDATES[:1], REFERENCES[:1])
    assert {name: of_both.shape for name, of_both in scores.items()} == dict.fromkeys(SCORES, (2,))
    for name in ("bleu_4", "rouge_l", "meteor"):  # CIDEr's rare words are those of all the pictures
        assert scores[name][1] == pytest.approx(alone[name])


@pytest.mark.parametrize(
    ("candidates", "references"),
    [([], []), (CANDIDATES[:2], REFERENCES), (CANDIDATES, [REFERENCES[0], [], REFERENCES[2]])],
)
def test_what_cannot_be_compared_is_refused(candidates: list[list[str]], references: list[list[list[str]]]) -> None:
    with pytest.raises(ScoreError):
        score_captions(candidates, references)


def test_references_are_prepared_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = CaptionScores(REFERENCES).statistics_of({"one": CANDIDATES, "other": CANDIDATES[::-1]})
    monkeypatch.setattr("wordgaze.metrics.captions._CHUNK", 2)
    parts = CaptionScores(REFERENCES).statistics_of({"one": CANDIDATES, "other": CANDIDATES[::-1]})
    assert all((parts[name] == whole[name]).all() for name in whole)
