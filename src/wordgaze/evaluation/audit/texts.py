"""What the text of captions shows: markers, pieces of words, punctuation, other characters, and where it was cut."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import regex

from wordgaze.core.printable import printable
from wordgaze.data.readers.captions.cleaning import SEQUENCE_MARKER, UNKNOWN_MARKER, without_markers
from wordgaze.evaluation.audit.results import AuditExample, AuditFinding
from wordgaze.metrics.failures import dangles
from wordgaze.text.tokenizers import Tokenizer

_PIECES = regex.compile(r"(?<!\S)##\w|\w@@(?!\S)|[▁Ġ]|</w>")
_BEGINS_WORD = regex.compile("[▁Ġ]")
_STOPS = (".", "。", "।")
# Marks that are not inside a word; an apostrophe in front of a letter begins an ending, such as 's.
_PUNCTUATION = regex.compile(r"(?<![\p{L}\p{N}])(?!['’]\p{L})\p{P}|\p{P}(?![\p{L}\p{N}])")

_MIN_CUT = 5
"""So many different captions of the greatest length are a cut; fewer are the longest captions of any system."""
_MIN_UNFINISHED = 0.1
"""The share of the captions of that length, and two at least, which end as no sentence does."""

_MIN_LENGTH = 2
"""A caption of a script without blanks is one word."""


class CaptionText(NamedTuple):
    """A caption as written. ``plain`` is without markers and with whole words; ``tokens`` are those of ``plain``."""

    image: str
    written: str
    plain: str
    tokens: Sequence[str]

    @classmethod
    def of(cls, image: str, written: str, tokenizer: Tokenizer) -> "CaptionText":
        """The caption of an image by the tokenizer of the scores."""
        plain = with_whole_words(without_unknown(without_markers(written)))
        return cls(image, written, plain, tokenizer.tokenize(plain))

    @property
    def words(self) -> str:
        """The tokens as one text, by which captions are the same word for word."""
        return " ".join(self.tokens)

    @property
    def example(self) -> AuditExample:
        """The caption as an example of a finding."""
        return AuditExample(self.image, self.written)


def without_unknown(text: str) -> str:
    """The text without markers of unknown words."""
    return without_markers(text, UNKNOWN_MARKER)


def with_whole_words(text: str) -> str:
    """The text with the pieces of BERT (##), of byte-pair encoding (@@, Ġ, </w>) and of SentencePiece (▁) joined."""
    if not _PIECES.search(text):
        return text
    if _BEGINS_WORD.search(text):
        text = _BEGINS_WORD.sub(" ", text.replace(" ", ""))
    elif "</w>" in text:
        text = text.replace(" ", "").replace("</w>", " ")
    return " ".join(regex.sub(r"(?<=\w)@@(?:\s+|$)|\s+##(?=\w)", "", text).split())


_LENGTHS: dict[str, Callable[[CaptionText], int]] = {
    "characters": lambda text: len(text.plain),
    "words": lambda text: len(text.plain.split()),
}


def texts_by_image(captions: Mapping[str, Sequence[str]], tokenizer: Tokenizer) -> dict[str, list[CaptionText]]:
    """The captions of each image."""
    return {image: [CaptionText.of(image, text, tokenizer) for text in texts] for image, texts in captions.items()}


def check_texts(
    texts: Sequence[CaptionText], references: Sequence[CaptionText], tokenizer: Tokenizer
) -> Iterator[AuditFinding]:
    """The findings of the part ``tokenization``."""
    known = {character for text in references for character in text.written}
    checks: dict[str, Callable[[CaptionText], bool]] = {
        "markers": lambda text: bool(SEQUENCE_MARKER.search(text.written)),
        "unknown_words": lambda text: bool(UNKNOWN_MARKER.search(text.written)),
        "word_pieces": lambda text: bool(_PIECES.search(text.written)),
        "capitals": lambda text: any(map(str.isupper, text.plain)),
        "punctuation": lambda text: bool(_PUNCTUATION.search(text.plain.rstrip("".join(_STOPS)))),
        "final_stops": lambda text: text.plain.endswith(_STOPS),
        "other_characters": lambda text: _has_other_characters(text, known, tokenizer),
        "empty_captions": lambda text: not text.tokens,
    }
    for check, has_fault in checks.items():
        yield AuditFinding.of(check, [text.example for text in texts if has_fault(text)], len(texts))
    cut, length = cut_captions(texts, {word for text in references for word in text.tokens}, tokenizer)
    yield AuditFinding.of("cut_captions", [text.example for text in cut], len(texts), length=length)


def _has_other_characters(text: CaptionText, known: Collection[str], tokenizer: Tokenizer) -> bool:
    """Whether a caption has control characters, or characters beyond ASCII that are not in the references.

    Letters count where the references are in Latin letters; other scripts have more letters than a file of references.
    """
    others = (each for each in set(text.plain) if not each.isascii() and each not in known)
    return printable(text.written) != text.written or any(tokenizer.is_english or not each.isalnum() for each in others)


def cut_captions(
    texts: Sequence[CaptionText], vocabulary: Collection[str], tokenizer: Tokenizer
) -> tuple[list[CaptionText], str]:
    """The captions of the greatest length, in words or in characters, if they were cut there, and that length.

    They were cut if captions of that length are no fewer than those that are one shorter, and some are unfinished: they
    end on a function word, or on a part of a word, which ``vocabulary`` lacks. Where function words are not known, the
    captions of that length must be more than twice as many instead.
    """
    different = {text.plain: text for text in texts}.values()
    found = {
        unit: {text.plain for text in _cut_by(different, length_of, vocabulary, tokenizer)}
        for unit, length_of in _LENGTHS.items()
    }
    unit = max(found, key=lambda unit: len(found[unit]))  # a cut in characters leaves many of as many words too
    cut = [text for text in texts if text.plain in found[unit]]
    return cut, f"{_LENGTHS[unit](cut[0])} {unit}" if cut else ""


def _cut_by(
    different: Collection[CaptionText],
    length_of: Callable[[CaptionText], int],
    vocabulary: Collection[str],
    tokenizer: Tokenizer,
) -> list[CaptionText]:
    longest = max(map(length_of, different), default=0)
    whole = [text for text in different if length_of(text) == longest]
    num_shorter = sum(length_of(text) == longest - 1 for text in different)
    if longest < _MIN_LENGTH or len(whole) < max(_MIN_CUT, num_shorter):
        return []
    unfinished = sum(_is_unfinished(text.tokens, vocabulary) for text in whole)
    if tokenizer.is_english:
        return whole if unfinished >= max(2, _MIN_UNFINISHED * len(whole)) else []
    return whole if len(whole) > 2 * num_shorter else []


def _is_unfinished(tokens: Sequence[str], vocabulary: Collection[str]) -> bool:
    return dangles(tokens) or (bool(tokens) and tokens[-1] not in vocabulary)
