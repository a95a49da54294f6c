"""Stage ``download``: fetches a data set and drops the records and images that cannot be used."""

from pathlib import Path

from PIL import Image

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.checksums import write_checksums
from wordgaze.core.files import atomic_directory, write_json, write_text
from wordgaze.data.contracts import check
from wordgaze.data.datasets import open_dataset
from wordgaze.data.datasets.audit import audit
from wordgaze.data.records import Record, write_records
from wordgaze.tracking.reporting import log_contract
from wordgaze.tracking.runs import stage_run

RECORDS = "captions.jsonl"


def run(params: Params) -> None:
    """Writes ``data/raw``: ``images/``, ``captions.jsonl``, the report of the audit and that of the contract."""
    import pandas as pd

    sections = {"dataset": params.dataset.model_dump()}
    with stage_run("download", sections) as tracked, atomic_directory(paths.RAW) as folder:
        dataset = open_dataset(params.dataset, params.prepare, paths.scratch("downloads"))
        collected = dataset.collect(folder)
        records, report = audit(
            collected.records, folder, params.dataset.max_faulty, collected.faults, collected.advice
        )
        _remove_unused(folder / "images", records)
        write_records(folder / RECORDS, records)
        write_checksums(folder, [RECORDS])
        write_json(folder / "audit.json", report.to_json())
        table = pd.DataFrame([_row(folder / "images", record) for record in records])
        contract = check("records", table)
        write_text(folder / "contract.json", contract.to_json())
        log_contract(tracked, contract)
        tracked.metrics({"pictures": report.kept, "faulty_share": report.share})


def _remove_unused(images: Path, records: list[Record]) -> None:
    kept = {record.image for record in records}
    for path in images.iterdir():
        if path.name not in kept:
            path.unlink()


def _row(images: Path, record: Record) -> dict[str, object]:
    with Image.open(images / record.image) as image:
        width, height = image.size
    return {
        "image": record.image,
        "split": record.split,
        "captions": len(record.captions),
        "width": width,
        "height": height,
    }
