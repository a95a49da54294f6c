"""The output folder of a batch run: which images it has, in which partitions, and which partitions are done.

    run.json                     what the captions depend on, see :class:`RunCard`
    images.parquet               the addresses of the images; row group K holds those of partition K
    captions/part-00000.parquet  the captions of the partition's images, one row each, in their order
    failures/part-00000.parquet  one row for each of its images that could not be captioned

A partition is done when both its files are there and were written by the same attempt. An attempt that is killed, or
that is made twice at the same time, therefore leaves no image twice and none out, whatever engine makes it.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import chain, islice
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from wordgaze.batch.addresses import file_name
from wordgaze.batch.images import failure_kind
from wordgaze.core.errors import CaptionsError, DataError
from wordgaze.core.files import stable_json
from wordgaze.core.printable import escaped
from wordgaze.core.storage import AccessError, absolute, file_system, read_bytes, retried, write_bytes
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.table import FILE_COLUMNS

CAPTION_COLUMNS = tuple(name for name in FILE_COLUMNS if name != "error")
FAILURE_COLUMNS = ("name", "kind", "error", "path")

_CARD, _IMAGES, _CAPTIONS, _FAILURES = "run.json", "images.parquet", "captions", "failures"
_FOOTERS = 16  # threads that read the ends of files


class RunCard(BaseModel):
    """The contents of run.json. A run is continued only with the same.

    ``captioner`` is the checksum of the captioner's weights and card, ``images`` that of the addresses in their order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    captioner: str
    generation: GenerationConfig
    seed: int
    images: str
    num_images: int
    partition_size: int

    @property
    def num_partitions(self) -> int:
        """The number of partitions; all but the last one have ``partition_size`` images."""
        return -(-self.num_images // self.partition_size)


class PartitionCounts(NamedTuple):
    """How many images of a partition have captions, are unlike those of the training, and could not be captioned."""

    captioned: int = 0
    outliers: int = 0
    failed: int = 0

    def __add__(self, other: "PartitionCounts") -> "PartitionCounts":  # type: ignore[override]
        return PartitionCounts(*(a + b for a, b in zip(self, other, strict=True)))


class ImageOutcome(NamedTuple):
    """What the tables hold of an image, as plain values: its captions, best first, or why it has none."""

    captions: list[dict[str, Any]]
    failure: dict[str, Any] | None = None

    @classmethod
    def of(cls, address: str, result: Sequence[Caption] | DataError) -> "ImageOutcome":
        """The outcome of captioning the image at an address, or of the error of reading it."""
        name = escaped(file_name(address))
        if isinstance(result, DataError):
            kind = failure_kind(result)
            return cls([], {"name": name, "kind": kind, "error": escaped(str(result)), "path": address})
        return cls([_row(name, address, caption) for caption in result])


@dataclass(frozen=True)
class BatchRun:
    """A run in the folder ``output``, a path or an address. Workers open it by its address alone."""

    output: str

    @cached_property
    def card(self) -> RunCard:
        """What the run's captions depend on. Raises DataError if there is no run in the folder."""
        data = read_bytes(self._path(_CARD))
        try:
            return RunCard.model_validate_json(data)
        except ValidationError as error:
            raise DataError(f"{self._path(_CARD)} is not that of a batch run; give another --output") from error

    @property
    def failures(self) -> str:
        """The folder of the failures."""
        return self._path(_FAILURES)

    def addresses(self, partition: int) -> list[str]:
        """The addresses of the images of a partition."""
        return retried(lambda: self._row_group(partition), self._path(_IMAGES))

    def counts(self) -> dict[int, PartitionCounts]:
        """The partitions that are done, with what is in them."""
        names = [self._names(folder) for folder in (_CAPTIONS, _FAILURES)]
        written = sorted(names[0] & names[1])
        with ThreadPoolExecutor(_FOOTERS) as pool:
            found = zip(written, pool.map(self._counts, written), strict=True)
            return {number: counts for number, counts in found if counts is not None}

    def write(self, partition: int, outcomes: Iterable[ImageOutcome]) -> PartitionCounts:
        """Writes the files of a partition, from the outcomes of its images in their order.

        Raises OSError and AccessError where they cannot be written.
        """
        outcomes = list(outcomes)
        captioned = [outcome.captions for outcome in outcomes if outcome.failure is None]
        failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
        outliers = sum(bool(captions[0]["is_outlier"]) for captions in captioned)
        counts = PartitionCounts(len(captioned), outliers, len(failures))
        marks = {"attempt": secrets.token_hex(8), "counts": json.dumps(counts)}
        self._write_table(_FAILURES, partition, failures, FAILURE_COLUMNS, marks)
        self._write_table(_CAPTIONS, partition, list(chain.from_iterable(captioned)), CAPTION_COLUMNS, marks)
        return counts

    def begin(self, addresses: Iterable[str], card: RunCard) -> None:
        """Begins the run ``card`` in the folder. ``card.images`` is not looked at: it comes from the addresses.

        Writes images.parquet, then run.json.
        """
        import pyarrow as pa
        from pyarrow import parquet

        schema, remaining = pa.schema([("address", pa.string())]), iter(addresses)
        digest, count, data = hashlib.sha256(), 0, BytesIO()
        with parquet.ParquetWriter(data, schema) as writer:
            while group := list(islice(remaining, card.partition_size)):
                writer.write_table(pa.table({"address": group}, schema), row_group_size=card.partition_size)
                _update(digest, group)
                count += len(group)
        write_bytes(self._path(_IMAGES), data.getvalue())
        begun = card.model_copy(update={"images": digest.hexdigest(), "num_images": count})
        write_bytes(self._path(_CARD), f"{stable_json(begun.model_dump(mode='json'))}\n".encode())

    def check(self, addresses: Iterable[str], card: RunCard) -> None:
        """Raises CaptionsError if the run in the folder is not the run ``card`` of these addresses."""
        own, digest, remaining = self.card, hashlib.sha256(), iter(addresses)
        while group := list(islice(remaining, own.partition_size)):
            _update(digest, group)
        differences = {
            "another captioner": own.captioner != card.captioner,
            "other decoding settings": own.generation != card.generation,
            "another seed": own.seed != card.seed,
            "another --partition-size": own.partition_size != card.partition_size,
            f"other images ({own.num_images:,}, in {self._path(_IMAGES)})": own.images != digest.hexdigest(),
        }
        if different := next((name for name, differs in differences.items() if differs), None):
            raise CaptionsError(
                f"{self.output} was begun with {different}; give the same to continue it, or another --output"
            )

    def exists(self) -> bool:
        """Whether a run was begun in the folder. Raises DataError if other things are in it."""
        names = self._listing("")
        if _CARD not in names and names - {_IMAGES, _CAPTIONS, _FAILURES}:
            raise DataError(f"{self.output} has other files in it; give --output a folder of its own")
        return _CARD in names

    def _row_group(self, partition: int) -> list[str]:
        from pyarrow import parquet

        system, path = file_system(self._path(_IMAGES))
        with system.open(path, "rb") as file:
            group: list[str] = parquet.ParquetFile(file).read_row_group(partition).column(0).to_pylist()
            return group

    def _counts(self, partition: int) -> PartitionCounts | None:
        """What is in a partition; None if its files are not of one attempt."""
        try:
            captions, failures = (self._marks(folder, partition) for folder in (_CAPTIONS, _FAILURES))
        except AccessError as error:
            if error.kind in ("missing", "invalid"):
                return None
            raise
        is_done = captions == failures and captions.keys() == {b"attempt", b"counts"}
        return PartitionCounts(*json.loads(captions[b"counts"])) if is_done else None

    def _marks(self, folder: str, partition: int) -> dict[bytes, bytes]:
        from pyarrow import parquet

        address = self._path(folder, _part(partition))

        def read() -> dict[bytes, bytes]:
            system, path = file_system(address)
            with system.open(path, "rb") as file:
                metadata = parquet.read_metadata(file).metadata or {}
            return {name: metadata[name] for name in (b"attempt", b"counts") if name in metadata}

        return retried(read, address)

    def _write_table(
        self, folder: str, partition: int, rows: list[dict[str, Any]], columns: Sequence[str], marks: dict[str, str]
    ) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        numbers = dict.fromkeys(("log_prob", "probability", "confidence"), pa.float64())
        types = {**numbers, "is_outlier": pa.bool_()}
        schema = pa.schema([(name, types.get(name, pa.string())) for name in columns], marks)
        data = BytesIO()
        parquet.write_table(pa.Table.from_pylist(rows, schema), data)
        write_bytes(self._path(folder, _part(partition)), data.getvalue())

    def _names(self, folder: str) -> set[int]:
        """The numbers of the partitions that have a file in a folder."""
        names = (name.removeprefix("part-").removesuffix(".parquet") for name in self._listing(folder))
        return {int(name) for name in names if name.isdecimal()}

    def _listing(self, folder: str) -> set[str]:
        """The names in a folder of the run; none if it is not there."""
        system, path = file_system(self._path(folder) if folder else self.output)
        if hasattr(system, "invalidate_cache"):
            system.invalidate_cache()
        try:
            listed = retried(lambda: system.ls(path, detail=False), self.output)
        except AccessError as error:
            if error.kind == "missing":
                return set()
            raise
        names = {str(name).rstrip("/").rpartition("/")[2] for name in listed}
        return {name for name in names if not name.startswith(".")}

    def _path(self, *parts: str) -> str:
        return "/".join((self.output.rstrip("/"), *parts))


def open_run(output: str) -> BatchRun:
    """The run in a folder, which need not exist."""
    return BatchRun(absolute(output))


def _part(partition: int) -> str:
    return f"part-{partition:05}.parquet"


def _row(name: str, address: str, caption: Caption) -> dict[str, Any]:
    return {
        "name": name, "caption": caption.text, "log_prob": caption.log_prob, "probability": caption.probability,
        "confidence": caption.confidence, "path": address,
        "is_outlier": None if caption.confidence is None else caption.is_outlier,
    }  # fmt: skip


def _update(digest: Any, addresses: Iterable[str]) -> None:
    digest.update("".join(f"{address}\n" for address in addresses).encode())
