"""What is watched of a captioner in use: its captions, their confidence, and what its encoder sees in the images."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wordgaze.core.errors import CaptionsError, DataError, ImageError, ModelError
from wordgaze.core.files import fingerprint, missing_file_remedy, sha256, write_json
from wordgaze.core.progress import track
from wordgaze.core.tables import unguard_formula
from wordgaze.generation.image_statistics import ImageStatistics
from wordgaze.generation.outputs import Caption
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.folder_names import WEIGHTS
from wordgaze.metrics.base import Floats
from wordgaze.vision.image_files import find_images
from wordgaze.vision.images import load_image

_BATCH = 16
MAX_REFERENCE = 1_000
"""The most images of a reference."""

LOG_ENDINGS = (".jsonl", ".log", ".csv", ".parquet")
"""The tables of ``wordgaze caption``, and the log of ``wordgaze serve``, which has JSON lines too."""


@dataclass(frozen=True)
class Observations:
    """One caption per image in its text; ``confidence`` has those that are known.

    ``embeddings`` (N, K + 1) are the coordinates of the images among the training images, and last their distance from
    what these span; None where there are no images, as in a log. ``names`` are those of the images, "" in a log of the
    server. ``unread`` are the errors of images that could not be opened.
    """

    captions: tuple[str, ...]
    confidence: tuple[float, ...]
    embeddings: Floats | None = None
    names: tuple[str, ...] = ()
    unread: tuple[str, ...] = field(default=())


def statistics_of(captioner: Captioner) -> ImageStatistics:
    """The captioner's statistics of its training images. Raises ModelError for one that was trained without them."""
    if captioner.parts.confidence is None:
        raise ModelError(
            "this captioner has no statistics of its training images, so that nothing can be compared with them; train "
            "it again with this version of wordgaze, or give --model another"
        )
    return captioner.parts.confidence.images


def observe_pictures(captioner: Captioner, paths: Sequence[Path], names: Sequence[str] = ()) -> Observations:
    """Captions images by the captioner's own settings. An image that cannot be opened is left out and counted."""
    captions: list[Caption] = []
    means, kept, unread = [], [], []
    shown = list(names) or [str(path) for path in paths]
    statistics = statistics_of(captioner)
    for start in track(range(0, len(paths), _BATCH), "look at images"):
        images, batch = [], []
        for path, name in zip(paths[start : start + _BATCH], shown[start : start + _BATCH], strict=True):
            try:
                images.append(load_image(path))
                batch.append(name)
            except ImageError as error:
                unread.append(str(error))
        if not images:
            continue
        features = captioner.features(images)
        found = captioner.generate(features, captioner.generation_config, batch, seed=0)
        captions += [best for best, *_ in found]
        means.append(features.float().mean(1).cpu())
        kept += batch
    embeddings = _embed(statistics, torch.cat(means)) if means else None
    return _observed(captions, embeddings, tuple(kept), tuple(unread))


def _observed(
    captions: Sequence[Caption], embeddings: Floats | None, names: tuple[str, ...], unread: tuple[str, ...]
) -> Observations:
    confidence = tuple(each.confidence for each in captions if each.confidence is not None)
    return Observations(tuple(each.text for each in captions), confidence, embeddings, names, unread)


def _embed(statistics: ImageStatistics, means: torch.Tensor) -> Floats:
    coordinates, distances = statistics.project(means)
    joined: Floats = torch.cat([coordinates, distances[:, None]], 1).double().numpy()
    return joined


def reference_observations(
    captioner: Captioner, folder: Path, images: Sequence[Path], names: Sequence[str], cache: Path
) -> Observations:
    """The captioner on images that it was not trained on: what it is like where nothing has drifted.

    At most ``MAX_REFERENCE`` images are taken, from all over the list. The result is kept in ``cache``, under the
    weights in the captioner's ``folder``, its settings and the files.
    """
    step = math.ceil(len(images) / MAX_REFERENCE) or 1
    chosen, shown = list(images)[::step], list(names)[::step]
    files = [[name, sha256(path) if path.exists() else ""] for name, path in zip(shown, chosen, strict=True)]
    key = fingerprint(sha256(folder / WEIGHTS), captioner.generation_config.model_dump(mode="json"), files)
    path = cache / f"{key}.json"
    if path.is_file() and (stored := _read_reference(path)):
        return stored
    observed = observe_pictures(captioner, chosen, shown)
    if observed.captions:
        _write_reference(path, observed)
    return observed


def _write_reference(path: Path, observed: Observations) -> None:
    assert observed.embeddings is not None
    values = {"captions": observed.captions, "confidence": observed.confidence, "names": observed.names}
    write_json(path, values | {"embeddings": observed.embeddings.tolist()})


def _read_reference(path: Path) -> Observations | None:
    """None for a file that is not whole, which is then written again."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        embeddings = np.array(values["embeddings"], dtype=np.float64)
        return Observations(tuple(values["captions"]), tuple(values["confidence"]), embeddings, tuple(values["names"]))
    except (ValueError, KeyError, TypeError):
        return None


def observe(source: Path, captioner: Captioner) -> Observations:
    """Today's captions: of the images of a folder, or from a table or a log.

    Raises ImageError for a folder without images, and CaptionsError for a file without captions.
    """
    if source.is_dir():
        paths = sorted(find_images([source]))
        return observe_pictures(captioner, paths, [path.relative_to(source).as_posix() for path in paths])
    return read_log(source)


def read_log(path: Path) -> Observations:
    """The captions of a table of ``wordgaze caption`` or of the server's JSON lines, one per image: its best.

    Lines of other events, rows with an error and rows without a caption are left out.
    """
    captions, confidence, names = [], [], []
    seen: set[str] = set()
    for row in _rows(path):
        caption = row.get("caption")
        name = str(row.get("path") or row.get("name") or "")
        if not isinstance(caption, str) or not caption or row.get("error") or name in seen:
            continue
        if name:  # of several captions the first is the best
            seen.add(name)
        captions.append(caption)
        names.append(name)
        if (value := _number(row.get("confidence"))) is not None:
            confidence.append(value)
    if not captions:
        raise CaptionsError(
            f"{path} has no captions; give a table of wordgaze caption, the log of wordgaze serve, or a folder of"
            " images"
        )
    return Observations(tuple(captions), tuple(confidence), None, tuple(names))


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    ending = path.suffix.lower()
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder; {missing_file_remedy(path)}")
    if ending not in LOG_ENDINGS:
        raise CaptionsError(f"{path} is not a valid log; give a folder of images, or a file {', '.join(LOG_ENDINGS)}")
    try:
        if ending == ".parquet":
            from pyarrow import parquet

            yield from parquet.read_table(path).to_pylist()
        elif ending == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                for row in csv.DictReader(file):
                    yield {name: unguard_formula(value or "") for name, value in row.items() if isinstance(name, str)}
        else:
            yield from _json_lines(path)
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's errors and UnicodeDecodeError are ValueErrors
        raise CaptionsError(f"{path} cannot be read ({' '.join(str(error).split())}); write it again") from error


def _json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """The objects of the lines; a log may have other lines, and be cut off at its end."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and row.get("event", "caption") == "caption":
                yield row


def _number(value: object) -> float | None:
    """A finite number in 0…1; a CSV has it as text."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if 0 <= number <= 1 else None
