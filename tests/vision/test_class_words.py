import json
from importlib.resources import files

import pytest

from wordgaze.vision.class_words import imagenet_words

FILE = files("wordgaze.vision").joinpath("imagenet_words.json")
TOO_GENERAL = "animal device artifact instrumentality object thing mammal carnivore placental ungulate vertebrate"
TOO_GENERAL += " conveyance covering container commodity equipment structure matter substance person entity canine"


def test_the_file_is_complete_and_small() -> None:
    data = json.loads(FILE.read_text(encoding="utf-8"))
    assert len(data["classes"]) == len(data["groups"]) == 1000
    assert len(FILE.read_bytes()) < 100_000
    assert sum(not chain for chain in data["classes"]) < 10  # classes without a plain word: isopod, bottle nipple


@pytest.mark.parametrize(
    ("index", "chain"),
    [
        (296, "polar bear, bear"),
        (281, "cat"),  # tabby
        (656, "minivan, van, car, truck, vehicle"),
        (849, "teapot, pot"),
        (340, "zebra"),
        (779, "school bus, bus"),
        (954, "banana, fruit, food"),
        (99, "goose, bird"),
        (207, "dog"),  # golden retriever
        (84, "peacock, bird"),
        (555, "fire truck, truck, vehicle"),
        (402, "guitar, instrument"),
        (517, "crane"),  # the machine
        (134, "crane, bird"),
        (286, "cougar"),  # WordNet: a kind of cat
        (321, "butterfly, insect"),  # admiral
        (726, "tool"),  # a carpenter's plane
    ],
)
def test_chains_of_well_known_classes(index: int, chain: str) -> None:
    assert ", ".join(" ".join(word) for word in imagenet_words().chains[index]) == chain


def test_all_words_are_plain_words_in_lower_case() -> None:
    words = {" ".join(word) for word in imagenet_words().words}
    assert words.isdisjoint(TOO_GENERAL.split())
    assert all(word == word.lower() and "_" not in word for word in words)
    assert len(words) > 700


@pytest.mark.parametrize(
    ("word", "plural"),
    [
        ("goose", "geese"), ("wolf", "wolves"), ("sheep", "sheep"), ("school bus", "school buses"), ("fox", "foxes"),
        ("strawberry", "strawberries"), ("polar bear", "polar bears"), ("broccoli", "broccoli"), ("jeans", "jeans"),
        ("mouse", "mice"), ("camera", "cameras"), ("baseball player", "baseball players"),
    ],
)  # fmt: skip
def test_plurals(word: str, plural: str) -> None:
    assert " ".join(imagenet_words().plural(tuple(word.split()))) == plural


@pytest.mark.parametrize(
    ("word", "article"),
    [("elephant", "an"), ("unicycle", "a"), ("hourglass", "an"), ("rv", "an"), ("zebra", "a"), ("broccoli", "")],
)
def test_articles(word: str, article: str) -> None:
    assert imagenet_words().article((word,)) == article


def test_a_caption_agrees_with_a_word_by_synonyms_plurals_and_more_specific_words() -> None:
    accepted = imagenet_words().accepted(("dog",))
    assert {("dog",), ("dogs",), ("puppies",), ("beagle",), ("border", "collies")} <= accepted
    assert accepted.isdisjoint({("wolf",), ("boxer",), ("animal",)})


def test_rivals_are_other_things_of_the_group() -> None:
    names = imagenet_words()
    bears = names.rivals(("bear",), "animal")
    assert {("dog",), ("dogs",), ("puppy",), ("horse",), ("cow",), ("seagulls",)} <= bears
    assert bears.isdisjoint({("bear",), ("bears",), ("polar", "bear"), ("animal",)})
    assert ("bird",) not in names.rivals(("penguin",), "animal")  # more general
    assert names.rivals(("hat",), "clothing") == frozenset()  # worn together with other clothes
