"""What an evaluation was measured on, as a fingerprint by which ``promote`` knows whether two scores are comparable."""

import csv

from wordgaze.core import paths
from wordgaze.core.errors import TrackingError
from wordgaze.core.files import fingerprint, sha256
from wordgaze.core.tables import unguard_formula
from wordgaze.data.prepared import Prepared
from wordgaze.data.readers.captions import BETWEEN
from wordgaze.data.records import Split
from wordgaze.evaluation.results import EvaluationReport


def split_fingerprint(report: EvaluationReport) -> str:
    """A fingerprint of the split that ``reports/`` is about: its images, their references, and the tokenizer.

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
    return fingerprint(report.split, report.tokenizer, evaluated)


def _references_of_report() -> dict[str, str]:
    with (paths.REPORTS / "captions.csv").open(encoding="utf-8", newline="") as file:
        return {unguard_formula(row["image"]): unguard_formula(row["references"]) for row in csv.DictReader(file)}
