"""Words and characters of real captions in many languages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wordgaze.config.params import TOKENIZERS
from wordgaze.core.errors import ModelError
from wordgaze.text.tokenizers import RULE_BASED, get_tokenizer

WORDS = {
    "Arabic with harakat": ("الكَلْبُ يَجْرِي، في العُشْبِ.", "الكَلْبُ يَجْرِي في العُشْبِ"),
    "Arabic, stretched": ("كلـــب يركض", "كلب يركض"),
    "Arabic in the shapes of old files": ("ﻛﻠﺐ ﷲ", "كلب الله"),
    "Latin letters and digits of full width": ("２匹のＤＯＧ’ｓ", "2 匹 の dog's"),
    "Katakana of half width": ("ﾃﾚﾋﾞを見る", "テレビ を 見 る"),
    "ligatures": ("a ﬁeld of ﬂowers", "a field of flowers"),
    "Hebrew with niqqud": ('הַכֶּלֶב רָץ בַּפַּארְק; צה"ל.', 'הַכֶּלֶב רָץ בַּפַּארְק צה"ל'),
    "Persian with a non-joiner": ("سگ می‌دود.", "سگ می‌دود"),
    "Hindi": ("एक कुत्ता, घास पर दौड़ रहा है।", "एक कुत्ता घास पर दौड़ रहा है"),
    "Bengali": ("একটি কুকুর ঘাসে দৌড়াচ্ছে।", "একটি কুকুর ঘাসে দৌড়াচ্ছে"),
    "Sinhala with a joiner": ("ක්‍රීඩා කරයි", "ක්‍රීඩා කරයි"),
    "German": ("Zwei Äpfel — 3,5 kg — auf der STRASSE, groß.", "zwei äpfel 3,5 kg auf der strasse groß"),
    "Russian": ("Собака бежит по траве…", "собака бежит по траве"),
    "Greek with a final sigma": ("Ο ΣΚΥΛΟΣ τρέχει·", "ο σκυλος τρέχει"),
    "Korean": ("강아지가 잔디밭에서 달린다.", "강아지가 잔디밭에서 달린다"),
    "Korean, decomposed": ("\u1100\u1161\u11bc", "강"),
    "Vietnamese, decomposed": ("Mo\u0323\u0302t con cho\u0301", "một con chó"),
    "English": ("The dog's “ball” isn’t red: e-mail, 1,000!", "the dog's ball isn't red e mail 1,000"),
    "emoji": ("A dog 🐶👩‍👩‍👧 runs 👍🏽 1️⃣", "a dog runs 1"),
    "İ of other languages": ("İstanbul", "istanbul"),
    "invisible characters": ("snow\u00adboard \u200fdog\u202c \ufeffcat\u2066", "snowboard dog cat"),
    "blanks of all kinds": ("a\u2028dog\u00a0\u3000runs\x85\tfast", "a dog runs fast"),
    "Chinese by the rules of Unicode": ("一个男人在跑步。", "一 个 男 人 在 跑 步"),
    "Japanese words in Katakana stay whole": ("テレビを見る、ラジオ", "テレビ を 見 る ラジオ"),
}


@pytest.mark.parametrize(("text", "expected"), WORDS.values(), ids=WORDS)
def test_words_are_those_of_the_language(text: str, expected: str) -> None:
    assert get_tokenizer("unicode").tokenize(text) == expected.split(" ")


def test_turkish_has_two_letters_i() -> None:
    text = "IŞIKTA İKİ Kedi"
    assert get_tokenizer("unicode-tr").tokenize(text) == get_tokenizer("unicode-az").tokenize(text)
    assert get_tokenizer("unicode-tr").tokenize(text) == ["ışıkta", "iki", "kedi"]
    assert get_tokenizer("unicode").tokenize(text) == ["işikta", "iki", "kedi"]


CHARACTERS = {
    "Chinese": ("一个男人，在跑步。", "一|个|男|人|在|跑|步", "一个男人在跑步"),
    "Chinese with numbers and Latin words": ("3只狗 in New York。", "3|只|狗|in|new|york", "3只狗in new york"),
    "Japanese": ("テレビを見る。", "テ|レ|ビ|を|見|る", "テレビを見る"),
    "Thai, with vowels and tones": ("เด็กกำลังวิ่ง 2 คน", "เ|ด็|ก|กำ|ลั|ง|วิ่|ง|2|ค|น", "เด็กกำลังวิ่ง 2 คน"),
    "Khmer": ("ក្មេងរត់។", "ក្មេ|ង|រ|ត់", "ក្មេងរត់"),
    "Burmese": ("ကလေး", "က|လေး", "ကလေး"),
    "Lao": ("ຄົນແລ່ນ", "ຄົ|ນ|ແ|ລ່|ນ", "ຄົນແລ່ນ"),
    "Korean has blanks": ("강아지가 달린다", "강아지가|달린다", "강아지가 달린다"),
    "English": ("A dog's ball.", "a|dog's|ball", "a dog's ball"),
}


@pytest.mark.parametrize(("text", "tokens", "joined"), CHARACTERS.values(), ids=CHARACTERS)
def test_scripts_without_blanks_are_split_into_characters_and_joined_without(
    text: str, tokens: str, joined: str
) -> None:
    characters = get_tokenizer("characters")
    found = characters.tokenize(text)
    assert found == tokens.split("|")
    assert characters.join(found) == joined


PIECES = st.sampled_from(
    list(
        "aZİIßΣ9.,'’\"_-:;。、ー々カなら人的กำเด็แກຳក្កကאַبّनािी্ক\u200c\u200d\u200b\u00ad\u200e\u0301\u3099 \u3000\u2028\n👩🏽\ufe0f🇩ℹ①½ǆẞὈ한ㅏ"
    )
)
TEXTS = st.text() | st.lists(PIECES, max_size=12).map("".join)


@pytest.mark.parametrize("name", [name for name in RULE_BASED if name != "ptb"])
@settings(max_examples=300)
@given(TEXTS)
def test_the_joined_tokens_have_the_same_tokens_and_no_token_has_a_blank(name: str, text: str) -> None:
    tokenizer = get_tokenizer(name)
    tokens = tokenizer.tokenize(text)
    assert all(token.split() == [token] for token in tokens)
    assert tokenizer.tokenize(tokenizer.join(tokens)) == tokens
    assert [span.text for span in tokenizer.spans(tokens)] == tokens == tokenizer.tokens_of(tokens)


@given(TEXTS)
def test_no_english_token_has_a_blank(text: str) -> None:
    assert all(token.split() == [token] for token in get_tokenizer("ptb").tokenize(text))


def test_only_known_names_are_tokenizers() -> None:
    assert (*RULE_BASED, "subwords") == TOKENIZERS
    with pytest.raises(ModelError, match="tokenizer 'bpe' is unknown; choose one of ptb, unicode, ") as caught:
        get_tokenizer("bpe")
    assert "\n" not in str(caught.value)


def test_words_that_are_given_one_by_one_are_tokenized() -> None:
    assert get_tokenizer("characters").tokens_of(["男人", "NBA"]) == ["男", "人", "nba"]
    assert get_tokenizer("unicode").tokens_of(["Ein", "Hund."]) == ["ein", "hund"]
    assert get_tokenizer("ptb").tokens_of(["Dog's"]) == ["Dog's"]  # unknown words are reported as they were given
