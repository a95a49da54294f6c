"""Which noun a caption has where the references have another: the rows of a confusion plot."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from wordgaze.metrics.base import Tokens
from wordgaze.text.objects import Lexicon

MOST_NOUNS = 15
"""The number of nouns that are told apart, so that the plot can be read."""

OTHER, NO_NOUN = "(other)", "(none)"


class NounPair(NamedTuple):
    """The noun that the references of an image name most often, and the noun of its caption."""

    actual: str
    predicted: str


def noun_confusion(
    captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]], lexicon: Lexicon, most: int = MOST_NOUNS
) -> list[NounPair]:
    """One pair for each image whose references name an object of ``lexicon``, in the order of the images.

    A caption that names the actual noun is right, wherever it names it. Of any other caption the first noun counts;
    ``(none)`` stands for a caption without any. Nouns that are not among the ``most`` most frequent actual ones become
    ``(other)``; equally frequent ones are ordered by the alphabet.
    """
    pairs = []
    for caption, of_image in zip(captions, references, strict=True):
        counts = Counter(mention.name for words in of_image for mention in lexicon.mentions(words))
        if not counts:
            continue
        actual = min(counts, key=lambda name: (-counts[name], name))
        named = [mention.name for mention in lexicon.mentions(caption)]
        pairs.append(NounPair(actual, actual if actual in named else (*named, NO_NOUN)[0]))
    frequent = Counter(pair.actual for pair in pairs)
    kept = {NO_NOUN, *sorted(frequent, key=lambda name: (-frequent[name], name))[:most]}
    return [NounPair(*(name if name in kept else OTHER for name in pair)) for pair in pairs]
