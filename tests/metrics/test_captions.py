"""The scores of a set of captions, and the two floors: one caption for all, and people."""

import pytest

from wordgaze.errors import ScoreError
from wordgaze.metrics.bleu import corpus_bleu
from wordgaze.metrics.captions import constant_caption, human_scores, score_captions
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


def test_human_scores_average_each_reference_against_the_others() -> None:
    (a, b, c), (d, e) = REFERENCES[0], REFERENCES[1]
    first = score_captions([a, d], [[b, c], [e]])
    second = score_captions([b, e], [[a, c], [d]])
    expected = {name: (first[name] + second[name]) / 2 for name in first}
    assert human_scores(REFERENCES) == pytest.approx(expected)  # the picture with one reference is left out


def test_human_scores_need_a_picture_with_two_references() -> None:
    with pytest.raises(ScoreError, match="no picture has two references"):
        human_scores([REFERENCES[2]])


def test_the_constant_caption_is_the_training_caption_that_scores_best_on_all_pictures() -> None:
    truths = [words("a dog runs on the grass"), words("a dog runs on the sand")]
    good, bad, only_words = words("a dog runs on the road", "two kids play with a ball", "grass sand the on runs dog a")
    assert constant_caption([bad, bad, good], truths) == good
    assert constant_caption([only_words, only_words, good], truths) == good  # by BLEU-4, not by BLEU-1
    assert constant_caption([bad, bad, good], truths, tried=1) == bad  # the commonest are tried, no more
