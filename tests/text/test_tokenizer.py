"""The tokenizer: word for word the Stanford PTBTokenizer of the COCO evaluation on all captions of Flickr8k."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.text.tokenizer import PUNCTUATION, tokenize

SHARED = Path(os.environ.get("WORDGAZE_SHARED", Path(__file__).parents[2] / "../shared/datasets"))
FLICKR8K = SHARED / "flickr8k" / "Flickr8k_text.zip"

# What the Java tokenizer gave, so that the most telling cases are held where there is no Java.
FROZEN = {
    "Two dogs' owners can't stop; the man's hat isn't red!": "two dogs owners ca n't stop the man 's hat is n't red",
    "you're we've I'll he'd I'm": "you 're we 've i 'll he 'd i 'm",
    "A T-shirt (blue) [x] {y}": "a t-shirt -lrb- blue -rrb- -lsb- x -rsb- -lcb- y -rcb-",
    "at 5:30 , Mr. Smith in Washington D.C. has a U.S. flag .": "at 5:30 mr. smith in washington d.c. has a u.s. flag",
    "She is gonna cannot wanna": "she is gon na can not wan na",
    "rock 'n' roll at 10 o'clock": "rock 'n' roll at 10 o'clock",
    'He said : "Stop" -- and “go” ...': "he said stop and go",
    "50% of $3.50 & #1 @ home": "50 % of $ 3.50 & # 1 @ home",
    "a 4x4 w/ 1,000 people, 3rd place": "a 4x4 w / 1,000 people 3rd place",
    "A naïve snow-covered café.": "a naïve snow-covered café",
    "www.example.com is on a sign": "www.example.com is on a sign",
    "Dogs,cats\tand\nmice": "dogs cats and mice",
    " . , ! ": "",
    "": "",
}


@pytest.mark.parametrize(("text", "expected"), FROZEN.items())
def test_frozen_captions(text: str, expected: str) -> None:
    assert " ".join(tokenize(text)) == expected


def by_java(captions: list[str]) -> list[list[str]]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenized = PTBTokenizer().tokenize({i: [{"caption": caption}] for i, caption in enumerate(captions)})
    return [tokenized[i][0].split() for i in range(len(captions))]


@pytest.mark.skipif(shutil.which("java") is None, reason="the reference tokenizer needs java on the PATH")
def test_the_frozen_captions_are_what_java_gives() -> None:
    assert by_java(list(FROZEN)) == [expected.split() for expected in FROZEN.values()]


@pytest.mark.skipif(shutil.which("java") is None, reason="the reference tokenizer needs java on the PATH")
@pytest.mark.skipif(
    not FLICKR8K.is_file(), reason="Flickr8k is not here: set WORDGAZE_SHARED to the folder that holds flickr8k/"
)
def test_every_caption_of_flickr8k_is_tokenized_as_java_does() -> None:
    with zipfile.ZipFile(FLICKR8K) as archive:
        lines = archive.read("Flickr8k.token.txt").decode("utf-8").split("\n")
    captions = [line.split("\t", 1)[1] for line in lines if line.strip()]
    assert len(captions) == 40460
    different = [
        (caption, tokenize(caption), java)
        for caption, java in zip(captions, by_java(captions), strict=True)
        if tokenize(caption) != java
    ]
    assert different == []


@given(st.text() | st.text(alphabet="aB'.-,:;!?\"`()[]{}1 \t\nİß…—’“"))
def test_any_text_gives_clean_tokens(text: str) -> None:
    for token in tokenize(text):
        assert token
        assert token == token.lower()
        assert token.split() == [token]
        assert token not in PUNCTUATION


def test_a_letter_and_its_accent_are_one_letter_however_they_are_spelled() -> None:
    assert tokenize("cafe\u0301") == tokenize("caf\u00e9") == ["caf\u00e9"]


@given(st.lists(st.sampled_from(["a", "dog", "t-shirt", "3rd", "1,000", "d.c.", "café"])))
def test_words_between_spaces_stay_whole(words: list[str]) -> None:
    assert tokenize("  ".join(words).upper()) == words
