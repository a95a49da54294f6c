"""The files of an audit: captions and references as they are written, and which belong together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wordgaze.data.readers.captions import ById, read_as_written
from wordgaze.data.readers.captions.names import SPLITS_BY_NAME
from wordgaze.data.records import Fault
from wordgaze.evaluation.id_matching import IdPairing, of_split, pair_ids, without_other_splits
from wordgaze.evaluation.score import ScoreSelection


@dataclass(frozen=True)
class AuditedFiles:
    """Captions by their own ids and references by theirs, both as written; ``pairing`` maps the former to the latter.

    ``num_other_splits`` counts the images of other splits, whose captions are left out. ``faults`` are the rows of both
    files that cannot be read.
    """

    captions: ById[list[str]]
    references: ById[list[str]]
    pairing: IdPairing
    num_other_splits: int
    faults: Sequence[Fault]

    @cached_property
    def captioned(self) -> dict[str, list[str]]:
        """The captions of each image of the references that has one, by the id in the references."""
        found: dict[str, list[str]] = {}
        for key, texts in self.captions.items():
            if texts and key in self.pairing.targets:
                found.setdefault(self.pairing.targets[key], []).extend(texts)
        return found

    @cached_property
    def num_captions(self) -> int:
        """The number of captions in the file."""
        return sum(map(len, self.captions.values()))


def read_audited(captions: Path, references: Path, selection: ScoreSelection) -> AuditedFiles:
    """Reads both files. Raises CaptionsError if one of them has no layout of captions, or not the split."""
    truths = all_truths = read_as_written(references, selection.reference_columns, several=True)
    written = all_written = read_as_written(captions, selection.caption_columns, several=False)
    if selection.split:
        truths = of_split(all_truths, selection.split, str(references))
        written = without_other_splits(all_written, truths, all_truths)
    return AuditedFiles(
        written,
        truths,
        pair_ids(written, truths),
        len(all_written) - len(written),
        [*all_written.faults, *all_truths.faults],
    )


def read_training(path: Path, selection: ScoreSelection) -> ById[list[str]]:
    """The training captions: those of the split train, if the file names that split, otherwise all.

    Raises CaptionsError if the file cannot be read.
    """
    training = read_as_written(path, selection.reference_columns, several=True)
    splits = {SPLITS_BY_NAME.get(name.casefold()) for of_image in training.splits.values() for name in of_image}
    return of_split(training, "train", str(path)) if "train" in splits else training
