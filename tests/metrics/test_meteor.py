"""METEOR against its published Java program, and against numbers frozen from it."""

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.toolkit import flickr8k, needs_flickr8k
from wordgaze.core.errors import ScoreError
from wordgaze.metrics import meteor as module
from wordgaze.metrics.baselines import leave_one_out_scores
from wordgaze.metrics.captions import CaptionScores, score_captions
from wordgaze.metrics.meteor import Meteor, is_meteor_available, toolkit_meteor
from wordgaze.metrics.meteor_tables import MeteorTables, find_tables, toolkit_words
from wordgaze.text.tokenizers.ptb import tokenize as ptb

needs_java = pytest.mark.skipif(
    shutil.which("java") is None or find_spec("pycocoevalcap") is None,
    reason="METEOR's own program needs Java (java on PATH) and pycocoevalcap",
)
CAPTION = st.lists(st.sampled_from("a the dog dogs runs running on".split()), max_size=8)
REFERENCES = [
    ["a dog runs fast", "the dogs are running over green grass"],
    ["two kids play with a red ball", "children playing"],
    ["a man rides a bike", "someone bikes"],
]
CANDIDATES = ["a dog run over the grass", "two children played with a ball", "a man rides a bike"]


def split(captions: list[list[str]]) -> list[list[list[str]]]:
    return [[caption.split() for caption in of_one] for of_one in captions]


def score(caption: str, *references: str) -> float:
    meteor = Meteor(split([list(references)]))
    return float(meteor.scores(meteor.statistics([caption.split()]))["meteor"][0])


def java(
    folder: Path, candidates: list[list[str]], references: list[list[list[str]]], *options: str
) -> tuple[list[float], float]:
    """The published program: the scores of the captions and of the set."""
    import pycocoevalcap.meteor

    jar = Path(pycocoevalcap.meteor.__path__[0]) / "meteor-1.5.jar"
    generated, truths = folder / "captions", folder / "truths"
    generated.write_text("".join(" ".join(words) + "\n" for words in candidates))
    truths.write_text("".join(" ".join(words) + "\n" for of_one in references for words in of_one))
    command = [
        "java",
        "-jar",
        str(jar),
        str(generated),
        str(truths),
        "-r",
        str(len(references[0])),
        "-l",
        "en",
        *options,
    ]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    whole = next(line for line in lines if line.startswith("Final score"))
    return [float(line.split()[-1]) for line in lines if line.startswith("Segment")], float(whole.split()[-1])


def test_frozen_numbers_of_the_published_program() -> None:
    meteor = Meteor(split(REFERENCES))
    statistics = meteor.statistics([caption.split() for caption in CANDIDATES])
    assert meteor.scores(statistics)["meteor"] == pytest.approx([0.2918892587450871, 0.3322919387981395, 1.0])
    assert meteor.scores(statistics.sum(axis=0))["meteor"] == pytest.approx(0.43286721839493136)


def test_one_score_by_hand() -> None:
    precision, recall = 1, (0.25 + 2 * 0.75) / (0.25 + 3 * 0.75)
    f_mean = precision * recall / (0.85 * precision + 0.15 * recall)
    assert score("a dog runs", "a dog runs fast") == pytest.approx(f_mean * (1 - 0.6 * (1 / 3) ** 0.2))


@needs_java
def test_equal_to_the_published_program(tmp_path: Path) -> None:
    words = "a the on two of dog dogs man runs running run red grass plays played playing".split()
    chance = random.Random(1)
    corpus = [[chance.sample(words, chance.randint(1, 10)) for _ in range(4)] for _ in range(200)]
    corpus.append(
        split([["a man rides a bike on a road", "a man on a bike", "a bike", "a man rides a bike on a road"]])[0]
    )
    candidates, references = [captions[0] for captions in corpus], [captions[1:] for captions in corpus]
    segments, whole = java(tmp_path, candidates, references, "-lower", "-m", "exact stem")
    meteor = Meteor(references)
    statistics = meteor.statistics(candidates)
    assert meteor.scores(statistics)["meteor"] == pytest.approx(segments, abs=1e-9)
    assert meteor.scores(statistics.sum(axis=0))["meteor"] == pytest.approx(whole, abs=1e-9)
    assert segments[-1] == 1
    assert min(segments) < 0.1


