"""Captions in Hindi: two genders, and the oblique case before a postposition."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from wordgaze.data.datasets.scenes.compose import Group, Scene

_Gender = Literal["m", "f"]
_Case = Literal["direct", "oblique"]

HINDI_NOUNS: dict[str, tuple[_Gender, str]] = {
    "airplane": ("m", "हवाई जहाज़"),
    "anchor": ("m", "लंगर"),
    "apple": ("m", "सेब"),
    "ball": ("f", "गेंद"),
    "balloon": ("m", "गुब्बारा"),
    "banana": ("m", "केला"),
    "bell": ("f", "घंटी"),
    "bicycle": ("f", "साइकिल"),
    "bird": ("f", "चिड़िया"),
    "boat": ("f", "नाव"),
    "book": ("f", "किताब"),
    "bus": ("f", "बस"),
    "butterfly": ("f", "तितली"),
    "cactus": ("m", "कैक्टस"),
    "cake": ("m", "केक"),
    "camel": ("m", "ऊँट"),
    "camera": ("m", "कैमरा"),
    "car": ("f", "कार"),
    "carrot": ("f", "गाजर"),
    "castle": ("m", "किला"),
    "cat": ("f", "बिल्ली"),
    "chair": ("f", "कुर्सी"),
    "clock": ("f", "घड़ी"),
    "cow": ("f", "गाय"),
    "crab": ("m", "केकड़ा"),
    "crown": ("m", "मुकुट"),
    "dog": ("m", "कुत्ता"),
    "drum": ("m", "ढोल"),
    "duck": ("f", "बत्तख"),
    "elephant": ("m", "हाथी"),
    "giraffe": ("m", "जिराफ़"),
    "guitar": ("m", "गिटार"),
    "hat": ("f", "टोपी"),
    "helicopter": ("m", "हेलीकॉप्टर"),
    "horse": ("m", "घोड़ा"),
    "house": ("m", "घर"),
    "kangaroo": ("m", "कंगारू"),
    "key": ("f", "चाबी"),
    "kite": ("f", "पतंग"),
    "monkey": ("m", "बंदर"),
    "motorcycle": ("f", "मोटरसाइकिल"),
    "mushroom": ("m", "मशरूम"),
    "octopus": ("m", "ऑक्टोपस"),
    "owl": ("m", "उल्लू"),
    "penguin": ("m", "पेंगुइन"),
    "pig": ("m", "सूअर"),
    "pineapple": ("m", "अनानास"),
    "pumpkin": ("m", "कद्दू"),
    "rabbit": ("m", "खरगोश"),
    "robot": ("m", "रोबोट"),
    "sheep": ("f", "भेड़"),
    "snail": ("m", "घोंघा"),
    "snake": ("m", "साँप"),
    "strawberry": ("f", "स्ट्रॉबेरी"),
    "sunflower": ("m", "सूरजमुखी"),
    "teapot": ("f", "चायदानी"),
    "tent": ("m", "तंबू"),
    "tiger": ("m", "बाघ"),
    "tractor": ("m", "ट्रैक्टर"),
    "train": ("f", "रेलगाड़ी"),
    "tree": ("m", "पेड़"),
    "truck": ("m", "ट्रक"),
    "turtle": ("m", "कछुआ"),
    "umbrella": ("m", "छाता"),
}
HINDI_PLACES = {  # the place in the oblique case, and the postposition for being there
    "beach": ("समुद्र तट", "पर"),
    "street": ("सड़क", "पर"),
    "field": ("खेत", "में"),
    "park": ("पार्क", "में"),
    "desert": ("रेगिस्तान", "में"),
    "lake": ("झील", "के किनारे"),
    "room": ("कमरे", "में"),
    "snowy hill": ("बर्फ़ीली पहाड़ी", "पर"),
}
_TIMES = {"day": "", "sunset": "सूर्यास्त के समय ", "night": "रात में "}
_NUMBERS = {1: "एक", 2: "दो", 3: "तीन"}
_RELATIONS = {  # of the first group to the others, and of the others to the first; all take the oblique case
    "row": ("के बाईं ओर", "के दाईं ओर"),
    "beside": ("के पास", "के दाईं ओर"),
    "stack": ("के ऊपर", "के नीचे"),
}
_DECLENSIONS: dict[_Gender, tuple[tuple[str, str, str, str], ...]] = {
    # ending of the singular → oblique singular, direct plural, oblique plural; the first ending that fits
    "m": (
        ("ा", "े", "े", "ों"),
        ("आ", "ए", "ए", "ओं"),
        ("ी", "ी", "ी", "ियों"),
        ("ू", "ू", "ू", "ुओं"),
        ("", "", "", "ों"),
    ),
    "f": (
        ("िया", "िया", "ियाँ", "ियों"),
        ("ी", "ी", "ियाँ", "ियों"),
        ("", "", "ें", "ों"),
    ),
}


class HindiForms(NamedTuple):
    """The four forms of a noun."""

    singular: str
    oblique_singular: str
    plural: str
    oblique_plural: str


def decline(gender: _Gender, noun: str) -> HindiForms:
    """The forms of a noun from its direct singular: ``कुत्ता`` → ``कुत्ते``, ``कुत्ते``, ``कुत्तों``."""
    ending, *others = next(row for row in _DECLENSIONS[gender] if noun.endswith(row[0]))
    stem = noun.removesuffix(ending)
    return HindiForms(noun, *(stem + other for other in others))


def hindi_captions(scene: Scene) -> tuple[str, ...]:
    """The five forms; see :mod:`wordgaze.data.datasets.scenes.grammar`."""
    place, postposition = HINDI_PLACES[scene.place.name]
    place = f"{_TIMES[scene.time]}{place}"
    where = f"{place} {postposition}"
    everything = _listing(scene.groups, "direct")
    first, *others = scene.groups
    one, sized_one = (_name(first, "direct", sized=sized) for sized in (False, True))
    common = (f"{everything} {where}", f"{place} का दृश्य जिसमें {everything} {_is(*scene.groups)}")
    if not others:
        return (
            *common,
            f"{where} {one} {_is(first)}",
            f"{where} सिर्फ़ {one} {_is(first)} और कुछ नहीं",
            f"{sized_one} {where} {_is(first)}",
        )
    forth, back = _RELATIONS[scene.layout]
    near = f"{'उस' if len(first.things) == 1 else 'उन'}{back}"
    return (
        *common,
        f"{where} {one} {_is(first)} और {near} {_listing(others, 'direct')} {_is(*others)}",
        f"{where} {one} {_listing(others, 'oblique')} {forth} {_is(first)}",
        f"{_listing(others, 'direct', sized=True)} {_name(first, 'oblique', sized=True)} {back} {_is(*others)}",
    )


def _listing(groups: Sequence[Group], case: _Case, *, sized: bool = False) -> str:
    *names, last = (_name(group, case, sized=sized) for group in groups)
    return f"{', '.join(names)} और {last}" if names else last


def _name(group: Group, case: _Case, *, sized: bool = False) -> str:
    """``एक बड़े कुत्ते`` (oblique), ``दो छोटी बिल्लियाँ``."""
    gender, noun = HINDI_NOUNS[group.noun]
    count = len(group.things)
    size = [_adjective(gender, group, case)] if sized else []
    return " ".join([_NUMBERS[count], *size, _form(decline(gender, noun), count, case)])


def _form(forms: HindiForms, count: int, case: _Case) -> str:
    if count == 1:
        return forms.singular if case == "direct" else forms.oblique_singular
    return forms.plural if case == "direct" else forms.oblique_plural


def _adjective(gender: _Gender, group: Group, case: _Case) -> str:
    """बड़ा, छोटा: -ी in the feminine, -े in the masculine except in the direct singular."""
    stem = "बड़" if group.large else "छोट"
    if gender == "f":
        return f"{stem}ी"
    return f"{stem}{'ा' if len(group.things) == 1 and case == 'direct' else 'े'}"


def _is(*groups: Group) -> str:
    return "है" if sum(len(group.things) for group in groups) == 1 else "हैं"
