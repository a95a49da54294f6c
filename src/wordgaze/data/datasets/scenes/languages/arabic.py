"""Captions in Arabic: two genders, the dual, numbers of the opposite gender; unvocalised, written from right to left.

The nouns are indefinite and stand in the nominative, or in the genitive after a preposition. Without vowel signs only
the dual tells the two apart.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from wordgaze.data.datasets.scenes.compose import Group, Scene

_Gender = Literal["m", "f"]
_Case = Literal["nominative", "genitive"]


class ArabicNoun(NamedTuple):
    """A noun; the dual is given in both cases where it is not the regular one."""

    gender: _Gender
    singular: str
    plural: str
    irregular_dual: tuple[str, str] | None = None

    @property
    def dual(self) -> dict[_Case, str]:
        """``كلب`` → ``كلبان``, ``كلبين``; ``قطة`` → ``قطتان``, ``قطتين``."""
        stem = f"{self.singular[:-1]}ت" if self.singular.endswith("ة") else self.singular
        nominative, genitive = self.irregular_dual or (f"{stem}ان", f"{stem}ين")
        return {"nominative": nominative, "genitive": genitive}


ARABIC_NOUNS = {
    "airplane": ArabicNoun("f", "طائرة", "طائرات"),
    "anchor": ArabicNoun("f", "مرساة", "مراسٍ"),
    "apple": ArabicNoun("f", "تفاحة", "تفاحات"),
    "ball": ArabicNoun("f", "كرة", "كرات"),
    "balloon": ArabicNoun("m", "بالون", "بالونات"),
    "banana": ArabicNoun("f", "موزة", "موزات"),
    "bell": ArabicNoun("m", "جرس", "أجراس"),
    "bicycle": ArabicNoun("f", "دراجة", "دراجات"),
    "bird": ArabicNoun("m", "طائر", "طيور"),
    "boat": ArabicNoun("m", "قارب", "قوارب"),
    "book": ArabicNoun("m", "كتاب", "كتب"),
    "bus": ArabicNoun("f", "حافلة", "حافلات"),
    "butterfly": ArabicNoun("f", "فراشة", "فراشات"),
    "cactus": ArabicNoun("f", "صبارة", "صبارات"),
    "cake": ArabicNoun("f", "كعكة", "كعكات"),
    "camel": ArabicNoun("m", "جمل", "جمال"),
    "camera": ArabicNoun("f", "كاميرا", "كاميرات", ("كاميرتان", "كاميرتين")),
    "car": ArabicNoun("f", "سيارة", "سيارات"),
    "carrot": ArabicNoun("f", "جزرة", "جزرات"),
    "castle": ArabicNoun("f", "قلعة", "قلاع"),
    "cat": ArabicNoun("f", "قطة", "قطط"),
    "chair": ArabicNoun("m", "كرسي", "كراسي"),
    "clock": ArabicNoun("f", "ساعة", "ساعات"),
    "cow": ArabicNoun("f", "بقرة", "بقرات"),
    "crab": ArabicNoun("m", "سلطعون", "سلطعونات"),
    "crown": ArabicNoun("m", "تاج", "تيجان"),
    "dog": ArabicNoun("m", "كلب", "كلاب"),
    "drum": ArabicNoun("m", "طبل", "طبول"),
    "duck": ArabicNoun("f", "بطة", "بطات"),
    "elephant": ArabicNoun("m", "فيل", "أفيال"),
    "giraffe": ArabicNoun("f", "زرافة", "زرافات"),
    "guitar": ArabicNoun("m", "غيتار", "غيتارات"),
    "hat": ArabicNoun("f", "قبعة", "قبعات"),
    "helicopter": ArabicNoun("f", "مروحية", "مروحيات"),
    "horse": ArabicNoun("m", "حصان", "أحصنة"),
    "house": ArabicNoun("m", "بيت", "بيوت"),
    "kangaroo": ArabicNoun("m", "كنغر", "كناغر"),
    "key": ArabicNoun("m", "مفتاح", "مفاتيح"),
    "kite": ArabicNoun("f", "طائرة ورقية", "طائرات ورقية", ("طائرتان ورقيتان", "طائرتين ورقيتين")),
    "monkey": ArabicNoun("m", "قرد", "قرود"),
    "motorcycle": ArabicNoun("f", "دراجة نارية", "دراجات نارية", ("دراجتان ناريتان", "دراجتين ناريتين")),
    "mushroom": ArabicNoun("m", "فطر", "فطور"),
    "octopus": ArabicNoun("m", "أخطبوط", "أخطبوطات"),
    "owl": ArabicNoun("f", "بومة", "بومات"),
    "penguin": ArabicNoun("m", "بطريق", "بطاريق"),
    "pig": ArabicNoun("m", "خنزير", "خنازير"),
    "pineapple": ArabicNoun("f", "أناناسة", "أناناسات"),
    "pumpkin": ArabicNoun("f", "يقطينة", "يقطينات"),
    "rabbit": ArabicNoun("m", "أرنب", "أرانب"),
    "robot": ArabicNoun("m", "روبوت", "روبوتات"),
    "sheep": ArabicNoun("m", "خروف", "خراف"),
    "snail": ArabicNoun("m", "حلزون", "حلزونات"),
    "snake": ArabicNoun("m", "ثعبان", "ثعابين"),
    "strawberry": ArabicNoun("f", "فراولة", "فراولات"),
    "sunflower": ArabicNoun("f", "زهرة دوار شمس", "زهرات دوار شمس", ("زهرتا دوار شمس", "زهرتي دوار شمس")),
    "teapot": ArabicNoun("m", "إبريق", "أباريق"),
    "tent": ArabicNoun("f", "خيمة", "خيام"),
    "tiger": ArabicNoun("m", "نمر", "نمور"),
    "tractor": ArabicNoun("m", "جرار", "جرارات"),
    "train": ArabicNoun("m", "قطار", "قطارات"),
    "tree": ArabicNoun("f", "شجرة", "أشجار"),
    "truck": ArabicNoun("f", "شاحنة", "شاحنات"),
    "turtle": ArabicNoun("f", "سلحفاة", "سلاحف"),
    "umbrella": ArabicNoun("f", "مظلة", "مظلات"),
}
ARABIC_PLACES = {  # a preposition, and the place
    "beach": ("على", "شاطئ"),
    "street": ("في", "شارع"),
    "field": ("في", "حقل"),
    "park": ("في", "حديقة"),
    "desert": ("في", "صحراء"),
    "lake": ("قرب", "بحيرة"),
    "room": ("في", "غرفة"),
    "snowy hill": ("على", "تل ثلجي"),
}
_TIMES = {"day": "", "sunset": " عند الغروب", "night": " في الليل"}
_THREE = {"m": "ثلاثة", "f": "ثلاث"}  # by the gender of the noun in the singular
_LARGE, _SMALL = "كبير", "صغير"
_RELATIONS = {  # of the first group to the others, and of the others to the first; all take the genitive
    "row": ("إلى يسار", "إلى يمين"),
    "beside": ("بجانب", "إلى يمين"),
    "stack": ("فوق", "تحت"),
}


def arabic_captions(scene: Scene) -> tuple[str, ...]:
    """The five forms; see :mod:`wordgaze.data.datasets.scenes.grammar`."""
    preposition, place = ARABIC_PLACES[scene.place.name]
    view = f"{place}{_TIMES[scene.time]}"
    where = f"{preposition} {view}"
    everything = _listing(scene.groups, "nominative")
    first, *others = scene.groups
    one = _name(first, "nominative")
    common = (f"{everything} {where}", f"منظر {view} فيه {everything}")
    if not others:
        return (
            *common,
            f"{where} هناك {one}",
            f"{one} ولا شيء آخر {where}",
            f"{_name(first, 'nominative', sized=True)} {where}",
        )
    forth, back = _RELATIONS[scene.layout]
    return (
        *common,
        f"{where} هناك {one} و{back}{_pronoun(first)} {_listing(others, 'nominative')}",
        f"{one} {forth} {_listing(others, 'genitive')} {where}",
        f"{_listing(others, 'nominative', sized=True)} {back} {_name(first, 'genitive', sized=True)}",
    )


def _listing(groups: Sequence[Group], case: _Case, *, sized: bool = False) -> str:
    """``كلب وقطتان وشجرة``: "and" is written in one word with what follows it."""
    return " و".join(_name(group, case, sized=sized) for group in groups)


def _name(group: Group, case: _Case, *, sized: bool = False) -> str:
    """``قطتان صغيرتان``, ``ثلاثة كلاب كبيرة``."""
    noun = ARABIC_NOUNS[group.noun]
    phrase = {1: noun.singular, 2: noun.dual[case], 3: f"{_THREE[noun.gender]} {noun.plural}"}[len(group.things)]
    return f"{phrase} {_adjective(group, noun.gender, case)}" if sized else phrase


def _adjective(group: Group, gender: _Gender, case: _Case) -> str:
    """Agrees with the noun; the plural of things and animals takes the feminine singular."""
    stem = _LARGE if group.large else _SMALL
    adjective = ArabicNoun(gender, stem if gender == "m" else f"{stem}ة", "")
    return {1: adjective.singular, 2: adjective.dual[case], 3: f"{stem}ة"}[len(group.things)]


def _pronoun(group: Group) -> str:
    """The suffix that refers to a group: his, hers, theirs (two), and hers for the plural of things and animals."""
    singular = "ه" if ARABIC_NOUNS[group.noun].gender == "m" else "ها"
    return {1: singular, 2: "هما", 3: "ها"}[len(group.things)]
