"""The vocabulary: its order, and words to token ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.text.vocabulary import END, PAD, SPECIAL, START, UNK, Vocabulary

CAPTIONS = [["runs", "a", "dog"], ["a", "cat", "runs"], ["a", "dog"]]
WORDS = st.text("abc", min_size=1, max_size=3)


def test_special_tokens_come_first_and_then_the_commonest_words_ties_by_name() -> None:
    assert Vocabulary.count(CAPTIONS, 1).words == ("<pad>", "<start>", "<end>", "<unk>", "a", "dog", "runs", "cat")
    assert [SPECIAL[i] for i in (PAD, START, END, UNK)] == ["<pad>", "<start>", "<end>", "<unk>"]


def test_rarer_words_are_left_out() -> None:
    assert Vocabulary.count(CAPTIONS, 2).words == (*SPECIAL, "a", "dog", "runs")
    assert Vocabulary.count(CAPTIONS, 3).words == (*SPECIAL, "a")
    assert len(Vocabulary.count([], 1)) == len(SPECIAL)


def test_of_too_many_words_the_commonest_are_kept_ties_by_name() -> None:
    assert Vocabulary.count(CAPTIONS, 1, 2).words == (*SPECIAL, "a", "dog")
    assert Vocabulary.count(CAPTIONS[::-1], 1, 2).words == (*SPECIAL, "a", "dog")
    assert Vocabulary.count(CAPTIONS, 2, 4).words == (*SPECIAL, "a", "dog", "runs")
    assert Vocabulary.count(CAPTIONS, 1, 0) == Vocabulary.count(CAPTIONS, 1)


def test_the_order_of_the_captions_does_not_matter() -> None:
    assert Vocabulary.count(CAPTIONS[::-1], 1) == Vocabulary.count(CAPTIONS, 1)


def test_an_unknown_word_becomes_unk() -> None:
    vocabulary = Vocabulary((*SPECIAL, "a", "dog"))
    assert vocabulary.encode(["a", "zebra", "dog"], 20) == [4, UNK, 5, END]


@given(st.lists(st.lists(WORDS)), st.integers(1, 8))
def test_token_ids_are_those_of_the_words_up_to_the_limit(captions: list[list[str]], max_words: int) -> None:
    vocabulary = Vocabulary.count(captions, 1)
    for words in captions:
        indices = vocabulary.encode(words, max_words)
        assert len(indices) == min(len(words), max_words) + 1
        assert [vocabulary.words[i] for i in indices] == [*words[:max_words], SPECIAL[END]]


@pytest.mark.parametrize("words", [("a", "b"), (*SPECIAL, "a", "a"), (*SPECIAL, "<unk>"), SPECIAL[::-1]])
def test_a_wrong_word_list_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="a vocabulary starts with"):
        Vocabulary(words)
