"""Sentences without images, from which the decoder learns words that the captions of its images lack.

A decoder needs an image for every sentence. A sentence is paired with the training image whose captions are most
similar to it, so that the image shows at least the surroundings: "a giraffe stands in a field" comes to a horse in a
field. The decoder learns where in a sentence a new noun stands, and which words go with it.
"""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

from wordgaze.core.errors import DataError
from wordgaze.text.tokenizers import Tokenizer

MIN_WORDS = 3
"""Shorter lines are headings and remains, not sentences."""

MAX_CROWDING = 3
"""The most sentences of an image, as a multiple of their mean number."""

_NEAREST = 50  # images that a sentence may come to
_BLOCK = 1024  # sentences that are compared at a time


def read_sentences(path: Path, tokenizer: Tokenizer) -> list[list[str]]:
    """The tokens of each line of a text file, plain or ``.gz``, of at least MIN_WORDS words.

    Raises DataError if the file cannot be read, is not UTF-8, or has no such line.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            sentences = [words for words in map(tokenizer.tokenize, file) if len(words) >= MIN_WORDS]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"prepare.extra_text: {path} cannot be read ({reason}); give a UTF-8 text file") from error
    if not sentences:
        raise DataError(f"prepare.extra_text: {path} has no line of {MIN_WORDS} words; give one sentence per line")
    return sentences


def pair_with_images(
    sentences: Sequence[Sequence[str]], captions: Mapping[str, Sequence[Sequence[str]]]
) -> dict[str, list[list[str]]]:
    """The sentences of each image: each sentence comes to the image whose captions are most similar to it.

    The similarity is the cosine of tf-idf vectors of words. No image gets more than MAX_CROWDING times the mean; the
    sentences beyond it come to the next image.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    images = sorted(captions)
    vectorizer = TfidfVectorizer(analyzer=list, sublinear_tf=True)
    known = vectorizer.fit_transform([[word for words in captions[image] for word in words] for image in images])
    room = dict.fromkeys(images, MAX_CROWDING * -(-len(sentences) // len(images)))
    paired: dict[str, list[list[str]]] = {}
    for start in range(0, len(sentences), _BLOCK):
        block = sentences[start : start + _BLOCK]
        similarity = (vectorizer.transform(block) @ known.T).toarray()
        for words, row in zip(block, similarity, strict=True):
            order = (-row).argsort(kind="stable")
            image = next((images[i] for i in order[:_NEAREST] if room[images[i]]), images[order[0]])
            room[image] = max(0, room[image] - 1)
            paired.setdefault(image, []).append(list(words))
    return paired
