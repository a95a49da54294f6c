"""The captions of the scenes in every language: all nouns and places have all their forms, and they agree."""

import re
import unicodedata
from collections.abc import Iterator
from itertools import product
from typing import get_args

import pytest

from wordgaze.config.params import DatasetParams, ScenesParams
from wordgaze.core.errors import ParamsError
from wordgaze.data.datasets.scenes import Scenes
from wordgaze.data.datasets.scenes.compose import PLACES, Group, Place, Scene, Thing
from wordgaze.data.datasets.scenes.grammar import GRAMMARS, describe
from wordgaze.data.datasets.scenes.languages.arabic import ARABIC_NOUNS, ARABIC_PLACES
from wordgaze.data.datasets.scenes.languages.chinese import CHINESE_NOUNS, CHINESE_PLACES
from wordgaze.data.datasets.scenes.languages.german import GERMAN_NOUNS, GERMAN_PLACES
from wordgaze.data.datasets.scenes.languages.hindi import HINDI_NOUNS, HINDI_PLACES, decline
from wordgaze.data.datasets.scenes.nouns import NOUNS

OTHERS = ("de", "zh", "ar", "hi")
BEACH, LAKE = (next(place for place in PLACES if place.name == name) for name in ("beach", "lake"))
THING = Thing((0, 0, 10, 10), mirrored=False)
SCRIPTS = {"zh": "CJK UNIFIED IDEOGRAPH", "ar": "ARABIC", "hi": "DEVANAGARI"}


def group(noun: str, count: int = 1, *, large: bool = False) -> Group:
    return Group(noun, large, (THING,) * count)


def scene(*groups: Group, place: Place = BEACH, time: str = "day", layout: str = "row") -> Scene:
    return Scene(224, place, time, layout, groups, 0)  # type: ignore[arg-type]


def every_form() -> Iterator[Scene]:
    """Every noun alone and beside another one on either side, in every number and size; every place at every time."""
    for noun, count, large in product(NOUNS, (1, 2, 3), (False, True)):
        one, other = group(noun, count, large=large), group("dog" if noun != "dog" else "cat", large=True)
        yield scene(one)
        for layout in ("row", "beside", "stack"):
            yield scene(one, other, layout=layout)
            yield scene(other, one, layout=layout)
    for place, time in product(PLACES, ("day", "sunset", "night")):
        yield scene(group("cat"), group("dog", 2), group("tree"), place=place, time=time)


@pytest.fixture(scope="module", params=OTHERS)
def captions(request: pytest.FixtureRequest) -> tuple[str, list[tuple[str, ...]]]:
    """A language, and the captions in it of every form."""
    return request.param, [describe(one, request.param) for one in every_form()]


def test_the_languages_of_the_parameters_are_those_that_have_a_grammar() -> None:
    assert get_args(ScenesParams.model_fields["language"].annotation) == tuple(GRAMMARS)
    assert DatasetParams().scenes.language == "en"


@pytest.mark.parametrize("nouns", [GERMAN_NOUNS, CHINESE_NOUNS, ARABIC_NOUNS, HINDI_NOUNS])
def test_every_noun_has_an_entry_and_no_two_share_a_word(nouns: dict[str, tuple[object, ...]]) -> None:
    assert sorted(nouns) == sorted(NOUNS)
    assert len({entry[1] for entry in nouns.values()}) == len(NOUNS)
    assert all(part != "" for entry in nouns.values() for part in entry)


@pytest.mark.parametrize("places", [GERMAN_PLACES, CHINESE_PLACES, ARABIC_PLACES, HINDI_PLACES])
def test_every_place_has_an_entry(places: dict[str, tuple[str, str]]) -> None:
    assert sorted(places) == sorted(place.name for place in PLACES)
    assert all(part for entry in places.values() for part in entry)


def test_the_five_captions_are_distinct_and_in_normal_form(captions: tuple[str, list[tuple[str, ...]]]) -> None:
    for five in captions[1]:
        assert len(set(five)) == len(five) == 5
        for caption in five:
            assert caption == unicodedata.normalize("NFC", caption)
            assert caption == " ".join(caption.split())


def test_captions_are_written_in_the_letters_of_their_language(captions: tuple[str, list[tuple[str, ...]]]) -> None:
    language, described = captions
    text = "".join(caption for five in described for caption in five)
    letters = {unicodedata.name(letter) for letter in set(text) if unicodedata.category(letter)[0] in "LMN"}
    if language in SCRIPTS:
        assert {name for name in letters if not name.startswith(SCRIPTS[language])} == set()
    if language == "zh":
        assert " " not in text
    assert len(letters) > 20


