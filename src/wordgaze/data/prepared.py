"""The output of stage ``prepare``: the table of captions and the vocabulary."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wordgaze.core.checksums import check_file, read_checksums, write_checksums
from wordgaze.core.errors import DataError
from wordgaze.core.files import read_json
from wordgaze.data.records import SPLITS, Split
from wordgaze.text.tokenizers import RULE_BASED, STORED, stored_tokenizer
from wordgaze.text.vocabulary import PTB, SPECIAL, Vocabulary

CAPTIONS, EXTRA_TEXT, VOCABULARY = "captions.parquet", "extra_text.parquet", "vocabulary.json"
_REPEAT = "run dvc repro -f -s prepare"


@dataclass(frozen=True)
class Prepared:
    """``captions[split][image]`` are the tokenized captions of an image in the data set's order, ``raw[image]`` the
    captions as given. ``extra[image]`` are tokenized sentences of ``prepare.extra_text`` that a training image stands
    for in training; they are not captions of it."""

    captions: dict[Split, dict[str, list[list[str]]]]
    raw: dict[str, list[str]]
    vocabulary: Vocabulary
    extra: dict[str, list[list[str]]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "Prepared":
        """Reads the folder that ``prepare`` wrote. Raises DataError if a file is missing, broken or damaged."""
        for name, expected in read_checksums(folder, (CAPTIONS, EXTRA_TEXT, VOCABULARY), _REPEAT).items():
            if (folder / name).is_file():  # whoever reads a file says that it is missing
                check_file(folder / name, expected, _REPEAT)
        captions: dict[Split, dict[str, list[list[str]]]] = {"train": {}, "dev": {}, "test": {}}
        raw: dict[str, list[str]] = {}
        for split, image, text, tokens in _rows(folder / CAPTIONS):
            captions[split].setdefault(image, []).append(tokens.split())
            raw.setdefault(image, []).append(text)
        extra: dict[str, list[list[str]]] = {}
        for image, tokens in _table(folder / EXTRA_TEXT, ["image", "tokens_text"]):
            extra.setdefault(image, []).append(tokens.split())
        return cls(captions, raw, _vocabulary(folder), extra)

    def references(self, split: Split, limit: int = 0) -> tuple[list[str], list[list[list[str]]]]:
        """The images of a split, sorted by name, and the tokenized captions of each; ``limit`` 0 takes all images."""
        images = sorted(self.captions[split])[: limit or None]
        return images, [self.captions[split][image] for image in images]


def write_prepared_checksums(folder: Path, tokenizer_files: Iterable[str] = ()) -> None:
    """Writes the checksums of the files that :meth:`Prepared.load` reads."""
    write_checksums(folder, [CAPTIONS, EXTRA_TEXT, VOCABULARY, *tokenizer_files])


def _rows(path: Path) -> list[tuple[Split, str, str, str]]:
    """(split, image, raw caption, tokens) of each caption."""
    rows = _table(path, ["split", "image", "raw", "tokens_text"])
    if any(not isinstance(text, str) for row in rows for text in row):
        raise DataError(f"{path} has a value that is not text; {_REPEAT}")
    if unknown := {split for split, *_ in rows} - set(SPLITS):
        raise DataError(f"{path} has the split {sorted(map(str, unknown))[0]!r}; {_REPEAT}")
    return rows


def _table(path: Path, columns: list[str]) -> list[Any]:
    """The rows of a Parquet file, as tuples of these columns."""
    import pandas as pd

    if not path.is_file():
        raise DataError(f"{path} is missing; run dvc repro prepare")
    try:
        table = pd.read_parquet(path)[columns]
    except Exception as error:  # pyarrow raises various exceptions of its own and of Python
        raise DataError(f"{path} is broken ({' '.join(str(error).split())}); {_REPEAT}") from error
    return [tuple(row) for row in table.to_numpy().tolist()]


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
