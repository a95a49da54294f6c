"""Captions for image files, with a table that can be resumed and a sheet of attention per image."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from math import exp
from pathlib import Path

from wordgaze.core.errors import DataError, ImageError
from wordgaze.core.files import atomic_write, fingerprint, sha256
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.attention_maps import attention_sheet
from wordgaze.inference.caption_stream import CaptionedImage, NamedImage, caption_stream
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.captioner_folder import CARD, WEIGHTS
from wordgaze.inference.journal import Journal, open_journal
from wordgaze.inference.table import Row, check_table, write_table
from wordgaze.vision.images import find_images, load_image

_log = logging.getLogger(__name__)

SHEET_ENDINGS = (".png", ".jpg", ".jpeg")


def caption_files(
    pictures: Iterable[Path],
    folders: Sequence[Path],
    generation_config: GenerationConfig,
    *,
    attention: Path | None = None,
    output: Path | None = None,
    seed: int = 0,
    resume: bool = True,
) -> Iterator[CaptionedImage]:
    """Captions image files with the captioners in ``folders``, which form an ensemble if there are several.

    Yields one result per image, in order, whose name is the path. An image that cannot be opened yields its error and
    is left out of the table. At most one batch of images is held in memory.

    ``attention`` is the sheet of the first caption: a ``.png`` or ``.jpg`` file for one image, else a folder with one
    sheet per image. ``output`` is a table with one row per caption, as in
    :func:`wordgaze.inference.table.write_table`. Its rows are kept in ``OUTPUT.part`` until the table is complete.
    With ``resume``, a run that was interrupted continues from that file if captioners, settings and seed are the same;
    images that are done and unchanged are neither captioned nor yielded again.

    Raises ImageError for a path that does not exist and for an unusable ``attention``, such as one that would replace
    an image, CaptionsError for an unusable ``output``, and ModelError for a folder without a captioner.
    """
    paths = find_images(pictures)
    sheets = _sheet_paths(attention, paths)
    check_inputs_are_kept(sheets, paths)
    if output is not None:
        check_table(output)
    captioners = [Captioner.load(folder) for folder in folders]
    ids = _ids(paths)
    key = _key(folders, generation_config, seed, attention)
    with nullcontext() if output is None else open_journal(output, key, resume) as journal:
        pending = _pending(ids, journal)
        results = caption_stream(captioners, (_open(paths[n]) for n in pending), generation_config, seed=seed)
        for n, result in zip(pending, results, strict=True):
            if result.image is not None:
                if attention is not None:
                    _save_sheet(sheets[n], result)
                if journal is not None:
                    journal.add(ids[n], _rows(result))
            yield result
        if output is not None and journal is not None:
            write_table(journal.rows(ids), output)


def check_sheet(path: Path, option: str) -> None:
    """Raises ImageError when a sheet cannot be written under this name."""
    if path.suffix.lower() not in SHEET_ENDINGS:
        raise ImageError(f"{path} is not a valid picture name; give {option} a name that ends with .png or .jpg")


def check_inputs_are_kept(outputs: Iterable[Path], pictures: Iterable[Path]) -> None:
    """Raises ImageError when an output would replace an image that is read."""
    read = {path.resolve(): path for path in pictures}
    for output in outputs:
        if output.resolve() in read:
            raise ImageError(f"{read[output.resolve()]} would be overwritten; choose another name for the output")


def _sheet_paths(attention: Path | None, paths: Sequence[Path]) -> list[Path]:
    """The sheet of each image: the file itself, or one file per image in the folder."""
    if attention is None:
        return []
    if not attention.suffix or attention.is_dir():
        names = [path.stem for path in paths]
        if len(set(names)) < len(names):  # files of different folders
            names = [f"{n}-{name}" for n, name in enumerate(names, start=1)]
        return [attention / f"{name}.png" for name in names]
    check_sheet(attention, "--attention")
    if len(paths) > 1:
        raise ImageError(
            f"{attention} is one file, and there are {len(paths)} pictures; give --attention the name of a folder"
        )
    return [attention]


def _ids(paths: Sequence[Path]) -> list[str]:
    """What identifies each file in the journal: a changed file is captioned again. A path may occur twice."""
    seen: Counter[Path] = Counter()
    ids = []
    for path in paths:
        seen[path] += 1
        try:
            status = path.stat()
            size, modified = status.st_size, status.st_mtime_ns
        except OSError:  # it was deleted in the meantime, which is reported when it is opened
            size = modified = 0
        ids.append(f"{path}\n{size} {modified} {seen[path]}")
    return ids


def _key(folders: Sequence[Path], generation_config: GenerationConfig, seed: int, attention: Path | None) -> str:
    """The fingerprint of everything, besides the images, that the rows and the sheets depend on."""
    checksums = [[sha256(folder / name) for name in (CARD, WEIGHTS)] for folder in folders]
    sheets = None if attention is None else str(attention)
    return fingerprint(checksums, generation_config.model_dump(mode="json"), seed, sheets)


def _pending(ids: Sequence[str], journal: Journal | None) -> list[int]:
    """The positions of the images that are not in the journal."""
    pending = [n for n, image in enumerate(ids) if journal is None or image not in journal]
    if journal is not None and len(pending) < len(ids):
        _log.info("%s: continuing; %d of %d images are done", journal.path, len(ids) - len(pending), len(ids))
    return pending


def _open(path: Path) -> NamedImage:
    name = os.fsencode(path).decode(errors="replace")  # no table and no terminal takes a name that is not UTF-8
    try:
        return NamedImage(name, load_image(path))
    except DataError as error:
        return NamedImage(name, error)


def _rows(result: CaptionedImage) -> Iterator[Row]:
    name = Path(result.name).name
    return (Row(name, caption.text, caption.log_prob, exp(caption.log_prob)) for caption in result.captions)


def _save_sheet(path: Path, result: CaptionedImage) -> None:
    assert result.image is not None
    with atomic_write(path) as temporary:
        attention_sheet(result.image, result.captions[0]).save(temporary)
