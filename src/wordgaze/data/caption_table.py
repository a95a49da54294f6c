"""The table of captions that stage ``prepare`` writes, a part at a time, and what it counts of them on the way."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from wordgaze.core.files import atomic_write
from wordgaze.data.preparation import TokenizedCaption
from wordgaze.data.records import SPLITS, Split, image_hash

if TYPE_CHECKING:
    import pandas as pd

PART_ROWS = 1 << 16
"""Captions of which Python objects are in memory, and of a row group of the file."""

NUM_SAMPLED = 1000
"""The first training captions, which are kept as they are given and as tokens."""

_COLUMNS = ["image", "split", "caption_id", "raw", "tokens_text", "length"]


@dataclass
class CaptionCounts:
    """What is counted of captions with a token, one at a time.

    ``words`` are the tokens of the training captions, ``num_cut`` are training captions of more than ``max_words``
    tokens, and ``sample`` are the first training captions as (text, tokens). An image takes 8 bytes.
    """

    max_words: int
    words: Counter[str] = field(default_factory=Counter)
    num_captions: int = 0
    num_train: int = 0
    num_cut: int = 0
    num_tokens: int = 0
    sample: list[tuple[str, str]] = field(default_factory=list)
    _images: dict[Split, "array[int]"] = field(default_factory=lambda: {split: array("Q") for split in SPLITS})
    _last: tuple[str, Split | None] = ("", None)

    def add(self, caption: TokenizedCaption) -> None:
        """Counts a caption."""
        self.num_captions += 1
        self.num_tokens += len(caption.tokens)
        if (caption.image, caption.split) != self._last:
            self._last = (caption.image, caption.split)
            self._images[caption.split].append(image_hash(caption.image))
        if caption.split == "train":
            self.num_train += 1
            self.num_cut += len(caption.tokens) > self.max_words
            self.words.update(caption.tokens)
            if len(self.sample) < NUM_SAMPLED:
                self.sample.append((_in_line(caption.text), " ".join(caption.tokens)))

    def num_images(self) -> dict[Split, int]:
        """The number of different images of each split."""
        import numpy as np

        return {split: len(np.unique(np.asarray(hashes, np.uint64))) for split, hashes in self._images.items()}

    def in_several_splits(self) -> dict[int, int]:
        """The hashes of the images that are in several splits, each with the number of its splits; normally none."""
        import numpy as np

        of_splits = [np.unique(np.asarray(hashes, np.uint64)) for hashes in self._images.values()]
        hashes, numbers = np.unique(np.concatenate(of_splits), return_counts=True)
        several = numbers > 1
        return dict(zip(hashes[several].tolist(), numbers[several].tolist(), strict=True))


def write_caption_table(path: Path, captions: Iterable[TokenizedCaption], max_words: int) -> CaptionCounts:
    """Writes one row per caption as Parquet, and counts the captions; without any, no file is written."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    counts = CaptionCounts(max_words)
    frames = _frames(_rows(captions, counts))
    first = next(frames, None)
    if first is None:
        return counts
    table = pa.Table.from_pandas(first, preserve_index=False)
    with atomic_write(path) as temporary, ParquetWriter(temporary, table.schema) as writer:
        writer.write_table(table)
        for frame in frames:
            writer.write_table(pa.Table.from_pandas(frame, table.schema, preserve_index=False))
    return counts


def caption_parts(path: Path, counts: CaptionCounts) -> "Iterator[pd.DataFrame]":
    """The rows of the table, PART_ROWS at a time, with a column ``splits_of_image`` more: the number of splits that
    contain the image."""
    from pyarrow.parquet import ParquetFile

    several = counts.in_several_splits()
    with ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=PART_ROWS):
            frame = batch.to_pandas()
            frame["splits_of_image"] = [several.get(image_hash(image), 1) if several else 1 for image in frame["image"]]
            yield frame


def _rows(captions: Iterable[TokenizedCaption], counts: CaptionCounts) -> Iterator[tuple[object, ...]]:
    """The rows of the captions, which are counted on the way: their tokens are not kept."""
    for caption in captions:
        counts.add(caption)
        yield *caption[:3], _in_line(caption.text), " ".join(caption.tokens), len(caption.tokens)


def _frames(rows: Iterator[tuple[object, ...]]) -> "Iterator[pd.DataFrame]":
    import pandas as pd

    while part := list(islice(rows, PART_ROWS)):
        yield pd.DataFrame(part, columns=_COLUMNS)


def _in_line(text: str) -> str:
    return " ".join(text.split())
