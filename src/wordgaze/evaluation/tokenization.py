"""The tokenizer by which captions and references are scored."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence

from wordgaze.core.errors import ScoreError
from wordgaze.text.tokenizers import RULE_BASED, Tokenizer
from wordgaze.text.tokenizers.advice import HINT, is_unsegmented, suggested_tokenizer

AUTO = "auto"
"""Chooses the tokenizer by the script of the references."""

_log = logging.getLogger(__name__)


def scoring_tokenizer(name: str, references: Sequence[Sequence[str]]) -> Tokenizer:
    """The tokenizer of this name, or with ``auto`` the one that suits the references; warns if it finds no words.

    Raises ScoreError for an unknown name.
    """
    texts = [text for of_image in references for text in of_image]
    chosen = RULE_BASED.get(suggested_tokenizer(texts) if name == AUTO else name)
    if chosen is None:
        raise ScoreError(f"tokenizer {name!r} is unknown; choose one of {AUTO}, {', '.join(RULE_BASED)}")
    tokens_of = tokenized(texts, chosen)
    if wordless := tokens_of.count([]):
        _log.warning(
            "%d of %d references have no word to the tokenizer %s, such as %r; any caption without a word scores high"
            " against them in ROUGE-L alone",
            wordless, len(texts), chosen.name, texts[tokens_of.index([])],
        )  # fmt: skip
    counts = Counter(token for tokens in tokens_of for token in tokens)
    if is_unsegmented(counts, len(texts)):
        _log.warning(
            "most captions are one long word to the tokenizer %s: %s; choose the tokenizer characters",
            chosen.name,
            HINT,
        )
    return chosen


def tokenized(texts: Iterable[str], tokenizer: Tokenizer) -> list[list[str]]:
    """The tokens of each text."""
    return [tokenizer.tokenize(text) for text in texts]
