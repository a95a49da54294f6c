"""CIDEr against the evaluation toolkit of COCO, by hand, and as a reward."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.toolkit import toolkit_scores
from wordgaze.core.errors import ScoreError
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.document_frequencies import document_frequencies

SOURCE = Path(__file__).parents[2] / "src"
CAPTION = st.lists(st.sampled_from("abcdef"), max_size=8)
PICTURE = st.tuples(CAPTION, st.lists(CAPTION.filter(len), min_size=1, max_size=4))
REFERENCES = [
    ["a brown dog runs over the grass", "a dog is running", "the dog runs fast over green grass"],
    ["two children play with a red ball", "kids play", "two kids are playing ball on the beach"],
    ["a man rides a bike", "a man in a red shirt rides a bike down the hill", "the man is riding", "bike rider"],
    ["a dog jumps over a red ball"],
]
CANDIDATES = [
    "a brown dog runs over the red grass",
    "two kids play with a ball ball ball ball",
    "a man",
    "a cat sleeps",
]


def split(captions: list[list[str]]) -> list[list[list[str]]]:
    return [[caption.split() for caption in of_one] for of_one in captions]


def toolkit(candidates: list[list[str]], references: list[list[list[str]]]) -> tuple[float, list[float]]:
    totals, each = toolkit_scores(candidates, references)
    return totals["cider"], each["cider"]


def test_equal_to_the_toolkit() -> None:
    candidates, references = [caption.split() for caption in CANDIDATES], split(REFERENCES)
    mean, scores = toolkit(candidates, references)
    cider = Cider(references)
    assert cider.per_image(candidates) == pytest.approx(scores, abs=1e-6)
    assert cider.score(candidates) == pytest.approx(mean, abs=1e-6)
    assert scores[0] > 1
    assert min(scores) == 0


@given(st.lists(PICTURE, min_size=1, max_size=6))
def test_equal_to_the_toolkit_on_any_corpus(corpus: list[tuple[list[str], list[list[str]]]]) -> None:
    candidates, references = [candidate for candidate, _ in corpus], [truths for _, truths in corpus]
    mean, scores = toolkit(candidates, references)
    assert Cider(references).per_image(candidates) == pytest.approx(scores, abs=1e-6)
    assert Cider(references).score(candidates) == pytest.approx(mean, abs=1e-6)


def test_ten_is_a_perfect_match() -> None:
    references = split([["a brown dog runs"], ["two kids play ball"]])
    assert Cider(references).per_image([of_one[0] for of_one in references]) == pytest.approx([10, 10])


def test_a_single_picture_has_no_rare_words_and_scores_zero() -> None:
    references = split([["a brown dog runs", "a dog"]])
    assert Cider(references).per_image([["a", "brown", "dog", "runs"]]) == [0.0]


def test_an_empty_caption_scores_zero() -> None:
    assert Cider(split(REFERENCES)).per_image([[], [], [], []]) == [0.0] * 4


def test_one_object_scores_many_times_and_gives_the_same() -> None:
    cider, candidates = Cider(split(REFERENCES)), [caption.split() for caption in CANDIDATES]
    first = cider.per_image(candidates)
    cider.per_image([["a", "new", "word"]] * 4)
    assert cider.per_image(candidates) == first


def test_scores_of_sums_are_means_over_pictures() -> None:
    cider, candidates = Cider(split(REFERENCES)), [caption.split() for caption in CANDIDATES]
    statistics, each = cider.statistics(candidates), cider.per_image(candidates)
    assert cider.scores(statistics)["cider"] == pytest.approx(each)
    assert cider.scores(statistics.sum(axis=0))["cider"] == pytest.approx(cider.score(candidates))
    resampled = cider.scores(np.array([[2, 1, 0, 1], [0, 0, 4, 0]]) @ statistics)["cider"]
    assert resampled == pytest.approx([(2 * each[0] + each[1] + each[3]) / 4, each[2]])


def test_a_reward_is_the_score_of_the_picture_that_is_named() -> None:
    cider, candidates = Cider(split(REFERENCES)), [caption.split() for caption in CANDIDATES]
    pictures = [2, 0, 0, 3, 1, 2]
    generated = [candidates[0], candidates[0], candidates[1], candidates[2], candidates[1], candidates[2]]
    rewards = cider.reward(pictures, generated)
    for picture, words, reward in zip(pictures, generated, rewards, strict=True):
        alone = [words if i == picture else [] for i in range(len(REFERENCES))]
        assert reward == cider.per_image(alone)[picture]
    assert rewards[1] > rewards[0]


def test_document_frequencies_may_be_those_of_other_pictures() -> None:
    train, pictures = split(REFERENCES), split(REFERENCES[:2])
    candidates = [CANDIDATES[0].split(), CANDIDATES[1].split()]
    handed_in = Cider(pictures, document_frequencies(train)).per_image(candidates)
    assert handed_in == pytest.approx(Cider(train).per_image([*candidates, [], []])[:2])
    assert handed_in != pytest.approx(Cider(pictures).per_image(candidates), abs=1e-3)


def test_a_rare_word_many_times_is_no_reward() -> None:
    references = split([["a hill"], ["a dog"], ["a cat"]])
    assert Cider(references).per_image([["hill"] * 20, [], []])[0] < 0.01


def test_every_run_gives_the_same_bits() -> None:
    code = (
        "import random; from wordgaze.metrics.cider import Cider; draw = random.Random(1);"
        "say = lambda: [draw.choice('abcdefghijkl') for _ in range(15)];"
        "print(Cider([[say() for _ in range(5)] for _ in range(9)]).per_image([say() for _ in range(9)]))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": str(SOURCE), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout
    assert "0." in runs[0].stdout


def test_what_cannot_be_compared_is_refused() -> None:
    cider = Cider(split(REFERENCES))
    with pytest.raises(ScoreError, match="1 captions for 4 images"):
        cider.per_image([["a"]])
    with pytest.raises(ScoreError, match="1 captions with 2 indices of images"):
        cider.reward([0, 1], [["a"]])
    with pytest.raises(ScoreError, match="image number 1 has no reference"):
        Cider([[["a"]], []])