TOOLKIT_CAPTIONS = [
    "a kid runs over the grass", "two men are posing for a picture", "a man in a t-shirt is doing a trick",
    "a dog is jumping over a fence", "a woman walks near the u.s. flag", "a large body of water", "a man rides a bike",
]  # fmt: skip
TOOLKIT_REFERENCES = [
    ["a child running across the lawn", "children"],
    ["a couple of people pose for a photograph", "the men stand"],
    ["the man 's t shirt is red", "a person performs a stunt"],
    ["a dog leaps over the hurdle", "dog in the air"],
    ["a lady is walking by a us flag", "people"],
    ["the sea", "lots of water"],
    ["a man rides a bike", "someone"],
]
TOOLKIT_SCORES = [0.216171671864, 0.701143168209, 0.283397584955, 0.290926378516, 0.260278205932, 0.251405085275, 1]
"""Computed once by the published program: java -jar meteor-1.5.jar captions references -r 2 -l en -norm."""


@pytest.fixture(scope="module")
def toolkit() -> tuple[MeteorTables, list[list[str]], list[list[list[str]]]]:
    folder = find_tables()
    if folder is None:
        pytest.skip("the tables of METEOR come with pycocoevalcap")
    captions = [toolkit_words(caption.split()) for caption in TOOLKIT_CAPTIONS]
    truths = [[toolkit_words(words) for words in of_one] for of_one in split(TOOLKIT_REFERENCES)]
    return MeteorTables(folder, [*captions, *(words for of_one in truths for words in of_one)]), captions, truths


def test_synonyms_and_paraphrases_score_as_in_the_published_program(
    toolkit: tuple[MeteorTables, list[list[str]], list[list[list[str]]]],
) -> None:
    tables, captions, truths = toolkit
    meteor = Meteor(truths, tables)
    statistics = meteor.statistics(captions)
    assert meteor.scores(statistics)["meteor"] == pytest.approx(TOOLKIT_SCORES, abs=1e-9)
    assert meteor.scores(statistics.sum(axis=0))["meteor"] == pytest.approx(0.33075205410436, abs=1e-9)
    exact_and_stems = Meteor(truths)
    assert (exact_and_stems.scores(exact_and_stems.statistics(captions))["meteor"] < TOOLKIT_SCORES).any()


def test_a_word_is_a_synonym_by_its_base_form_as_in_wordnet(
    toolkit: tuple[MeteorTables, list[list[str]], list[list[list[str]]]],
) -> None:
    synsets = toolkit[0].synsets
    assert synsets("children") & synsets("kid") and synsets("performed") & synsets("execute")
    assert not synsets("doing") & synsets("perform")  # "doe" is found before "do", as by the published program
    assert not synsets("as") & synsets("a")  # words of two letters have no ending


def test_words_are_split_as_by_the_tokenizer_of_the_published_program() -> None:
    written = "the man 's t-shirt port-a-potties u.s. mr. x 5 p.m. don't o'clock -lrb- a&b no. 5 st."
    assert " ".join(toolkit_words(written.split())) == (
        "the man ' s t shirt port a-potties us mr. x 5 pm don 't o 'clock -lrb- a & b no . 5 st ."
    )


@pytest.mark.slow
@needs_java
@needs_flickr8k
def test_the_toolkit_score_is_within_a_thousandth_of_the_published_program(tmp_path: Path) -> None:
    captions, references = flickr8k("model")
    tokens, truths = [ptb(caption) for caption in captions], [[ptb(text) for text in of_one] for of_one in references]
    _, whole = java(tmp_path, tokens, truths, "-norm")
    assert toolkit_meteor({"model": tokens}, truths)["model"] == pytest.approx(whole, abs=1e-3)


def test_the_toolkit_score_is_left_out_where_its_tables_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_tables", lambda: None)
    assert toolkit_meteor({"captions": [["a"]]}, [[["a"]]]) == {}


def test_tables_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match=r"paraphrase-en.gz cannot be read .*--force-reinstall pycocoevalcap"):
        MeteorTables(tmp_path, [["a"]])


@given(CAPTION, st.lists(CAPTION, min_size=1, max_size=3))
def test_any_score_is_between_0_and_1(caption: list[str], references: list[list[str]]) -> None:
    meteor = Meteor([references])
    value = meteor.scores(meteor.statistics([caption]))["meteor"][0]
    assert 0 <= value <= 1 + 1e-12
    assert value == pytest.approx(1) or caption not in references or not caption


