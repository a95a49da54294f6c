"""Captions of many images in a temporary file: their attention, kilobytes a caption, would fill the memory."""

import json
import sys
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from wordgaze.generation.outputs import Caption


class StoredCaptions(Sequence[list[Caption]]):
    """The captions of each image, which are read from the file at each access, and are equal to those that were given.

    The file lies in ``folder`` without a name, and is gone when the captions are no longer used or the process ends. An
    image takes 8 bytes of memory.
    """

    def __init__(self, captions: Iterable[Sequence[Caption]], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # it is open as long as the captions are used
        weakref.finalize(self, self._file.close)
        self._ends = array("q")
        for of_image in captions:
            self._file.write(json.dumps([_fields(caption) for caption in of_image]).encode() + b"\n")
            for caption in of_image:
                self._file.write(np.ascontiguousarray(caption.attention, np.float32).tobytes())
            self._ends.append(self._file.tell())

    @overload
    def __getitem__(self, place: int) -> list[Caption]: ...

    @overload
    def __getitem__(self, place: slice) -> list[list[Caption]]: ...

    def __getitem__(self, place: int | slice) -> list[Caption] | list[list[Caption]]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        number = range(len(self))[place]
        start = self._ends[number - 1] if number else 0
        self._file.seek(start)
        head, _, attention = self._file.read(self._ends[number] - start).partition(b"\n")
        values = np.frombuffer(attention, np.float32)
        captions, used = [], 0
        for fields in json.loads(head):
            shape = fields.pop("attention")
            size = int(np.prod(shape))
            part, used = values[used : used + size].reshape(shape), used + size
            captions.append(Caption(**{**fields, "attention": part, **_tuples(fields)}))
        return captions

    def __len__(self) -> int:
        return len(self._ends)


def _fields(caption: Caption) -> dict[str, object]:
    """All but the attention, of which the shape alone."""
    return {**vars(caption), "attention": caption.attention.shape}


def _tuples(fields: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The lists of JSON as the tuples of a caption; equal words are one object."""
    return {"words": tuple(map(sys.intern, fields["words"])), "word_log_probs": tuple(fields["word_log_probs"])}
