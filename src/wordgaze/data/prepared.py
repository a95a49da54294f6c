"""What ``prepare`` hands on: one table of captions and the vocabulary."""

import json
from dataclasses import dataclass
from pathlib import Path

from wordgaze.core.errors import DataError
from wordgaze.data.records import Split
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
        table = pd.read_parquet(folder / CAPTIONS)
        for split, image, text, tokens in table[["split", "image", "raw", "tokens_text"]].to_numpy().tolist():
            captions[split].setdefault(image, []).append(tokens.split())
            raw.setdefault(image, []).append(text)
        words = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))["words"]
        return cls(captions, raw, Vocabulary(tuple(words)))

    def references(self, split: Split, limit: int = 0) -> tuple[list[str], list[list[list[str]]]]:
        """The images of a split, by name, the first ``limit`` of them, and all their captions."""
        images = sorted(self.captions[split])[: limit or None]
        return images, [self.captions[split][image] for image in images]
