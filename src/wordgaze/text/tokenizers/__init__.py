"""Tokenizers: ``ptb`` for English, ``unicode`` for any language, ``characters`` for scripts without blanks, and pieces
of words from a file."""

from collections.abc import Iterable
from pathlib import Path

from wordgaze.core.errors import ModelError
from wordgaze.text.tokenizers.base import Tokenizer, WordSpan
from wordgaze.text.tokenizers.ptb import PtbTokenizer
from wordgaze.text.tokenizers.subwords import MAX_FILE_BYTES, SentencePieceTokenizer, SubwordTokenizer
from wordgaze.text.tokenizers.unicode import DOTTED_LANGUAGES, CharacterTokenizer, UnicodeTokenizer

__all__ = ["RULE_BASED", "STORED", "Tokenizer", "WordSpan", "get_tokenizer", "read_tokenizer", "stored_tokenizer"]

_RULES: tuple[Tokenizer, ...] = (
    PtbTokenizer(),
    UnicodeTokenizer(),
    *(UnicodeTokenizer(language) for language in DOTTED_LANGUAGES),
    CharacterTokenizer(),
)
RULE_BASED = {each.name: each for each in _RULES}
"""The tokenizers that need no file, by name."""

_KINDS = (SubwordTokenizer, SentencePieceTokenizer)
STORED = {kind.name: kind for kind in _KINDS}
"""The kinds of tokenizers that are read from a file, by name."""


def get_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of this name, one of RULE_BASED. Raises ModelError for another name."""
    if name not in RULE_BASED:
        raise ModelError(f"tokenizer {name!r} is unknown; choose one of {', '.join(RULE_BASED)}")
    return RULE_BASED[name]


def stored_tokenizer(name: str, folder: Path, tokens: Iterable[str] = ()) -> Tokenizer:
    """The tokenizer of this name whose file, if it needs one, lies in ``folder``.

    Raises ModelError, also where the file is that of another vocabulary, and lacks one of ``tokens``.
    """
    if name not in STORED:
        return get_tokenizer(name)
    path = folder / STORED[name].file_name
    tokenizer = read_tokenizer(path)
    if lacking := [token for token in tokens if not tokenizer.has_token(token)]:
        raise ModelError(
            f"{path} is the tokenizer of another captioner: it lacks {len(lacking)} tokens, such as {lacking[0]!r}; "
            "restore the file that was written with the vocabulary"
        )
    return tokenizer


def read_tokenizer(path: Path) -> SubwordTokenizer | SentencePieceTokenizer:
    """The tokenizer in a tokenizer.json of Hugging Face or a .model file of SentencePiece.

    Raises ModelError where the file has another ending, is missing, too large or broken, or needs a library that is not
    installed.
    """
    kind = next((kind for kind in _KINDS if path.suffix.lower() == Path(kind.file_name).suffix), None)
    if kind is None:
        raise ModelError(f"{path} is not a tokenizer; give a tokenizer.json of Hugging Face or a SentencePiece .model")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"{path} has more than {MAX_FILE_BYTES >> 20} MiB; give the file of a tokenizer")
        tokenizer = kind(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); give the file of a tokenizer") from error
    try:
        tokenizer.tokenize("a")
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return tokenizer