def test_scenes_that_differ_in_a_number_or_a_size_have_other_captions() -> None:
    for language, noun in product(OTHERS, NOUNS):
        sizes = {
            describe(scene(group(noun, n, large=large)), language)[4] for n in (1, 2, 3) for large in (True, False)
        }
        numbers = {describe(scene(group(noun, n)), language)[0] for n in (1, 2, 3)}
        assert (len(sizes), len(numbers)) == (6, 3), (language, noun)


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "de",
            (
                "zwei Hunde und ein Apfel an einem See bei Nacht",
                "ein Blick auf einen See bei Nacht mit zwei Hunden und einem Apfel",
                "an einem See bei Nacht sind zwei Hunde mit einem Apfel rechts daneben zu sehen",
                "zwei Hunde links von einem Apfel an einem See bei Nacht",
                "ein großer Apfel befindet sich rechts von zwei kleinen Hunden",
            ),
        ),
        (
            "zh",
            (
                "夜晚的湖边的两只狗和一个苹果",
                "画面是夜晚的湖，有两只狗和一个苹果",
                "夜晚的湖边有两只狗，右边是一个苹果",
                "夜晚的湖边，两只狗在一个苹果的左边",
                "一个巨大的苹果在两只小小的狗的右边",
            ),
        ),
        (
            "ar",
            (
                "كلبان وتفاحة قرب بحيرة في الليل",
                "منظر بحيرة في الليل فيه كلبان وتفاحة",
                "قرب بحيرة في الليل هناك كلبان وإلى يمينهما تفاحة",
                "كلبان إلى يسار تفاحة قرب بحيرة في الليل",
                "تفاحة كبيرة إلى يمين كلبين صغيرين",
            ),
        ),
        (
            "hi",
            (
                "दो कुत्ते और एक सेब रात में झील के किनारे",
                "रात में झील का दृश्य जिसमें दो कुत्ते और एक सेब हैं",
                "रात में झील के किनारे दो कुत्ते हैं और उनके दाईं ओर एक सेब है",
                "रात में झील के किनारे दो कुत्ते एक सेब के बाईं ओर हैं",
                "एक बड़ा सेब दो छोटे कुत्तों के दाईं ओर है",
            ),
        ),
    ],
)
def test_two_dogs_and_an_apple_by_a_lake_at_night(language: str, expected: tuple[str, ...]) -> None:
    drawn = scene(group("dog", 2), group("apple", large=True), place=LAKE, time="night")
    assert describe(drawn, language) == tuple(unicodedata.normalize("NFC", caption) for caption in expected)


@pytest.mark.parametrize(
    ("language", "below", "above", "phrase"),
    [
        ("de", group("monkey"), group("kite"), "unter einem kleinen Drachen"),
        ("de", group("kite"), group("monkey"), "unter einem kleinen Affen"),  # weak
        ("de", group("kite"), group("apple", 3), "unter drei kleinen Äpfeln"),
        ("de", group("kite"), group("car", 2), "unter zwei kleinen Autos"),
        ("de", group("house"), group("kite"), "ein kleines Haus befindet sich"),
        ("de", group("cat", 2), group("kite"), "zwei kleine Katzen befinden sich"),
        ("zh", group("book", 2), group("kite"), "两本小小的书在"),
        ("zh", group("horse", 3), group("kite"), "三匹小小的马在"),
        ("ar", group("cat", 2), group("kite"), "قطتان صغيرتان تحت"),
        ("ar", group("cat", 3), group("kite"), "ثلاث قطط صغيرة تحت"),
        ("ar", group("dog", 3), group("kite"), "ثلاثة كلاب صغيرة تحت"),
        ("ar", group("dog"), group("kite", 2), "تحت طائرتين ورقيتين صغيرتين"),
        ("hi", group("tiger"), group("horse"), "एक छोटे घोड़े के नीचे है"),
        ("hi", group("tiger"), group("cat", 2), "दो छोटी बिल्लियों के नीचे है"),
        ("hi", group("cat", 3), group("tiger"), "तीन छोटी बिल्लियाँ"),
        ("hi", group("elephant", 2), group("tiger"), "दो छोटे हाथी"),
    ],
)
def test_case_number_and_gender_agree(language: str, below: Group, above: Group, phrase: str) -> None:
    sizes = describe(scene(above, below, layout="stack"), language)[4]
    assert unicodedata.normalize("NFC", phrase) in sizes


@pytest.mark.parametrize(
    ("gender", "forms"),
    [
        ("m", ("घोड़ा", "घोड़े", "घोड़े", "घोड़ों")),
        ("m", ("हाथी", "हाथी", "हाथी", "हाथियों")),
        ("m", ("उल्लू", "उल्लू", "उल्लू", "उल्लुओं")),
        ("m", ("कछुआ", "कछुए", "कछुए", "कछुओं")),
        ("m", ("घर", "घर", "घर", "घरों")),
        ("f", ("बिल्ली", "बिल्ली", "बिल्लियाँ", "बिल्लियों")),
        ("f", ("चिड़िया", "चिड़िया", "चिड़ियाँ", "चिड़ियों")),
        ("f", ("किताब", "किताब", "किताबें", "किताबों")),
    ],
)
def test_declensions_of_hindi(gender: str, forms: tuple[str, ...]) -> None:
    singular, *others = (unicodedata.normalize("NFC", form) for form in forms)
    assert decline(gender, singular) == (singular, *others)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_arabic_pronouns_agree_with_the_object_that_they_stand_for(count: int) -> None:
    suffixes = [
        re.search(r"إلى يمين(\S+)", describe(scene(group(noun, count), group("tree")), "ar")[2])
        for noun in ("dog", "cat")
    ]
    assert [found and found[1] for found in suffixes] == {1: ["ه", "ها"], 2: ["هما", "هما"], 3: ["ها", "ها"]}[count]


def test_pictures_boxes_and_splits_are_the_same_in_every_language() -> None:
    """The boxes keep the English noun, so attention is not measured in other languages."""
    english, *others = (Scenes(24, 96, 3, language).records() for language in GRAMMARS)
    for records in others:
        assert [(one.image, one.split, one.objects) for one in records] == [
            (one.image, one.split, one.objects) for one in english
        ]
        assert not {caption for one in records for caption in one.captions} & {
            caption for one in english for caption in one.captions
        }


def test_a_language_without_a_grammar_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(ParamsError, match="language is 'fr'; use one of en, de, zh, ar, hi"):
        Scenes(12, 64, 0, "fr")
