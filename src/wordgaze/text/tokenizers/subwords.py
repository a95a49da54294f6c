"""Tokenizers whose tokens are pieces of words: of Hugging Face's ``tokenizers``, and of SentencePiece.

Both are data in one file, which travels with a captioner; loading them runs no code. The libraries are the extra
``wordgaze[languages]``.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from wordgaze.core.errors import ModelError
from wordgaze.text.tokenizers.base import WordSpan
from wordgaze.text.tokenizers.scripts import is_joined, is_spaceless
from wordgaze.text.tokenizers.unicode import CharacterTokenizer

if TYPE_CHECKING:
    import sentencepiece
    import tokenizers

UNKNOWN = "<unk>"
"""The token of characters that a tokenizer does not know; it has no text."""

NUM_SUBWORDS = 4000
"""The number of different subwords that are trained unless ``prepare.max_vocabulary`` says another."""

MAX_LETTERS = 16
"""The longest subword that is trained; without a limit it could be a whole caption in Thai."""

MAX_FILE_BYTES = 64 << 20
"""The largest file of a tokenizer that is read."""

_BROKEN_CHARACTER = "\ufffd"  # what the first bytes of a character are decoded to


@dataclass(frozen=True)
class _FileTokenizer(ABC):
    """What the two kinds share; ``data`` are the contents of the file."""

    data: bytes = field(repr=False)
    name = ""
    file_name = ""
    library = ""
    is_english = False
    has_words = False

    @property
    def scoring(self) -> CharacterTokenizer:
        """Words, and characters of scripts without blanks, so that scores do not depend on the subwords."""
        return CharacterTokenizer()

    def tokenize(self, text: str) -> list[str]:
        """The subwords of a caption. Raises ModelError if one of them contains a blank."""
        tokens = self._pieces(" ".join(text.split()))
        for token in tokens:
            if token.split() != [token]:
                raise ModelError(
                    f"the tokenizer gives {token!r}, which contains a blank; use one that marks blanks by ▁"
                )
        return tokens

    def join(self, tokens: Sequence[str]) -> str:
        """The text that the subwords compose; unknown characters are left out."""
        return self._text(tokens).strip()

    def spans(self, tokens: Sequence[str]) -> list[WordSpan]:
        """The words between blanks; of scripts without blanks the subwords themselves, if they are whole characters."""
        spans: list[WordSpan] = []
        before, waiting = "", 0
        for end in range(1, len(tokens) + 1):
            text, waiting = self.join(tokens[:end]), waiting + 1
            added = text.removeprefix(before) if text.startswith(before) else ""
            if not added.strip() or text.endswith(_BROKEN_CHARACTER):
                continue
            if spans and not added[0].isspace() and not (is_spaceless(before[-1:]) and is_spaceless(added)):
                last = spans.pop()
                added, waiting = last.text + added, last.num_tokens + waiting
            spans.append(WordSpan(added.strip(), waiting))
            before, waiting = text, 0
        return _with_rest(spans, waiting)

    def tokens_of(self, words: Sequence[str]) -> list[str]:
        """The subwords of the words that :meth:`spans` gave."""
        text = "".join(words[:1])
        for left, right in pairwise(words):
            text += right if is_joined(left, right) else f" {right}"
        return self.tokenize(text)

    def files(self) -> dict[str, bytes]:
        """The file of the tokenizer."""
        return {self.file_name: self.data}

    @abstractmethod
    def _pieces(self, text: str) -> list[str]:
        """The subwords of a text whose blanks are single."""

    @abstractmethod
    def _text(self, tokens: Sequence[str]) -> str:
        """The text of subwords, which may begin or end with a blank."""


@dataclass(frozen=True)
class SubwordTokenizer(_FileTokenizer):
    """A tokenizer of the library ``tokenizers``, from its tokenizer.json: trained by ``prepare``, or given."""

    name = "subwords"
    file_name = "tokenizer.json"
    library = "tokenizers"

    @cached_property
    def _backend(self) -> "tokenizers.Tokenizer":
        library = _library("tokenizers")
        try:
            backend = library.Tokenizer.from_str(self.data.decode("utf-8"))
        except Exception as error:  # the library raises Exception itself
            raise ModelError(f"the tokenizer is not a tokenizer.json of Hugging Face ({_reason(error)})") from error
        backend.no_padding()
        backend.no_truncation()
        return backend  # type: ignore[no-any-return]

    @cached_property
    def _special(self) -> frozenset[str]:
        added = self._backend.get_added_tokens_decoder().values()
        unknown = getattr(self._backend.model, "unk_token", None)
        return frozenset(token.content for token in added if token.special) | {unknown or UNKNOWN}

    def _pieces(self, text: str) -> list[str]:
        tokens = self._encode(self._lead + text) if text else []
        # Unigram models give an unknown character as itself, a token that cannot be decoded.
        return [UNKNOWN if token in self._special or not self.has_token(token) else token for token in tokens]

    def has_token(self, token: str) -> bool:
        """Whether the tokenizer can give this token."""
        return self._backend.token_to_id(token) is not None

    def _encode(self, text: str) -> list[str]:
        return self._backend.encode(text, add_special_tokens=False).tokens

    @cached_property
    def _lead(self) -> str:
        """A blank where the first word of a text would have other tokens than the same word behind a blank, as with
        GPT-2's tokenizer; "" where it has the same."""
        plain, behind_blank = self._encode("a"), self._encode(" a")
        return " " if plain != behind_blank and self._encode("a a") == plain + behind_blank else ""

    def _text(self, tokens: Sequence[str]) -> str:
        ids = [self._backend.token_to_id(token) for token in tokens if token not in self._special]
        return str(self._backend.decode([i for i in ids if i is not None]))


