"""What a worker does, whichever engine runs it: load the captioner once, and caption a partition."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wordgaze.batch.images import read_ahead
from wordgaze.batch.run import BatchRun, ImageOutcome, PartitionCounts, RunCard
from wordgaze.core import errors
from wordgaze.core.errors import DistributedError, ModelError, WordgazeError
from wordgaze.core.files import fingerprint, sha256
from wordgaze.core.leftovers import temporary_folder
from wordgaze.core.printable import printable
from wordgaze.inference.folder_names import is_exported
from wordgaze.inference.runtimes import model_files

if TYPE_CHECKING:
    from wordgaze.inference.captioner import Captioner

CaptionerFiles = Mapping[str, bytes]
"""The files of a captioner folder by name, as they travel to the workers."""

_OWN_ERROR = re.compile(r"wordgaze\.core\.errors\.(?P<name>\w+): (?P<message>.+)")

_loaded: dict[str, "Captioner"] = {}


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs besides the captioner's files."""

    output: str
    card: RunCard


def captioner_checksum(folder: Path) -> str:
    """The checksum of everything in a captioner folder that its captions depend on.

    Raises ModelError for an exported captioner, which runs without PyTorch and in this process alone.
    """
    if is_exported(folder):
        raise ModelError(f"{folder} is an exported captioner; give --model the captioner folder that it was made from")
    try:
        return fingerprint([sha256(file) for file in model_files(folder)])
    except FileNotFoundError as error:
        raise ModelError(f"{folder} holds no captioner ({error.filename} is missing); give another --model") from error


def captioner_files(folder: Path) -> CaptionerFiles:
    """The files of a captioner folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def worker_captioner(checksum: str, files: Callable[[], CaptionerFiles]) -> "Captioner":
    """The captioner with this checksum. A process loads it once, from files that are written to a temporary folder."""
    from wordgaze.inference.captioner import Captioner

    if checksum not in _loaded:
        with temporary_folder() as folder:
            for name, data in files().items():
                (folder / name).write_bytes(data)
            _loaded[checksum] = Captioner.load(folder)
    return _loaded[checksum]


def engine_error(error: Exception, engine: str) -> WordgazeError:
    """What to raise for an engine's error: the error of wordgaze that ended a worker, which is in the worker's
    traceback, or that the engine gave up."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [found for line in lines if (found := _OWN_ERROR.search(line))]
    if own and (kind := getattr(errors, own[-1]["name"], None)):
        raised: WordgazeError = kind(own[-1]["message"])
        return raised
    reason = lines[-1] if engine == "Ray" else lines[0]  # where each says it
    return DistributedError(f"{engine} gave up ({printable(reason):.300}); run the same command to continue")


def limit_threads(threads: int) -> None:
    """Lets PyTorch compute with so many threads: a machine has as many workers as its cores feed."""
    import torch

    torch.set_num_threads(threads)


def caption_partition(partition: int, captioner: "Captioner", settings: WorkerSettings) -> PartitionCounts:
    """Captions the images of a partition and writes its files, with what opens and encodes them in threads."""
    from wordgaze.inference.encode_ahead import caption_ahead

    run, card = BatchRun(settings.output), settings.card
    addresses = run.addresses(partition)
    results = caption_ahead([captioner], read_ahead(addresses), card.generation, card.seed)
    outcomes = (
        ImageOutcome.of(address, result.captions if result.error is None else result.error)
        for address, result in zip(addresses, results, strict=True)
    )
    return run.write(partition, outcomes)
