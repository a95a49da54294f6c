"""The tokenizers of any language: words by the rules of Unicode, and characters of scripts without blanks.

Words are those of Unicode Standard Annex #29, in lower case and in the normal form NFC, whatever shapes and widths the
letters were written in. Punctuation, symbols and emoji are dropped; letters, numbers and the marks that belong to them
are kept. The annex keeps ``don't`` and ``3.5`` whole and splits hyphenated words. Of scripts without blanks it finds no
words: Han, Hiragana, Thai, Khmer and others are split into characters, only words in Katakana stay whole.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import regex

from wordgaze.text.tokenizers.base import WordSpan
from wordgaze.text.tokenizers.scripts import is_joined, is_spaceless

DOTTED_LANGUAGES = ("tr", "az")
"""The languages in which I without a dot is another letter than İ: Turkish and Azerbaijani."""

# Control characters, line separators and the zero width space, by which Khmer separates words, are blanks. Soft
# hyphens, controls of the writing direction, keycaps, selectors of a glyph and the stroke that stretches Arabic words
# are removed. The two joiners are kept.
_BLANK = regex.compile(r"[\p{Cc}\p{Z}\u200b]+")
_INVISIBLE = regex.compile(r"[[\p{Cf}--\u200b-\u200d]\u0640\u20e3\ufe00-\ufe0f\U000e0100-\U000e01ef\p{Cs}]", regex.V1)
# Ligatures, the shapes of Arabic letters, and letters and digits of full or half width are written as plain ones.
_SHAPES = regex.compile(r"[\ufb00-\ufdff\ufe70-\ufefc\uff01-\uffdc]+")
_BOUNDARY = regex.compile(r"\b", regex.V1 | regex.WORD)
_CORE = regex.compile(r"[\p{L}\p{N}](?:.*(?:[\p{L}\p{N}]|\p{M}[\u200c\u200d]?))?", regex.DOTALL)
_CLUSTER = regex.compile(r"\X[\p{M}\u200c\u200d]*")  # a few vowels of Burmese are not part of a cluster in UAX #29
_KATAKANA = regex.compile(r"\p{WB=Katakana}")
_PLAIN_QUOTE = str.maketrans("’", "'")


@dataclass(frozen=True)
class UnicodeTokenizer:
    """Words by UAX #29. ``language`` is "" or one of DOTTED_LANGUAGES, which lower I and İ in their own way."""

    language: str = ""
    is_english = False
    has_words = True

    @property
    def name(self) -> str:
        """``unicode``, or ``unicode-`` and the language."""
        return f"unicode-{self.language}" if self.language else "unicode"

    @property
    def scoring(self) -> "UnicodeTokenizer":
        """The tokenizer itself."""
        return self

    def tokenize(self, text: str) -> list[str]:
        """The words of a caption, in lower case and without punctuation."""
        return [word for chunk in _clean(text, self.language).split() for word in _words_of_chunk(chunk)]

    def join(self, tokens: Sequence[str]) -> str:
        """The words with blanks between them, but for scripts without blanks."""
        return _join(tokens, _words_of_chunk)

    def spans(self, tokens: Sequence[str]) -> list[WordSpan]:
        """Every token is a word."""
        return [WordSpan(token, 1) for token in tokens]

    def tokens_of(self, words: Sequence[str]) -> list[str]:
        """The tokens of each word."""
        return [token for word in words for token in self.tokenize(word)]

    def files(self) -> dict[str, bytes]:
        """None: the rules are Unicode's."""
        return {}


@dataclass(frozen=True)
class CharacterTokenizer:
    """Each character of a script without blanks, with its marks, is a token; of other scripts each word is.

    The metrics of Chinese and Japanese captions count such tokens.
    """

    name = "characters"
    is_english = False
    has_words = True

    @property
    def scoring(self) -> "CharacterTokenizer":
        """The tokenizer itself."""
        return self

    def tokenize(self, text: str) -> list[str]:
        """The characters and words of a caption, in lower case and without punctuation."""
        return [token for chunk in _clean(text, "").split() for token in _characters_of_chunk(chunk)]

    def join(self, tokens: Sequence[str]) -> str:
        """The text of the caption, without blanks between characters of scripts that have none."""
        return _join(tokens, _characters_of_chunk)

    def spans(self, tokens: Sequence[str]) -> list[WordSpan]:
        """Every token is shown on its own, as the words of other scripts are."""
        return [WordSpan(token, 1) for token in tokens]

    def tokens_of(self, words: Sequence[str]) -> list[str]:
        """The tokens of each word."""
        return [token for word in words for token in self.tokenize(word)]

    def files(self) -> dict[str, bytes]:
        """None: the rules are Unicode's."""
        return {}


def _clean(text: str, language: str) -> str:
    """The text in lower case and NFC, without invisible characters."""
    text = _SHAPES.sub(lambda shapes: unicodedata.normalize("NFKC", shapes[0]), text)
    text = unicodedata.normalize("NFC", _BLANK.sub(" ", _INVISIBLE.sub("", text)))
    if language in DOTTED_LANGUAGES:
        text = text.replace("I", "ı")
    text = text.replace("İ", "i").translate(_PLAIN_QUOTE)  # str.lower would write i and a dot above it
    return unicodedata.normalize("NFC", text.lower())


@lru_cache(maxsize=1 << 16)
def _words_of_chunk(chunk: str) -> tuple[str, ...]:
    return _split(chunk, lambda cluster: is_spaceless(cluster) and not _KATAKANA.match(cluster))


@lru_cache(maxsize=1 << 16)
def _characters_of_chunk(chunk: str) -> tuple[str, ...]:
    return _split(chunk, is_spaceless)


def _split(chunk: str, is_token: Callable[[str], bool]) -> tuple[str, ...]:
    """The tokens of a text without blanks: grapheme clusters for which ``is_token``, and the words of the others."""
    parts = [""]  # words, a cluster, words, a cluster, …
    for cluster in [chunk] if chunk.isascii() else _CLUSTER.findall(chunk):
        if is_token(cluster):
            parts += [cluster, ""]
        else:
            parts[-1] += cluster
    segments = [segment for i, part in enumerate(parts) for segment in ([part] if i % 2 else _BOUNDARY.split(part))]
    cores = map(_CORE.search, segments)
    return tuple(core[0] for core in cores if core)


def _join(tokens: Sequence[str], split: Callable[[str], tuple[str, ...]]) -> str:
    """The tokens with blanks between them where their scripts have blanks, or where ``split`` needs one."""
    text = "".join(tokens[:1])
    for left, right in pairwise(tokens):
        is_safe = is_joined(left, right) and split(left + right) == (left, right)
        text += right if is_safe else f" {right}"
    return text