@dataclass(frozen=True)
class SentencePieceTokenizer(_FileTokenizer):
    """A tokenizer of the library ``sentencepiece``, from its .model file."""

    name = "sentencepiece"
    file_name = "tokenizer.model"
    library = "sentencepiece"

    @cached_property
    def _backend(self) -> "sentencepiece.SentencePieceProcessor":
        library = _library("sentencepiece")
        try:
            if not self.data:
                raise ValueError("it is empty")
            return library.SentencePieceProcessor(model_proto=self.data)  # type: ignore[no-any-return]
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(f"the tokenizer is not a model of SentencePiece ({_reason(error)})") from error

    def _pieces(self, text: str) -> list[str]:
        backend = self._backend
        ids = backend.encode(text, out_type=int)
        return [UNKNOWN if backend.is_unknown(i) else backend.id_to_piece(i) for i in ids]

    def has_token(self, token: str) -> bool:
        """Whether the tokenizer can give this token."""
        return not self._backend.is_unknown(self._backend.piece_to_id(token))

    def _text(self, tokens: Sequence[str]) -> str:
        ids = [self._backend.piece_to_id(token) for token in tokens]
        return str(self._backend.decode([i for i in ids if not self._backend.is_unknown(i)]))


def train_subwords(captions: Iterable[str], size: int = 0, min_count: int = 1) -> SubwordTokenizer:
    """Byte-pair encoding (Sennrich et al. 2016) of captions in lower case and without punctuation.

    ``size`` is the number of subwords, NUM_SUBWORDS if it is 0; pairs with fewer than ``min_count`` occurrences are not
    merged. The same captions give the same bytes. Raises ModelError where the library is not installed.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    library = _library("tokenizers")
    backend = library.Tokenizer(library.models.BPE(unk_token=UNKNOWN, fuse_unk=True))
    backend.normalizer = _normalizer(library)
    # A Chinese character is a word of its own, as in multilingual BERT: whole captions would be merged otherwise.
    blanks, han = library.pre_tokenizers.Metaspace(), library.Regex(r"\p{Han}")
    backend.pre_tokenizer = library.pre_tokenizers.Sequence([blanks, library.pre_tokenizers.Split(han, "isolated")])
    backend.decoder = library.decoders.Metaspace()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size or NUM_SUBWORDS,
        min_frequency=min_count,
        special_tokens=[UNKNOWN],
        max_token_length=MAX_LETTERS,
        show_progress=False,
    )
    backend.train_from_iterator(captions, trainer)
    return SubwordTokenizer(backend.to_str().encode())


def _normalizer(library: Any) -> Any:
    """As the tokenizer ``unicode`` cleans text: lower case, NFC, no punctuation, no invisible characters."""
    steps = library.normalizers

    def replace(pattern: str, by: str) -> Any:
        return steps.Replace(library.Regex(pattern), by)

    letter, digit = r"[\p{L}\p{M}\p{N}]", r"\p{Nd}"
    in_word = rf"(?<={letter})'(?=\p{{L}})|(?<={digit})[.,](?={digit})"
    return steps.Sequence(
        [
            replace(r"[\p{Cc}\p{Z}\u200B]+", " "),
            replace(r"[\p{Cf}\u0640\uFE00-\uFE0F&&[^\u200C\u200D]]+", ""),
            steps.NFC(),
            replace("İ", "i"),
            replace("[’＇]", "'"),
            steps.Lowercase(),
            steps.NFC(),
            replace(rf"(?!{in_word})[^\p{{L}}\p{{M}}\p{{N}}\u200C\u200D ]", " "),
            replace(" +", " "),
            steps.Strip(),
        ]
    )


def _with_rest(spans: list[WordSpan], waiting: int) -> list[WordSpan]:
    """The spans with tokens without text at the end, such as a part of a character, which belong to the last word."""
    if not waiting:
        return spans
    last = spans.pop() if spans else WordSpan("", 0)
    return [*spans, WordSpan(last.text or UNKNOWN, last.num_tokens + waiting)]


def _library(name: str) -> Any:
    """Imports an optional library. Raises ModelError where it is not installed."""
    try:
        if name == "tokenizers":
            import tokenizers
            import tokenizers.decoders
            import tokenizers.models
            import tokenizers.normalizers
            import tokenizers.pre_tokenizers
            import tokenizers.trainers

            return tokenizers
        import sentencepiece

        return sentencepiece
    except ModuleNotFoundError as error:
        raise ModelError(
            f'the tokenizer needs {name}, which is not installed; run pip install "wordgaze[languages]"'
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
