"""The tokenizer that suits a text, and the warning where no words were found in it."""

from collections import Counter

import pytest

from wordgaze.text.tokenizers import get_tokenizer
from wordgaze.text.tokenizers.advice import is_unsegmented, suggested_tokenizer


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A dog runs.", "ptb"), ("Ein Hund läuft.", "ptb"), ("Một con chó", "ptb"), ("", "ptb"), ("123 !", "ptb"),
        ("Собака бежит", "unicode"), ("الكلب يجري", "unicode"), ("कुत्ता", "unicode"), ("강아지가 달린다", "unicode"),
        ("一只狗", "characters"), ("テレビを見る", "characters"), ("เด็กวิ่ง", "characters"), ("一只狗 in NYC", "ptb"),
        ("一只狗在草地上奔跑 NBA", "characters"),
    ],
)  # fmt: skip
def test_the_script_of_most_letters_decides(text: str, name: str) -> None:
    assert suggested_tokenizer([text]) == name


def test_captions_in_two_languages_are_split_so_that_both_have_words() -> None:
    """A Chinese caption has fewer letters than an English one, and would be a single word to the others."""
    english, chinese, arabic = "a dog runs over the green grass", "一只狗在奔跑", "كلب يركض"
    assert suggested_tokenizer([english, chinese]) == "characters"
    assert suggested_tokenizer([arabic, chinese]) == "characters"
    assert suggested_tokenizer([*[english] * 30, chinese]) == "ptb"
    assert suggested_tokenizer([english, arabic]) == "ptb"
    assert suggested_tokenizer([english, arabic, arabic]) == "unicode"


def test_turkish_is_known_by_its_two_letters_i() -> None:
    turkish = ["İki köpek koşuyor", "Bir adam ışıkta", "Bir kedi", "Çocuk top oynuyor"]
    assert suggested_tokenizer(turkish) == "unicode-tr"
    assert suggested_tokenizer(["A view of İstanbul", *["a dog on grass"] * 9]) == "ptb"


@pytest.mark.parametrize(
    ("captions", "expected"),
    [
        (["一个男人在公园里跑步。", "一只狗在草地上奔跑，很快。"], True),
        (["เด็กผู้ชายกำลังวิ่งเล่นในสวน", "สุนัขวิ่งบนสนามหญ้า"], True),
        (["狗在跑步", "猫在睡觉"], True),  # short, but one word each
        (["一个 男人 在 公园 里 跑步", "一 只 狗 在 奔跑"], False),  # segmented before
        (["a dog runs fast", "Donaudampfschifffahrtsgesellschaft"], False),
        (["강아지가 달린다"], False),
        ([], False),
    ],
)
def test_clauses_that_were_taken_for_words_are_noticed(captions: list[str], expected: bool) -> None:
    for name, found in (("ptb", expected), ("characters", False), ("unicode", False)):
        tokens = [token for text in captions for token in get_tokenizer(name).tokenize(text)]
        assert is_unsegmented(Counter(tokens), len(captions)) is found
