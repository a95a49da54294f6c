"""The languages of captions."""

import pytest

from wordgaze.inspection.languages import UNCERTAIN, LanguageShare, identify_languages

CAPTIONS = {
    "en": ["a dog runs on the beach", "two men ride their bicycles on a street", "a woman sits on a bench"],
    "de": ["Ein Hund läuft am Strand", "Zwei Männer fahren Fahrrad", "Eine Frau sitzt auf einer Bank"],
    "fr": ["un chien court sur la plage", "deux hommes font du vélo dans la rue"],
    "zh": ["一只狗在沙滩上奔跑", "两个男人骑自行车"],
    "ja": ["犬が浜辺を走っている", "二人の男性が自転車に乗っている"],
    "ar": ["كلب يركض على الشاطئ", "رجل يجلس على كرسي في الحديقة"],
    "hi": ["एक कुत्ता समुद्र तट पर दौड़ता है"],
    "km": ["ក្មេងប្រុសម្នាក់លោត"],
    "th": ["สุนัขวิ่งบนชายหาด"],
}


@pytest.mark.parametrize("code", CAPTIONS)
def test_captions_of_one_language(code: str) -> None:
    assert identify_languages(CAPTIONS[code] * 10) == [LanguageShare(code, 1.0)]


def test_the_shares_of_several_languages() -> None:
    shares = identify_languages([*CAPTIONS["en"] * 20, *CAPTIONS["zh"] * 10])
    assert {each.code: each.share for each in shares} == {"en": 0.75, "zh": 0.25}


def test_what_is_no_language_is_uncertain() -> None:
    assert identify_languages(["ok", "12", "!!"]) == [LanguageShare(UNCERTAIN, 1.0)]
    assert identify_languages(["", "  "]) == []
    assert identify_languages([]) == []


def test_a_sample_of_many_captions_is_read() -> None:
    shares = identify_languages([*CAPTIONS["en"] * 2000, *CAPTIONS["de"] * 2000])
    assert {each.code: round(each.share, 1) for each in shares} == {"en": 0.5, "de": 0.5}
