"""The scores of a set of captions."""

import pytest

from wordgaze.errors import ScoreError
from wordgaze.metrics.bleu import corpus_bleu
from wordgaze.metrics.captions import score_captions
from wordgaze.metrics.cider import Cider


def words(*captions: str) -> list[list[str]]:
    return [caption.split() for caption in captions]


REFERENCES = [
    words("a brown dog runs over grass", "a dog runs over the grass", "the dog"),
    words("two kids play with a ball", "kids play with a red ball"),
    words("a man rides a bike"),
]
CANDIDATES = words("a dog runs over grass", "two kids play with a dog", "a man rides a bike")


def test_scores_are_bleu_and_cider() -> None:
    scores = score_captions(CANDIDATES, REFERENCES)
    assert scores == {**corpus_bleu(CANDIDATES, REFERENCES), "cider": Cider(REFERENCES).score(CANDIDATES)}
    assert list(scores) == ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "cider"]
    assert all(score > 0 for score in scores.values())


@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        ([], [], "0 captions for 0 pictures"),
        (CANDIDATES[:2], REFERENCES, "2 captions for 3 pictures"),
        (CANDIDATES, [REFERENCES[0], [], REFERENCES[2]], "picture number 1 has no reference"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    candidates: list[list[str]], references: list[list[list[str]]], message: str
) -> None:
    with pytest.raises(ScoreError, match=message):
        score_captions(candidates, references)
