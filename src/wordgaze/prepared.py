"""What ``prepare`` hands on: one table of captions and the vocabulary."""

import json
from dataclasses import dataclass
from pathlib import Path

from wordgaze.datasets.base import Split
from wordgaze.errors import DataError
from wordgaze.text.vocabulary import Vocabulary

CAPTIONS, VOCABULARY = "captions.parquet", "vocabulary.json"


@dataclass(frozen=True)
class Prepared:
    """``captions[split][image]``: the tokenized captions of an image, in the data set's order."""

    captions: dict[Split, dict[str, list[list[str]]]]
    raw: dict[str, list[str]]
    vocabulary: Vocabulary

    @classmethod
    def load(cls, folder: Path) -> "Prepared":
        """Reads the folder that ``prepare`` made. Raises DataError if it is not there."""
        import pandas as pd

        if not (folder / CAPTIONS).is_file():
            raise DataError(f"{folder / CAPTIONS} is missing; run dvc repro prepare")
        captions: dict[Split, dict[str, list[list[str]]]] = {"train": {}, "dev": {}, "test": {}}
        raw: dict[str, list[str]] = {}
        for row in pd.read_parquet(folder / CAPTIONS).itertuples(index=False):
            captions[row.split].setdefault(row.image, []).append(row.tokens_text.split())
            raw.setdefault(row.image, []).append(row.raw)
        words = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))["words"]
        return cls(captions, raw, Vocabulary(tuple(words)))
