"""What captions name and what is there: singulars, phrases, COCO's objects, CHAIR."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core.errors import ScoreError
from wordgaze.data.datasets.scenes import Scenes
from wordgaze.data.datasets.scenes.nouns import NOUNS, plural
from wordgaze.metrics.hallucination import Chair
from wordgaze.text.objects import Lexicon, coco_lexicon, singular
from wordgaze.text.tokenizers.ptb import tokenize


def words(*captions: str) -> list[list[str]]:
    return [caption.split() for caption in captions]


def named(lexicon: Lexicon, caption: str) -> list[str]:
    return [mention.name for mention in lexicon.mentions(caption.split())]


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_of_the_scenes_has_its_singular(noun: str) -> None:
    assert (singular(noun), singular(plural(noun))) == (noun, noun)


@pytest.mark.parametrize(
    "pair",
    [
        "potatoes potato", "shoes shoe", "toes toe", "horseshoes horseshoe", "beaches beach", "headaches headache",
        "houses house", "buses bus", "glasses glass", "boxes box", "watches watch", "brushes brush", "vases vase",
        "gloves glove", "knives knife", "loaves loaf", "women woman", "policemen policeman", "people person",
        "children child", "ties tie", "cookies cookie", "babies baby", "geese goose", "mice mouse", "skis ski",
    ],
)  # fmt: skip
def test_plurals_and_what_attends_like_one(pair: str) -> None:
    many, single = pair.split()
    assert (singular(many), singular(single)) == (single, single)


@pytest.mark.parametrize("word", ["grass", "tennis", "dress", "canvas", "as", "is", "", "a", "sheep"])
def test_what_is_no_plural_is_left_alone(word: str) -> None:
    assert singular(word) == word


def test_mentions_tell_where_they_are_and_the_longest_wins() -> None:
    lexicon = Lexicon(["dog", "hot dog", "train"], {"puppy": "dog"}, traps=["train station"])
    mentions = lexicon.mentions(["two", "hot", "dogs", "and", "puppies", "at", "train", "stations"])
    assert mentions == [("hot dog", 1, 3), ("dog", 4, 5)]
    assert lexicon.mentions([]) == []
    assert Lexicon([]).mentions(["dog"]) == []


def test_a_synonym_of_nothing_is_refused() -> None:
    with pytest.raises(ScoreError, match="'puppy' is a synonym of 'dog', which is not in the lexicon"):
        Lexicon(["cat"], {"puppy": "dog"})


def test_a_blank_name_is_refused() -> None:
    with pytest.raises(ScoreError, match="is blank"):
        Lexicon(["cat", " "])


COCO = coco_lexicon()


def test_the_coco_lexicon_has_eighty_objects_that_name_themselves() -> None:
    assert len(COCO.names) == 80
    assert all(named(COCO, f"a {name} here") == [name] for name in COCO.names)


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("a hot dog and two hot dogs on a bun", ["hot dog", "hot dog"]),
        ("teddy bears beside a traffic light", ["teddy bear", "traffic light"]),
        ("the toilet seat is up", ["toilet"]),
        ("a man in a bow tie with a wine glass", ["person", "tie", "wine glass"]),
        ("a baby elephant with adult giraffes", ["elephant", "giraffe"]),
        ("a passenger jet over a passenger train", ["airplane", "train"]),
        ("a train station by the train tracks", []),
        ("a couple of dogs and a couple", ["dog", "person"]),
        ("a pickup truck behind a double decker bus", ["truck", "bus"]),
        ("a motor bike and a bike near the bus stop", ["motorcycle", "bicycle"]),
        ("men on skis use cell phones and mobile phones", ["person", "skis", "cell phone", "cell phone"]),
        ("people eat doughnuts with forks and knives on sofas", ["person", "donut", "fork", "knife", "couch"]),
        ("a microwave oven under a stuffed animal", ["microwave", "teddy bear"]),
        ("a street with tall buildings", []),
    ],
)
def test_phrases_of_coco(caption: str, objects: list[str]) -> None:
    assert named(COCO, caption) == objects


LEXICON = Lexicon(["dog", "cat", "ball", "hat"], {"puppy": "dog"})
REFERENCES = [words("a dog runs", "a puppy with a ball"), words("a cat"), words("nothing to see")]
OBJECTS = [["dog", "dog"], ["cat", "hat"], []]
CANDIDATES = words("a cat and a dog and a cat", "a cat in hats", "an empty street")


def test_chair_by_hand() -> None:
    chair = Chair(REFERENCES, OBJECTS, LEXICON)
    statistics = chair.statistics(CANDIDATES)
    # Mentions, hallucinated, 1, with one; in the first picture are dog and ball (by a reference), in the second cat and hat.
    np.testing.assert_array_equal(statistics, [[3, 2, 1, 1, 2, 1], [2, 0, 1, 0, 2, 2], [0, 0, 1, 0, 0, 0]])
    scores = {name: score.item() for name, score in chair.scores(statistics.sum(0)).items()}
    assert scores == pytest.approx({"chair_i": 2 / 5, "chair_s": 1 / 3, "object_recall": 3 / 4})


def test_without_boxes_the_references_alone_tell_what_is_there() -> None:
    scores = Chair(REFERENCES, [], LEXICON).statistics(CANDIDATES)
    np.testing.assert_array_equal(scores[1], [2, 1, 1, 1, 1, 1])  # no reference speaks of the hat


def test_scores_of_nothing_are_no_zero_and_shapes_are_kept() -> None:
    chair = Chair(REFERENCES, OBJECTS, LEXICON)
    totals = np.stack([chair.statistics(CANDIDATES), np.zeros((3, 6))])  # (2, 3, 6)
    scores = chair.scores(totals)
    assert {score.shape for score in scores.values()} == {(2, 3)}
    assert all(np.isnan(score[1]).all() for score in scores.values())
    assert np.isnan(scores["chair_i"][0, 2]) and scores["chair_s"][0, 2] == 0


@pytest.mark.parametrize(
    ("objects", "candidates", "message"),
    [
        (OBJECTS[:2], CANDIDATES, "objects of 2 images for references of 3"),
        (OBJECTS, CANDIDATES[:2], "2 captions for 3 images"),
        ([["dog"], ["unicorn", "cat"], []], CANDIDATES, "image number 1 has objects that the lexicon lacks: unicorn"),
    ],
)
def test_what_cannot_be_counted_is_refused(objects: list[list[str]], candidates: list[list[str]], message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        Chair(REFERENCES, objects, LEXICON).statistics(candidates)


def test_the_captions_of_the_scenes_hallucinate_nothing() -> None:
    records = Scenes(40, 64, 2).records()
    objects = [[box.noun for box in record.objects] for record in records]
    chair = Chair([[] for _ in records], objects, Lexicon(NOUNS))
    totals = sum(chair.statistics([tokenize(record.captions[i]) for record in records]).sum(0) for i in range(2))
    scores = chair.scores(np.asarray(totals))
    assert (scores["chair_i"], scores["chair_s"], scores["object_recall"]) == (0, 0, 1)
    wrong = chair.scores(chair.statistics([tokenize(r.captions[0]) for r in [*records[1:], records[0]]]).sum(0))
    assert wrong["chair_s"] > 0.9


@given(st.lists(st.lists(st.sampled_from(["dog", "cats", "puppy", "the", "hats", "ball"])), min_size=3, max_size=3))
def test_what_holds_of_any_captions(candidates: list[list[str]]) -> None:
    chair = Chair(REFERENCES, OBJECTS, LEXICON)
    statistics = chair.statistics(candidates)
    assert (statistics[:, 1] <= statistics[:, 0]).all() and (statistics[:, 5] <= statistics[:, 4]).all()
    np.testing.assert_array_equal(statistics[:, 3], statistics[:, 1] > 0)
    own = Chair([[words] for words in candidates], [], LEXICON)
    scores = own.scores(own.statistics(candidates).sum(0))
    assert scores["chair_s"] == 0 and (np.isnan(scores["object_recall"]) or scores["object_recall"] == 1)
