"""What the encoder's classifiers see becomes the name that a caption must have."""

import torch

from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.object_names import object_names
from wordgaze.text.vocabulary import SPECIAL, Vocabulary
from wordgaze.vision.tagger import Head, Tagger

BEAR, TEAPOT = 296, 849  # ice bear, teapot
TUSKER, INDIAN, AFRICAN = 101, 385, 386  # elephants
VOCABULARY = Vocabulary((*SPECIAL, "a", "dog", "dogs", "bear", "bears", "animal", "cat", "cats", "man"))
NAMING = GenerationConfig(name_objects=True)


def tagger() -> Tagger:
    """A classifier with one channel for each of 1,000 classes."""
    return Tagger([Head(torch.eye(1000), torch.zeros(1000), 0)], 1000)


def features(*classes: int) -> torch.Tensor:
    x = torch.zeros(len(classes), 2, 1000)
    for row, number in zip(x, classes, strict=True):
        row[:, number] = 40.0
    return x


def test_an_animal_is_named_by_the_word_of_the_vocabulary_and_other_animals_are_excluded() -> None:
    [bear] = object_names(tagger(), features(BEAR), VOCABULARY, NAMING)
    assert bear
    assert (bear.singular, bear.plural) == ("bear", "bears")
    assert {"dog", "cat"} <= bear.excluded[0]
    assert {"dogs", "cats"} <= bear.excluded[1]
    assert not {"animal", "bear", "bears", "man"} & (bear.excluded[0] | bear.excluded[1])
    assert bear.probability > 0.9
    assert any("bear" in name for name in bear.classes)


def test_classes_of_the_same_name_are_stated_once() -> None:
    x = torch.zeros(1, 2, 1000)
    x[:, :, [TUSKER, INDIAN, AFRICAN]] = 40.0
    [elephant] = object_names(tagger(), x, Vocabulary((*SPECIAL, "a", "an", "elephant")), NAMING)
    assert elephant
    assert elephant.singular == "elephant"
    assert len(elephant.classes) == len(set(elephant.classes)) < 3


def test_what_the_vocabulary_lacks_is_not_asked_for() -> None:
    teapot, bear = object_names(tagger(), features(TEAPOT, BEAR), VOCABULARY, NAMING)
    assert teapot and not teapot.forms
    assert bear and bear.forms == ("bear", "bears")


def test_an_image_without_animals_has_none_in_its_caption() -> None:
    teapot, bear = object_names(tagger(), features(TEAPOT, BEAR), VOCABULARY, NAMING)
    assert teapot and bear
    assert {"dog", "cat", "bear"} <= teapot.absent[0]
    assert {"dogs", "cats", "bears"} <= teapot.absent[1]
    assert not teapot.fits(["a", "dog"])
    assert teapot.fits(["a", "man"])
    assert not bear.absent[0] & {"dog", "cat", "bear"}


def test_an_unsure_classifier_names_nothing() -> None:
    assert list(object_names(tagger(), torch.zeros(1, 2, 1000), VOCABULARY, NAMING)) == [None]


def test_naming_is_off_by_default_and_without_a_classifier() -> None:
    assert object_names(tagger(), features(BEAR), VOCABULARY, GenerationConfig()) == ()
    assert object_names(None, features(BEAR), VOCABULARY, NAMING) == ()
