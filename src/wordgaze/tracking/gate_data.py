"""The gate set: the images with captions on which challenger and champion are compared, and its checksum."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from wordgaze.core import paths
from wordgaze.core.errors import DataError
from wordgaze.core.files import fingerprint
from wordgaze.data.datasets.folder import Folder
from wordgaze.data.datasets.source import Found
from wordgaze.data.prepared import Prepared
from wordgaze.data.records import Record, Split, read_records
from wordgaze.evaluation.result_types import Result
from wordgaze.metrics.hallucination import Chair
from wordgaze.text.objects import Lexicon, coco_lexicon
from wordgaze.text.tokenizers import RULE_BASED, Tokenizer
from wordgaze.text.tokenizers.advice import suggested_tokenizer

_SPLITS: Mapping[str, Split] = {"dev": "dev", "test": "test"}


class GateIdentity(Result):
    """Which data a decision was made on. ``checksum`` is that of the pictures, the references and the tokenizer."""

    name: str
    num_images: int
    pictures: str
    references: str
    tokenizer: str
    checksum: str

    def __str__(self) -> str:
        return f"{self.name}, {self.num_images} images, checksum {self.checksum}"


@dataclass(frozen=True)
class GateData:
    """Images, their references as tokens of the scoring tokenizer, and the objects of their boxes where they have any.

    The order is that of the checksums of the pictures, so neither names nor their order count. ``checksums`` are these,
    of the files.
    """

    identity: GateIdentity
    images: tuple[Found, ...]
    references: tuple[tuple[tuple[str, ...], ...], ...]
    tokenizer: Tokenizer
    objects: tuple[frozenset[str], ...]
    nouns: frozenset[str]
    checksums: tuple[str, ...]

    def without(self, checksums: frozenset[str]) -> "GateData":
        """The gate set without these pictures; its identity stays that of the whole."""
        kept = [place for place, checksum in enumerate(self.checksums) if checksum not in checksums]
        return replace(
            self,
            images=tuple(self.images[place] for place in kept),
            references=tuple(self.references[place] for place in kept),
            objects=tuple(self.objects[place] for place in kept) if self.objects else (),
            checksums=tuple(self.checksums[place] for place in kept),
        )

    @property
    def chair(self) -> Chair | None:
        """Counts objects by boxes and references, or COCO's objects by the references; None unless in English."""
        if not self.tokenizer.is_english:
            return None
        return Chair(self.references, self.objects, Lexicon(self.nouns) if self.objects else coco_lexicon())


def read_gate_data(name: str) -> GateData:
    """Reads ``dev`` or ``test`` of the prepared data, or a folder or a table of images with captions.

    Of a folder whose captions name splits, the dev split is taken. Raises DataError where the data are missing, cannot
    be read or have no image with captions.
    """
    if name in _SPLITS:
        return _of_split(_SPLITS[name])
    path = Path(name)
    if not path.exists():
        raise DataError(f"the gate set {name} is missing; give dev, test, or a folder or table of images with captions")
    folder, captions = (path, "") if path.is_dir() else (path.parent, path.name)
    contents = Folder(str(folder), captions, paths.scratch("gate")).read()
    records = [record for record in contents.records if record.image in contents.pictures]
    if any(record.split == "dev" for record in records):
        records = [record for record in records if record.split == "dev"]
    if not records:
        raise DataError(f"{name} has no image with captions; {contents.advice or 'give another gate set'}")
    texts = [text for record in records for text in record.captions]
    tokenizer = RULE_BASED[suggested_tokenizer(texts)]
    references = [[tokenizer.tokenize(text) for text in record.captions] for record in records]
    return _gate_data(path.resolve().name, [contents.pictures[r.image] for r in records], references, tokenizer)


def _of_split(split: Split) -> GateData:
    prepared = Prepared.load(paths.PREPARED)
    images, references = prepared.references(split)
    if not images:
        raise DataError(f"{paths.PREPARED} has no images in {split}; give another gate set with --data")
    tokenizer = prepared.vocabulary.tokenizer
    if not tokenizer.has_words:
        references = [[tokenizer.scoring.tokenize(text) for text in prepared.raw[image]] for image in images]
    folder, records = paths.RAW / "images", paths.RAW / "captions.jsonl"
    found = [Found(folder, PurePosixPath(image)) for image in images]
    by_image = {record.image: record for record in read_records(records)} if records.exists() else {}
    boxed = [by_image.get(image, Record(image, ())) for image in images]
    nouns = frozenset(box.noun for record in by_image.values() for box in record.objects)
    return _gate_data(split, found, references, tokenizer.scoring, boxed, nouns)


def _gate_data(
    name: str,
    images: Sequence[Found],
    references: Sequence[Sequence[Sequence[str]]],
    tokenizer: Tokenizer,
    records: Sequence[Record] = (),
    nouns: frozenset[str] = frozenset(),
) -> GateData:
    sums = [_picture_checksum(image) for image in images]
    order = sorted(range(len(images)), key=lambda place: (sums[place], references[place]))
    ordered = tuple(tuple(tuple(words) for words in references[place]) for place in order)
    pictures, captions = fingerprint([sums[place] for place in order]), fingerprint(_as_lists(ordered))
    has_boxes = bool(records) and all(record.objects for record in records)
    return GateData(
        identity=GateIdentity(
            name=name,
            num_images=len(images),
            pictures=pictures,
            references=captions,
            tokenizer=tokenizer.name,
            checksum=fingerprint(pictures, captions, tokenizer.name),
        ),
        images=tuple(images[place] for place in order),
        references=ordered,
        tokenizer=tokenizer,
        objects=tuple(frozenset(b.noun for b in records[place].objects) for place in order) if has_boxes else (),
        nouns=nouns,
        checksums=tuple(sums[place] for place in order),
    )


def _picture_checksum(image: Found) -> str:
    try:
        return hashlib.sha256(image.read()).hexdigest()
    except OSError as error:
        raise DataError(
            f"{image.label} of the gate set cannot be read ({error.strerror}); run dvc repro, or dvc checkout"
        ) from error


def _as_lists(references: Iterable[Iterable[Sequence[str]]]) -> list[list[list[str]]]:
    return [[list(words) for words in of_image] for of_image in references]
