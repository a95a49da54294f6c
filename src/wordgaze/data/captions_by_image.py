"""Captions of many images in arrays: about a hundred bytes a caption instead of a thousand in lists of strings."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class WordIds:
    """Numbers of words, so that every word is in memory once."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._ids: dict[str, int] = {}

    def __call__(self, text: str) -> list[int]:
        """The number of each word of a text."""
        ids = self._ids
        return [ids.setdefault(word, len(ids)) for word in text.split()]

    def word(self, number: int) -> str:
        """The word with this number."""
        if len(self.words) < len(self._ids):
            self.words = list(self._ids)
        return self.words[number]


class CaptionsByImage(Mapping[str, list[list[str]]]):
    """The tokenized captions of each image, in the order in which they were added; built again at each access."""

    def __init__(self, ids: WordIds) -> None:
        self._ids = ids
        self._images: dict[str, int] = {}
        self._image_of, self._tokens, self._ends = array("i"), array("i"), array("q")
        self._texts, self._text_ends = bytearray(), array("q")

    def add(self, image: str, tokens: str, text: str = "") -> None:
        """Adds a caption: its tokens with blanks between them, and its text as it was given."""
        self._image_of.append(self._images.setdefault(image, len(self._images)))
        self._tokens.extend(self._ids(tokens))
        self._ends.append(len(self._tokens))
        self._texts += text.encode()
        self._text_ends.append(len(self._texts))

    def __getitem__(self, image: str) -> list[list[str]]:
        word = self._ids.word
        return [[word(number) for number in self._tokens[slice(*_part(self._ends, i))]] for i in self._captions(image)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)

    def __contains__(self, image: object) -> bool:
        return image in self._images

    def texts(self, image: str) -> list[str]:
        """The captions of an image as they were given. Raises KeyError for an image without any."""
        return [self._texts[slice(*_part(self._text_ends, i))].decode() for i in self._captions(image)]

    def _captions(self, image: str) -> list[int]:
        order, starts = self._groups
        number = self._images[image]
        found: list[int] = order[starts[number] : starts[number + 1]].tolist()
        return found

    @cached_property
    def _groups(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The captions ordered by image, and where those of each image begin, and end after the last one."""
        images = np.array(self._image_of, np.int32)  # a copy: an array whose buffer is shown cannot grow
        return np.argsort(images, kind="stable"), np.searchsorted(np.sort(images), np.arange(len(self._images) + 1))


class TextsByImage(Mapping[str, list[str]]):
    """The captions of each image as they were given, in all splits."""

    def __init__(self, splits: Sequence[CaptionsByImage]) -> None:
        self._splits = splits

    def __getitem__(self, image: str) -> list[str]:
        found = [text for captions in self._splits if image in captions for text in captions.texts(image)]
        if not found:
            raise KeyError(image)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(image for captions in self._splits for image in captions))

    def __len__(self) -> int:
        return len(set().union(*self._splits))


def _part(ends: "array[int]", number: int) -> tuple[int, int]:
    return ends[number - 1] if number else 0, ends[number]
