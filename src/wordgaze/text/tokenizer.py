"""The tokenizer of captions: Penn Treebank words in lower case, without punctuation.

One tokenizer serves the vocabulary, the references and the captions to be scored, as the COCO caption evaluation
does it (Chen et al. 2015, section 3.1): contractions and possessives are split (``dog's`` → ``dog 's``,
``isn't`` → ``is n't``), hyphenated words stay whole, and the protocol's list of punctuation marks is dropped.
"""

import re
import unicodedata

NAME = "ptb"

PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
"""What the COCO protocol drops. Brackets stay, as ``-lrb-`` and ``-rrb-``: its list has them in capitals only."""

_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "--"})
_ABBREVIATIONS = "mr|mrs|ms|dr|st|jr|sr|prof|gen|sen|rep|gov|capt|lt|col|sgt|ave|blvd|rd|inc|co|corp|ltd|vs|etc|no|mt"
_FUSED = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "lemme": ("lem", "me"),
    "gimme": ("gim", "me"),
}
_TOKEN = re.compile(
    rf"""
      https?://\S+ | (?:www\.)?[\w-]+\.(?:com|org|net|edu|gov)\b     # addresses
    | (?:[^\W\d_]\.){{2,}}                                          # d.c.
    | (?-i:\b[A-Z])\.(?!\w)                                        # U.
    | (?:{_ABBREVIATIONS})\.                                        # mr.
    | \w+(?=n't\b) | n't\b                                          # is n't
    | '(?:s|m|d|re|ll|ve)\b                                         # dog 's
    | 'n'(?!\w)                                                     # rock 'n' roll
    | o'clock\b
    | \d+(?:[.,:]\d+)+                                              # 1,000 3.5
    | \w+(?:-\w+)*                                                  # t-shirt 3rd 4-wheeler
    | \.{{2,}} | -{{2,}} | [^\w\s]
    """,
    re.VERBOSE | re.IGNORECASE,
)


def tokenize(text: str) -> list[str]:
    """The words of a caption, in lower case, punctuation dropped. An empty caption has none."""
    text = unicodedata.normalize("NFC", text).translate(_QUOTES)
    tokens: list[str] = []
    for token in map(str.lower, _TOKEN.findall(text)):
        if token[:2] in ("..", "--") or token == '"':
            continue
        tokens.extend(_FUSED.get(token, (_BRACKETS.get(token, token),)))
    return [token for token in tokens if token not in PUNCTUATION]
