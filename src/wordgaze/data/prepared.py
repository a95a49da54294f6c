"""The output of stage ``prepare``: the table of captions and the vocabulary."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wordgaze.core.checksums import check_file, read_checksums, write_checksums
from wordgaze.core.errors import DataError
from wordgaze.core.files import read_json
from wordgaze.data.captions_by_image import CaptionsByImage, TextsByImage, WordIds
from wordgaze.data.records import SPLITS, Split
from wordgaze.text.tokenizers import RULE_BASED, STORED, stored_tokenizer
from wordgaze.text.vocabulary import PTB, SPECIAL, Vocabulary

CAPTIONS, EXTRA_TEXT, VOCABULARY = "captions.parquet", "extra_text.parquet", "vocabulary.json"
_REPEAT = "run dvc repro -f -s prepare"


TokensByImage = Mapping[str, list[list[str]]]
"""The tokenized captions of each image, in the data set's order."""


@dataclass(frozen=True)
class Prepared:
    """``captions[split][image]`` are the tokenized captions of an image in the data set's order, ``raw[image]`` the
    captions as given. ``extra[image]`` are tokenized sentences of ``prepare.extra_text`` that a training image stands
    for in training; they are not captions of it."""

    captions: Mapping[Split, TokensByImage]
    raw: Mapping[str, list[str]]
    vocabulary: Vocabulary
    extra: TokensByImage = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "Prepared":
        """Reads the folder that ``prepare`` wrote. Raises DataError if a file is missing, broken or damaged."""
        for name, expected in read_checksums(folder, (CAPTIONS, EXTRA_TEXT, VOCABULARY), _REPEAT).items():
            if (folder / name).is_file():  # whoever reads a file says that it is missing
                check_file(folder / name, expected, _REPEAT)
        ids = WordIds()
        captions: dict[Split, CaptionsByImage] = {split: CaptionsByImage(ids) for split in SPLITS}
        for split, image, text, tokens in _rows(folder / CAPTIONS, ["split", "image", "raw", "tokens_text"]):
            if split not in SPLITS:
                raise DataError(f"{folder / CAPTIONS} has the split {split!r}; {_REPEAT}")
            captions[split].add(image, tokens, text)
        extra = CaptionsByImage(ids)
        for image, tokens in _rows(folder / EXTRA_TEXT, ["image", "tokens_text"]):
            extra.add(image, tokens)
        return cls(captions, TextsByImage(list(captions.values())), _vocabulary(folder), extra)

    def references(self, split: Split, limit: int = 0) -> tuple[list[str], list[list[list[str]]]]:
        """The images of a split, sorted by name, and the tokenized captions of each; ``limit`` 0 takes all images."""
        images = sorted(self.captions[split])[: limit or None]
        return images, [self.captions[split][image] for image in images]


def captions_fingerprint(captions: TokensByImage) -> str:
    """A checksum of images and their captions, whatever the order of the images."""
    digest = hashlib.sha256()
    for image in sorted(captions):
        lines = [image, *(" ".join(words) for words in captions[image])]
        digest.update("\n".join(lines).encode() + b"\0")
    return digest.hexdigest()


def write_prepared_checksums(folder: Path, others: Iterable[str] = ()) -> None:
    """Writes the checksums of the files that :meth:`Prepared.load` reads, and of others that training reads."""
    write_checksums(folder, [CAPTIONS, EXTRA_TEXT, VOCABULARY, *others])


def _rows(path: Path, columns: list[str]) -> Iterator[Any]:
    """The rows of a Parquet file, as tuples of these columns, which are text."""
    from pyarrow.parquet import ParquetFile

    if not path.is_file():
        raise DataError(f"{path} is missing; run dvc repro prepare")
    try:
        with ParquetFile(path) as file:
            if lacking := sorted(set(columns) - set(file.schema_arrow.names)):
                raise ValueError(f"it has no column {', '.join(lacking)}")
            for batch in file.iter_batches(columns=columns):
                values = [batch.column(name).to_pylist() for name in columns]
                if any(not isinstance(text, str) for column in values for text in column):
                    raise DataError(f"{path} has a value that is not text; {_REPEAT}")
                yield from zip(*values, strict=True)
    except DataError:
        raise
    except Exception as error:  # pyarrow raises various exceptions of its own and of Python
        raise DataError(f"{path} is broken ({' '.join(str(error).split())}); {_REPEAT}") from error


def _vocabulary(folder: Path) -> Vocabulary:
    path = folder / VOCABULARY
    content = read_json(path, _REPEAT)
    words = content.get("words") if isinstance(content, dict) else None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(f"{path} has no list of words; {_REPEAT}")
    name = content.get("tokenizer", PTB.name)
    try:
        if name not in {*RULE_BASED, *STORED}:
            raise ValueError(f"the tokenizer {name!r} is unknown")
        return Vocabulary(tuple(words), stored_tokenizer(name, folder, words[len(SPECIAL) :]))
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} is not a vocabulary ({error}); {_REPEAT}") from error
