"""Statistics of captions."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.config.params import PrepareParams
from wordgaze.data.preparation import tokenize_captions
from wordgaze.data.records import Record
from wordgaze.inspection.captions import (
    RepeatedCaption,
    describe_captions,
    length_bins,
    repeated_captions,
    scripts,
    vocabulary_option,
)
from wordgaze.text.tokenizers import get_tokenizer
from wordgaze.text.tokenizers.subwords import train_subwords
from wordgaze.text.vocabulary import SPECIAL, Vocabulary

PTB = get_tokenizer("ptb")


def described(*captions: str, split: str = "train", min_count: int = 1, max_words: int = 20):  # type: ignore[no-untyped-def]
    records = [Record(f"{number}.jpg", (text,), split) for number, text in enumerate(captions)]  # type: ignore[arg-type]
    settings = PrepareParams(min_count=min_count, max_words=max_words)
    return describe_captions(*tokenize_captions(records, PTB), settings, PTB)


def test_captions_are_counted_per_image_and_by_their_words() -> None:
    records = [
        Record("a.jpg", ("A dog runs.", "A dog!", "..."), "train"),
        Record("b.jpg", ("A cat sleeps on a mat.",), "train"),
        Record("c.jpg", ("A bird.", "A bird flies."), "test"),
    ]
    settings = PrepareParams(min_count=2, max_words=5)
    found = describe_captions(*tokenize_captions(records, PTB), settings, PTB)
    assert (found.num_captions, found.without_words, found.truncated) == (5, 1, 1)
    assert found.per_image == {1: 1, 2: 2}
    assert found.lengths == {2: 2, 3: 2, 6: 1}
    assert found.mean_length == pytest.approx(16 / 5)
    assert found.frequent_words == {"a": 4, "dog": 2, "cat": 1, "mat": 1, "on": 1, "runs": 1, "sleeps": 1}
    assert found.rare_words == ("cat", "mat", "on", "runs", "sleeps")
    assert (found.vocabulary.words, found.num_words) == (2, 7)
    assert found.vocabulary.unknown_train == pytest.approx(5 / 11)
    assert found.vocabulary.unknown_held_out == pytest.approx(3 / 5)


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9)), st.integers(1, 6), st.integers(0, 4))
def test_the_vocabulary_is_the_one_that_prepare_counts(counts: dict[str, int], min_count: int, most: int) -> None:
    tokens = list(Counter(counts).elements())
    vocabulary = Vocabulary.count([tokens], min_count, most)
    option = vocabulary_option(counts, {}, min_count, most)
    known = sum(token in vocabulary.words for token in tokens)
    assert option.words == len(vocabulary) - len(SPECIAL)
    assert option.unknown_train == pytest.approx(1 - known / len(tokens) if tokens else 0)
    assert option.unknown_held_out is None


def test_a_caption_of_several_images_is_found_however_it_is_written() -> None:
    found = described("A photo.", "a photo", "A photo !", "A dog.")
    assert found.repeated == (RepeatedCaption("A photo.", 3),)
    assert found.num_repeated == 1
    one_image = tokenize_captions([Record("a.jpg", ("A dog.", "A dog."), "train")], PTB)[0]
    assert repeated_captions(one_image) == []


@pytest.mark.parametrize(
    "mark", ["<start>", "startseq", "</s>", "<unk>", "[CLS]", "<|endoftext|>", "<EOS>", "<image>", "<br>", "&amp;"]
)
def test_markers_of_other_programs_are_found(mark: str) -> None:
    assert described(f"{mark} a dog runs", "a cat").markers == {mark: 1}


def test_words_in_angles_and_common_words_are_no_markers() -> None:
    assert described("a sign that says <stop>", "the end of a street", "a start", "x < y > z").markers == {}


@pytest.mark.parametrize("text", ["ein MÃ¤dchen", "cafÃ©", "it\u00e2\u20ac\u2122s", "a caf\ufffd", "a caf\x82"])
def test_letters_of_a_wrong_encoding_are_found(text: str) -> None:
    assert described(text).wrongly_decoded == 1


@pytest.mark.parametrize("text", ["ein Mädchen im Café", "São Paulo", "une forêt À Âne", "犬", "it’s", "NEL\u0085here"])
def test_letters_of_a_right_encoding_are_not(text: str) -> None:
    assert described(text).wrongly_decoded == 0


def test_scripts_by_letters() -> None:
    assert scripts(["abc 犬が", "!?1"]) == {"Latin": 0.6, "Han": 0.2, "Hiragana": 0.2}
    others = scripts(["собака", "كلب", "कुत्ता", "สุนัข", "ខ្មែរ", "개"])
    assert others.keys() == {"Cyrillic", "Arabic", "Devanagari", "Thai", "Khmer", "Hangul"}
    assert scripts([]) == {}


def test_one_long_word_is_a_sign_of_a_script_without_blanks() -> None:
    assert described("一只狗在沙滩上奔跑", "两个男人骑自行车", "dog").is_unsegmented
    assert not described("a dog runs", "Donaudampfschifffahrt").is_unsegmented


def test_the_bins_of_a_histogram_have_every_length() -> None:
    assert length_bins({1: 3, 4: 2}) == [("1", 3), ("2", 0), ("3", 0), ("4", 2)]
    bins = length_bins({2: 1, 39: 5, 500: 2, 41: 1})
    assert (len(bins), bins[-1], sum(count for _, count in bins)) == (41, ("> 40", 3), 9)
    assert length_bins({}) == []


def test_no_captions_are_described_too() -> None:
    found = describe_captions([], 0, PrepareParams(), PTB)
    assert (found.num_captions, found.mean_length, found.repeated, found.rare_words) == (0, 0.0, (), ())


def test_pieces_of_words_have_no_minimum_count() -> None:
    tokenizer = train_subwords(["a dog runs on the beach", "a cat sleeps"] * 5, 0, 1)
    records = [Record("a.jpg", ("a dog sleeps",), "train")]
    found = describe_captions(*tokenize_captions(records, tokenizer), PrepareParams(min_count=5), tokenizer)
    assert (found.vocabulary.min_count, found.vocabulary.unknown_train, found.what_if) == (1, 0, ())
