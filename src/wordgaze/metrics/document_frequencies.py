"""The document frequencies of n-grams, by which CIDEr weighs them: counted in references, or read from a file.

A document is an image: all its references together count once. An n-gram of one image has the weight of one that occurs
in no image, log N, so only the n-grams of two images or more are kept: of natural captions a quarter.
"""

import json
import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from wordgaze.core.errors import ScoreError
from wordgaze.core.files import atomic_write, read_json
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.ngrams import ORDERS, Gram, ngrams

_REMEDY = "write it with wordgaze document-frequencies"


class DocumentFrequencies(NamedTuple):
    """Inverse document frequencies (idf), natural logarithms."""

    idf: dict[Gram, float]
    unseen_idf: float  # of an n-gram that is not in ``idf``: it occurs in one image at most


class DocumentCounts(NamedTuple):
    """The number of images that have an n-gram, for the n-grams of two images or more, and the number of all images."""

    counts: dict[Gram, int]
    num_images: int

    def frequencies(self) -> DocumentFrequencies:
        """The weights of the n-grams."""
        return _weighed(dict(self.counts), self.num_images)


def document_frequencies(references: Sequence[Sequence[Tokens]]) -> DocumentFrequencies:
    """Counted over all references of all images, for a ``Cider`` of other or fewer images."""
    return _weighed(*count_documents(references))


def count_documents(references: Sequence[Sequence[Tokens]]) -> DocumentCounts:
    """Counts the images of each n-gram. Reads the references twice: the n-grams of one image, which are most of them,
    are told by 8 bytes each, and are never all in memory."""
    repeated = _repeated_hashes(references)
    counts: Counter[Gram] = Counter()
    for of_image in references:
        grams = list(_grams(of_image))
        hashes = np.fromiter(map(hash, grams), np.int64, len(grams))
        places = np.searchsorted(repeated, hashes)
        known = np.flatnonzero(repeated[np.minimum(places, len(repeated) - 1)] == hashes) if len(repeated) else ()
        counts.update(grams[i] for i in known)
    for gram in [gram for gram, n in counts.items() if n == 1]:  # of another n-gram's hash: next to none
        del counts[gram]
    return DocumentCounts(counts, len(references))


def _weighed(counts: dict[Gram, int], num_images: int) -> DocumentFrequencies:
    """The weights, in the dictionary of the counts: there may be millions."""
    unseen = math.log(max(num_images, 1))
    weights = {n: unseen - math.log(n) for n in set(counts.values())}
    idf = cast(dict[Gram, float], counts)
    for gram, n in counts.items():
        idf[gram] = weights[n]
    return DocumentFrequencies(idf, unseen)


def _repeated_hashes(references: Sequence[Sequence[Tokens]]) -> NDArray[np.int64]:
    """The hashes, in their order, that n-grams of two images or more have."""
    hashes = array("q")
    for of_image in references:
        hashes.extend(map(hash, _grams(of_image)))
    ordered = np.frombuffer(hashes, np.int64) if hashes else np.empty(0, np.int64)
    ordered.sort()
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _grams(of_image: Sequence[Tokens]) -> set[Gram]:
    return set(chain.from_iterable(map(ngrams, of_image)))


def write_document_counts(path: Path, counts: DocumentCounts, tokenizer: str) -> None:
    """Writes the counts as JSON, atomically, with the name of the tokenizer that gave the words."""
    head = {"num_images": counts.num_images, "tokenizer": tokenizer}
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "counts": {\n')
        lines = (f"{json.dumps(' '.join(gram), ensure_ascii=False)}: {n}" for gram, n in sorted(counts.counts.items()))
        file.write(",\n".join(lines) + "\n}}\n")


def read_document_counts(path: Path) -> tuple[DocumentCounts, str]:
    """What :func:`write_document_counts` wrote: the counts, and the name of the tokenizer.

    Raises DataError for a file that is missing or is not JSON, and ScoreError for one of another form.
    """
    content = read_json(path, _REMEDY)
    fields: Mapping[str, Any] = content if isinstance(content, dict) else {}
    num_images, tokenizer, counts = fields.get("num_images"), fields.get("tokenizer"), fields.get("counts")
    if not isinstance(counts, dict) or type(num_images) is not int or not isinstance(tokenizer, str):
        raise ScoreError(f"{path} has no num_images, tokenizer and counts of n-grams; {_REMEDY}")
    read: dict[Gram, int] = {}
    for text, count in counts.items():
        gram = tuple(text.split(" "))
        if type(count) is not int or not 0 < count <= num_images or len(gram) > ORDERS or not all(gram):
            raise ScoreError(f"{path}: {text[:60]!r} with {count!r} is not an n-gram of one to four words and the"
                             f" number of its images, at most {num_images}; {_REMEDY}")  # fmt: skip
        read[gram] = count
    return DocumentCounts(read, num_images), tokenizer
