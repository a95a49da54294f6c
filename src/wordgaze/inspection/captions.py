"""What the captions of a data set are like: lengths, words, scripts, markers, and captions that repeat."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from wordgaze.config.params import PrepareParams
from wordgaze.data.preparation import TokenizedCaption, least_count
from wordgaze.text.tokenizers import Tokenizer
from wordgaze.text.tokenizers.advice import is_unsegmented
from wordgaze.text.vocabulary import SPECIAL, Vocabulary

_WHAT_IF = (1, 2, 3, 5, 10)
_SHOWN_WORDS = 30
_SHOWN_REPEATS = 10
_LONGEST_BIN = 40  # words
_MARKER = re.compile(
    r"<\|?/?\s?(?:s|start|end|startofstring|endoftext|bos|eos|sos|unk|pad|image|im_start|im_end|br|p|b|i)\s?/?\|?>"
    r"|&(?:amp|nbsp|quot|lt|gt|apos|#\d+);|\[(?:CLS|SEP|PAD|UNK|MASK|BOS|EOS|INST)\]|\b(?:startseq|endseq|startofseq|endofseq)\b",
    re.IGNORECASE,
)
_MOJIBAKE = re.compile("[ÃÂ][\u0080-\u00bf]|â€|\ufffd|[\x80-\x84\x86-\x9f]")


@dataclass(frozen=True)
class VocabularyOption:
    """The size of the vocabulary with a minimum count, and the share of tokens outside it, of training and of dev and
    test together (None if these have no tokens)."""

    min_count: int
    words: int
    unknown_train: float
    unknown_held_out: float | None


@dataclass(frozen=True)
class RepeatedCaption:
    """A caption that several images have."""

    text: str
    num_images: int


@dataclass(frozen=True)
class CaptionStatistics:
    """Statistics of the captions that training and scoring use.

    ``per_image`` and ``lengths`` map a number (of captions, of tokens) to how many images or captions have it.
    ``scripts`` maps the scripts to their share of the letters. ``markers`` and ``frequent_words`` map texts to the
    number of their occurrences; words are those of the training captions. ``is_unsegmented`` says that most tokens are
    clauses of a script without blanks, and ``what_if`` is empty for a tokenizer whose tokens are pieces of words.
    """

    num_captions: int
    without_words: int
    per_image: dict[int, int]
    lengths: dict[int, int]
    mean_length: float
    truncated: int
    is_unsegmented: bool
    num_words: int
    vocabulary: VocabularyOption
    what_if: tuple[VocabularyOption, ...]
    frequent_words: dict[str, int]
    rare_words: tuple[str, ...]
    scripts: dict[str, float]
    markers: dict[str, int]
    wrongly_decoded: int
    repeated: tuple[RepeatedCaption, ...]
    num_repeated: int


def describe_captions(
    captions: Sequence[TokenizedCaption], without_words: int, settings: PrepareParams, tokenizer: Tokenizer
) -> CaptionStatistics:
    """The statistics of the captions with tokens; ``without_words`` is the number of the others."""
    min_count, max_vocabulary = least_count(settings, tokenizer), settings.max_vocabulary
    train = Counter(token for each in captions if each.split == "train" for token in each.tokens)
    held_out = Counter(token for each in captions if each.split != "train" for token in each.tokens)
    lengths = Counter(len(each.tokens) for each in captions)
    repeated = repeated_captions(captions)
    ordered = sorted(train.items(), key=lambda item: (-item[1], item[0]))
    return CaptionStatistics(
        num_captions=len(captions),
        without_words=without_words,
        per_image=dict(sorted(Counter(Counter(each.image for each in captions).values()).items())),
        lengths=dict(sorted(lengths.items())),
        mean_length=sum(length * count for length, count in lengths.items()) / (len(captions) or 1),
        truncated=sum(each.split == "train" and len(each.tokens) > settings.max_words for each in captions),
        is_unsegmented=is_unsegmented(train, sum(each.split == "train" for each in captions)),
        num_words=len(train),
        vocabulary=vocabulary_option(train, held_out, min_count, max_vocabulary),
        what_if=tuple(
            vocabulary_option(train, held_out, count, max_vocabulary)
            for count in sorted({*_WHAT_IF, min_count})
            if tokenizer.has_words
        ),
        frequent_words=dict(ordered[:_SHOWN_WORDS]),
        rare_words=_spread([word for word, count in ordered if count == ordered[-1][1]]),
        scripts=scripts(each.text for each in captions),
        markers=dict(Counter(mark for each in captions for mark in _MARKER.findall(each.text)).most_common(10)),
        wrongly_decoded=sum(bool(_MOJIBAKE.search(each.text)) for each in captions),
        repeated=tuple(repeated[:_SHOWN_REPEATS]),
        num_repeated=len(repeated),
    )


def vocabulary_option(
    train: Mapping[str, int], held_out: Mapping[str, int], min_count: int, max_vocabulary: int
) -> VocabularyOption:
    """The vocabulary of the training tokens, and what it leaves unknown of these and of others."""
    vocabulary = Vocabulary.of_counts(train, min_count, max_vocabulary)
    return VocabularyOption(
        min_count,
        len(vocabulary) - len(SPECIAL),
        _unknown_share(vocabulary, train) or 0.0,
        _unknown_share(vocabulary, held_out),
    )


def _spread(words: Sequence[str]) -> tuple[str, ...]:
    """Some of the words, evenly spread over the alphabet: the first are numbers."""
    return tuple(words[:: -(-len(words) // _SHOWN_WORDS) or 1])


def _unknown_share(vocabulary: Vocabulary, counts: Mapping[str, int]) -> float | None:
    total = sum(counts.values())
    return sum(count for word, count in counts.items() if word not in vocabulary.index) / total if total else None


def repeated_captions(captions: Sequence[TokenizedCaption]) -> list[RepeatedCaption]:
    """The captions, compared by their tokens, that more than one image has; those of the most images first."""
    images: dict[tuple[str, ...], set[str]] = {}
    texts: dict[tuple[str, ...], str] = {}
    for each in captions:
        images.setdefault(each.tokens, set()).add(each.image)
        texts.setdefault(each.tokens, each.text)
    several = [RepeatedCaption(texts[tokens], len(names)) for tokens, names in images.items() if len(names) > 1]
    return sorted(several, key=lambda each: (-each.num_images, each.text))


def scripts(texts: Iterable[str]) -> dict[str, float]:
    """The scripts of the letters, such as Latin, Han or Arabic, each with its share, the most frequent first."""
    characters: Counter[str] = Counter()
    for text in texts:
        characters.update(text)
    found: Counter[str] = Counter()
    for character, count in characters.items():
        if script := _script(character):
            found[script] += count
    return {script: count / found.total() for script, count in found.most_common()}


@lru_cache(maxsize=1 << 16)
def _script(character: str) -> str:
    """The script of a letter by its name in Unicode; empty for other characters."""
    if not unicodedata.category(character).startswith("L"):
        return ""
    name = unicodedata.name(character, "").split(" ")[0]
    return {"CJK": "Han", "": "Other", "FULLWIDTH": "Latin", "HALFWIDTH": "Katakana"}.get(name, name.title())


def length_bins(lengths: Mapping[int, int]) -> list[tuple[str, int]]:
    """The lengths for a histogram: one bin a length, at the end one for all longer ones."""
    last = min(max(lengths, default=0), _LONGEST_BIN)
    bins = [(str(length), lengths.get(length, 0)) for length in range(1, last + 1)]
    longer = sum(count for length, count in lengths.items() if length > last)
    return [*bins, (f"> {last}", longer)] if longer else bins
