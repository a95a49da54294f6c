"""Captions in German: three genders, nominative and dative, strong and mixed endings of the adjectives."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from wordgaze.data.datasets.scenes.compose import Group, Scene

_Gender = Literal["m", "f", "n"]
_Case = Literal["nominative", "dative"]


class GermanNoun(NamedTuple):
    """A noun in the nominative. A weak noun has the form of the plural in all other cases: dem Affen."""

    gender: _Gender
    singular: str
    plural: str
    is_weak: bool = False


GERMAN_NOUNS = {
    "airplane": GermanNoun("n", "Flugzeug", "Flugzeuge"),
    "anchor": GermanNoun("m", "Anker", "Anker"),
    "apple": GermanNoun("m", "Apfel", "Äpfel"),
    "ball": GermanNoun("m", "Ball", "Bälle"),
    "balloon": GermanNoun("m", "Luftballon", "Luftballons"),
    "banana": GermanNoun("f", "Banane", "Bananen"),
    "bell": GermanNoun("f", "Glocke", "Glocken"),
    "bicycle": GermanNoun("n", "Fahrrad", "Fahrräder"),
    "bird": GermanNoun("m", "Vogel", "Vögel"),
    "boat": GermanNoun("n", "Boot", "Boote"),
    "book": GermanNoun("n", "Buch", "Bücher"),
    "bus": GermanNoun("m", "Bus", "Busse"),
    "butterfly": GermanNoun("m", "Schmetterling", "Schmetterlinge"),
    "cactus": GermanNoun("m", "Kaktus", "Kakteen"),
    "cake": GermanNoun("f", "Torte", "Torten"),
    "camel": GermanNoun("n", "Kamel", "Kamele"),
    "camera": GermanNoun("f", "Kamera", "Kameras"),
    "car": GermanNoun("n", "Auto", "Autos"),
    "carrot": GermanNoun("f", "Karotte", "Karotten"),
    "castle": GermanNoun("f", "Burg", "Burgen"),
    "cat": GermanNoun("f", "Katze", "Katzen"),
    "chair": GermanNoun("m", "Stuhl", "Stühle"),
    "clock": GermanNoun("f", "Uhr", "Uhren"),
    "cow": GermanNoun("f", "Kuh", "Kühe"),
    "crab": GermanNoun("f", "Krabbe", "Krabben"),
    "crown": GermanNoun("f", "Krone", "Kronen"),
    "dog": GermanNoun("m", "Hund", "Hunde"),
    "drum": GermanNoun("f", "Trommel", "Trommeln"),
    "duck": GermanNoun("f", "Ente", "Enten"),
    "elephant": GermanNoun("m", "Elefant", "Elefanten", is_weak=True),
    "giraffe": GermanNoun("f", "Giraffe", "Giraffen"),
    "guitar": GermanNoun("f", "Gitarre", "Gitarren"),
    "hat": GermanNoun("m", "Hut", "Hüte"),
    "helicopter": GermanNoun("m", "Hubschrauber", "Hubschrauber"),
    "horse": GermanNoun("n", "Pferd", "Pferde"),
    "house": GermanNoun("n", "Haus", "Häuser"),
    "kangaroo": GermanNoun("n", "Känguru", "Kängurus"),
    "key": GermanNoun("m", "Schlüssel", "Schlüssel"),
    "kite": GermanNoun("m", "Drachen", "Drachen"),
    "monkey": GermanNoun("m", "Affe", "Affen", is_weak=True),
    "motorcycle": GermanNoun("n", "Motorrad", "Motorräder"),
    "mushroom": GermanNoun("m", "Pilz", "Pilze"),
    "octopus": GermanNoun("m", "Krake", "Kraken", is_weak=True),
    "owl": GermanNoun("f", "Eule", "Eulen"),
    "penguin": GermanNoun("m", "Pinguin", "Pinguine"),
    "pig": GermanNoun("n", "Schwein", "Schweine"),
    "pineapple": GermanNoun("f", "Ananas", "Ananas"),
    "pumpkin": GermanNoun("m", "Kürbis", "Kürbisse"),
    "rabbit": GermanNoun("n", "Kaninchen", "Kaninchen"),
    "robot": GermanNoun("m", "Roboter", "Roboter"),
    "sheep": GermanNoun("n", "Schaf", "Schafe"),
    "snail": GermanNoun("f", "Schnecke", "Schnecken"),
    "snake": GermanNoun("f", "Schlange", "Schlangen"),
    "strawberry": GermanNoun("f", "Erdbeere", "Erdbeeren"),
    "sunflower": GermanNoun("f", "Sonnenblume", "Sonnenblumen"),
    "teapot": GermanNoun("f", "Teekanne", "Teekannen"),
    "tent": GermanNoun("n", "Zelt", "Zelte"),
    "tiger": GermanNoun("m", "Tiger", "Tiger"),
    "tractor": GermanNoun("m", "Traktor", "Traktoren"),
    "train": GermanNoun("m", "Zug", "Züge"),
    "tree": GermanNoun("m", "Baum", "Bäume"),
    "truck": GermanNoun("m", "Lastwagen", "Lastwagen"),
    "turtle": GermanNoun("f", "Schildkröte", "Schildkröten"),
    "umbrella": GermanNoun("m", "Regenschirm", "Regenschirme"),
}
GERMAN_PLACES = {  # where something is (dative), and what a view is of (accusative)
    "beach": ("an einem Strand", "auf einen Strand"),
    "street": ("auf einer Straße", "auf eine Straße"),
    "field": ("auf einem Feld", "auf ein Feld"),
    "park": ("in einem Park", "in einen Park"),
    "desert": ("in einer Wüste", "in eine Wüste"),
    "lake": ("an einem See", "auf einen See"),
    "room": ("in einem Zimmer", "in ein Zimmer"),
    "snowy hill": ("auf einem verschneiten Hügel", "auf einen verschneiten Hügel"),
}
_TIMES = {"day": "", "sunset": " bei Sonnenuntergang", "night": " bei Nacht"}
_NUMBERS = {2: "zwei", 3: "drei"}
_ARTICLES = {
    "nominative": {"m": "ein", "f": "eine", "n": "ein"},
    "dative": {"m": "einem", "f": "einer", "n": "einem"},
}
_ENDINGS = {"m": "er", "f": "e", "n": "es"}  # of an adjective after ein, eine, ein; in the dative -en throughout
_RELATIONS = {  # of the first group to the others, and of the others to the first; all take the dative
    "row": ("links von", "rechts von"),
    "beside": ("neben", "rechts von"),
    "stack": ("über", "unter"),
}


def german_captions(scene: Scene) -> tuple[str, ...]:
    """The five forms; see :mod:`wordgaze.data.datasets.scenes.grammar`."""
    place, view = (f"{phrase}{_TIMES[scene.time]}" for phrase in GERMAN_PLACES[scene.place.name])
    first, *others = scene.groups
    common = (
        f"{_listing(scene.groups, 'nominative')} {place}",
        f"ein Blick {view} mit {_listing(scene.groups, 'dative')}",
    )
    one, sized_one = (_name(first, "nominative", sized=sized) for sized in (False, True))
    if not others:
        return (
            *common,
            f"{place} {_is(first)} {one} zu sehen",
            f"{one} und sonst nichts {place}",
            f"{sized_one} {_stands(first)} sich {place}",
        )
    forth, back = _RELATIONS[scene.layout]
    beside = "darunter" if scene.layout == "stack" else "rechts daneben"
    rest = _listing(others, "dative")
    return (
        *common,
        f"{place} {_is(first)} {one} mit {rest} {beside} zu sehen",
        f"{one} {forth} {rest} {place}",
        f"{_listing(others, 'nominative', sized=True)} {_stands(*others)} sich {back}"
        f" {_name(first, 'dative', sized=True)}",
    )


def _listing(groups: Sequence[Group], case: _Case, *, sized: bool = False) -> str:
    *names, last = (_name(group, case, sized=sized) for group in groups)
    return f"{', '.join(names)} und {last}" if names else last


def _name(group: Group, case: _Case, *, sized: bool = False) -> str:
    """``einem großen Hund``, ``drei kleine Äpfel``."""
    noun, count = GERMAN_NOUNS[group.noun], len(group.things)
    number = _ARTICLES[case][noun.gender] if count == 1 else _NUMBERS[count]
    return " ".join([number, *([_adjective(group, case)] if sized else []), _form(noun, count, case)])


def _form(noun: GermanNoun, count: int, case: _Case) -> str:
    if count == 1:
        return noun.plural if noun.is_weak and case == "dative" else noun.singular
    return noun.plural if case == "nominative" or noun.plural.endswith(("n", "s")) else f"{noun.plural}n"


def _adjective(group: Group, case: _Case) -> str:
    stem = "groß" if group.large else "klein"
    if case == "dative":
        return f"{stem}en"
    return f"{stem}{_ENDINGS[GERMAN_NOUNS[group.noun].gender] if len(group.things) == 1 else 'e'}"


def _is(*groups: Group) -> str:
    return "ist" if _count(groups) == 1 else "sind"


def _stands(*groups: Group) -> str:
    return "befindet" if _count(groups) == 1 else "befinden"


def _count(groups: Sequence[Group]) -> int:
    return sum(len(group.things) for group in groups)
