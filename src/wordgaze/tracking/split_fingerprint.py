"""What an evaluation was measured on, as checksums by which one can tell whether two scores are comparable."""

import csv

from wordgaze.core import paths
from wordgaze.core.errors import TrackingError
from wordgaze.core.files import fingerprint, sha256
from wordgaze.core.tables import unguard_formula
from wordgaze.data.prepared import Prepared
from wordgaze.data.readers.captions import BETWEEN
from wordgaze.data.records import Split
from wordgaze.evaluation.results import EvaluationReport
from wordgaze.tracking.runs import EVALUATED_ON

EVALUATED = tuple(
    f"evaluated_on.{part}" for part in ("split", "images", "pictures", "references", "tokenizer", "decoding")
)
"""The tags of an evaluation that identify its data and its decoding settings."""


def evaluated_data(report: EvaluationReport) -> dict[str, str]:
    """The tags of the split that ``reports/`` is about: EVALUATED_ON is the fingerprint of the split's name, its
    images, their references and the tokenizer; those of EVALUATED are its parts and the decoding settings.

    Images count by their content and not by their names. Raises DataError where the prepared data cannot be read, and
    TrackingError where they are not those of the report, as after a change of the data set.
    """
    split: Split = "dev" if report.split == "dev" else "test"
    prepared = Prepared.load(paths.PREPARED)
    images, references = prepared.references(split)
    if {image: BETWEEN.join(prepared.raw[image]) for image in images} != _references_of_report():
        raise TrackingError(
            f"{paths.PREPARED} has changed since {paths.REPORTS} were written; run `dvc repro`, or `dvc checkout`"
        )
    evaluated = sorted(
        [sha256(paths.RAW / "images" / image), of_image] for image, of_image in zip(images, references, strict=True)
    )
    parts = {
        "split": report.split,
        "images": str(len(images)),
        "pictures": fingerprint([picture for picture, _ in evaluated]),
        "references": fingerprint([of_image for _, of_image in evaluated]),
        "tokenizer": report.tokenizer,
        "decoding": fingerprint(report.generation.model_dump(mode="json")),
    }
    whole = fingerprint(report.split, report.tokenizer, evaluated)
    return {EVALUATED_ON: whole} | {f"evaluated_on.{part}": value for part, value in parts.items()}


def _references_of_report() -> dict[str, str]:
    with (paths.REPORTS / "captions.csv").open(encoding="utf-8", newline="") as file:
        return {unguard_formula(row["image"]): unguard_formula(row["references"]) for row in csv.DictReader(file)}
