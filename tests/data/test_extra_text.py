"""Sentences without images: they are read, and each comes to the training image that is most like it."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core.errors import DataError
from wordgaze.data.extra_text import MAX_CROWDING, pair_with_images, read_sentences
from wordgaze.text.vocabulary import PTB

CAPTIONS = {
    "kitchen.jpg": [["a", "man", "cooks", "in", "a", "kitchen"], ["a", "cook", "at", "the", "stove"]],
    "field.jpg": [["a", "horse", "stands", "in", "a", "field"], ["a", "horse", "in", "the", "grass"]],
}


def test_a_sentence_comes_to_the_image_whose_captions_are_most_similar() -> None:
    giraffe, oven = ["a", "giraffe", "stands", "in", "a", "field"], ["an", "oven", "in", "a", "kitchen"]
    assert pair_with_images([giraffe, oven], CAPTIONS) == {"field.jpg": [giraffe], "kitchen.jpg": [oven]}


@given(st.lists(st.lists(st.sampled_from(["a", "horse", "field", "stove", "zebra"]), min_size=1), min_size=1))
def test_every_sentence_is_paired_once_and_no_image_is_crowded(sentences: list[list[str]]) -> None:
    paired = pair_with_images(sentences, CAPTIONS)
    assert sorted(words for of_image in paired.values() for words in of_image) == sorted(sentences)
    assert max(map(len, paired.values())) <= MAX_CROWDING * -(-len(sentences) // len(CAPTIONS))


def test_sentences_are_read_from_a_text_file_plain_or_compressed(tmp_path: Path) -> None:
    text = "A giraffe stands in a field.\n\nToo short\nTwo zebras drink.\n"
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress(text.encode()))
    plain = read_sentences(tmp_path / "text.txt", PTB)
    assert plain == [["a", "giraffe", "stands", "in", "a", "field"], ["two", "zebras", "drink"]]
    assert read_sentences(tmp_path / "text.txt.gz", PTB) == plain


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.txt", None, "No such file"),
        ("short.txt", b"one two\n", "no line of 3 words"),
        ("latin.txt", b"ein B\xe4r im Wald\n", "UTF-8"),
        ("broken.txt.gz", b"not compressed", "cannot be read"),
        ("cut.txt.gz", gzip.compress(b"a dog runs here\n" * 99, mtime=0)[:-12], "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_that_names_it(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_sentences(tmp_path / name, PTB)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