@given(CAPTION, CAPTION, CAPTION)
def test_one_more_reference_never_lowers_the_score_of_a_caption(a: list[str], b: list[str], c: list[str]) -> None:
    one, two = Meteor([[b]]), Meteor([[b, c]])
    assert two.scores(two.statistics([a]))["meteor"] >= one.scores(one.statistics([a]))["meteor"]


def test_what_makes_a_score_higher() -> None:
    exact, stem, none = (score(f"a {verb} dog", "a running dog") for verb in ("running", "run", "sleeping"))
    assert exact > stem > none
    assert score("a dog runs on grass", "a dog runs on grass today") > score(
        "grass on runs dog a", "a dog runs on grass today"
    )
    assert score("dog runs", "the dog runs") > score("the dog", "the dog runs")  # function words count less


def test_a_word_is_matched_once() -> None:
    assert score("dog dog dog dog", "a dog") < score("dog", "a dog")


def test_the_alignment_has_the_fewest_chunks() -> None:
    meteor = Meteor(split([["a dog and a cat"]]))
    assert meteor.statistics([["a", "cat", "and", "a", "dog"]])[0, -1] == 3
    assert meteor.statistics([["the", "a", "cat"]])[0, -1] == 1


def test_a_captioner_that_repeats_itself_is_scored_in_time() -> None:
    counts = Meteor(split([["a man on a bike on a road in a city with a dog"]])).statistics([["a"] * 50])
    assert counts[0].tolist() == pytest.approx([1.25, 1.25, 12.5, 6.0, 5, 5])


def test_empty_captions_and_empty_references_score_zero_without_a_warning() -> None:
    meteor = Meteor([[[]], [["a"]], [[], ["a"]]])
    assert meteor.scores(meteor.statistics([["a"], [], ["a"]]))["meteor"].tolist() == [0, 0, 1]
    assert meteor.scores(np.zeros(6))["meteor"] == 0
    assert meteor.statistics([[], [], []]).shape == (3, 6)


def test_sums_of_any_shape_are_scored() -> None:
    meteor = Meteor(split(REFERENCES))
    statistics = meteor.statistics([caption.split() for caption in CANDIDATES])
    assert meteor.scores(np.broadcast_to(statistics, (4, 3, 6)))["meteor"].shape == (4, 3)
    assert np.isnan(meteor.scores(np.full(6, np.nan))["meteor"])


def test_misfits_are_refused() -> None:
    with pytest.raises(ScoreError, match="image number 1 has no reference"):
        Meteor([[["a"]], []])
    with pytest.raises(ScoreError, match="no image has references"):
        Meteor([])
    with pytest.raises(ScoreError, match="2 captions for 1 images"):
        Meteor([[["a"]]]).statistics([["a"], ["b"]])
    with pytest.raises(ScoreError, match="2 captions for 1 images"):
        toolkit_meteor({"captions": [["a"], ["b"]]}, [[["a"]]])


@pytest.fixture
def without_nltk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in sys.modules if name == "nltk" or name.startswith("nltk.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nltk", None)
    module._stemmer.cache_clear()
    module._stem.cache_clear()
    yield
    module._stemmer.cache_clear()
    module._stem.cache_clear()


@pytest.mark.usefixtures("without_nltk")
def test_without_nltk_the_other_scores_are_computed_and_meteor_names_the_extra() -> None:
    captions, references = [caption.split() for caption in CANDIDATES], split(REFERENCES)
    assert not is_meteor_available()
    scores = score_captions(captions, references)
    assert list(scores) == ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider"]
    assert CaptionScores(references).statistics(captions).shape == (3, CaptionScores(references).columns)
    people = leave_one_out_scores(captions[:2], references[:2])["human"]
    assert "meteor" not in people
    with pytest.raises(ScoreError) as caught:
        Meteor(references)
    assert str(caught.value) == 'METEOR needs nltk, which is not installed; run pip install "wordgaze[pipeline]"'


def test_with_nltk_the_same_scores_and_meteor() -> None:
    scores = score_captions([caption.split() for caption in CANDIDATES], split(REFERENCES))
    assert is_meteor_available()
    assert scores["meteor"] == pytest.approx(0.43286721839493136)
