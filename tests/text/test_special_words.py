"""Words of a text that are written like the special tokens."""

from collections import Counter

import pytest

from wordgaze.data.readers.captions.cleaning import clean_caption
from wordgaze.text.vocabulary import END, SPECIAL, UNK, Vocabulary


def test_a_word_like_a_special_token_is_an_unknown_word() -> None:
    vocabulary = Vocabulary((*SPECIAL, "a"))
    assert vocabulary.encode(["a", *SPECIAL], 9) == [4, UNK, UNK, UNK, UNK, END]


@pytest.mark.parametrize("text", ["a <unk> sits", "a &lt;unk&gt; sits", "a <<unk>unk> sits", "a < UNK > sits <end>"])
def test_special_tokens_are_removed_from_captions_for_training(text: str) -> None:
    assert "unk>" not in str(clean_caption(text, False, Counter())).lower()


def test_a_text_of_blanks_is_cleaned_at_once() -> None:
    assert clean_caption(("<" + " " * 3000) * 30 + "a", True, Counter()) is not None
