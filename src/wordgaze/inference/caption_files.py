"""Captions for image files, with tables that can be resumed, sidecars, and a sheet of attention per image."""

import logging
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from wordgaze.core.errors import DataError, ImageError
from wordgaze.core.files import atomic_write, check_output, check_output_folder, fingerprint, sha256
from wordgaze.core.printable import escaped
from wordgaze.core.progress import Report, counter
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.attention_maps import attention_sheet
from wordgaze.inference.caption_template import CaptionTemplate, required_confidence
from wordgaze.inference.captioned import CaptionedImage, ImageSource
from wordgaze.inference.companions import Companion, Companions, check_replaceable, errors_of_one_image
from wordgaze.inference.journal import Journal, open_journal
from wordgaze.inference.outliers import warn_of_outliers
from wordgaze.inference.runtimes import load_runtime, model_files
from wordgaze.inference.sidecar import Sidecar
from wordgaze.inference.table import FILE_COLUMNS, Row, check_table, unique_names, write_table
from wordgaze.vision.decoding_process import decode_safely
from wordgaze.vision.image_files import FoundImage, ImageFile, ImageFiles

_log = logging.getLogger(__name__)

SHEET_ENDINGS = (".png", ".jpg", ".jpeg")
UNSURE = "unsure"
"""The answer in place of a caption whose confidence is too low."""


@dataclass(frozen=True)
class FileOutputs:
    """What :func:`caption_files` writes.

    ``tables`` hold one row per caption, as in :func:`wordgaze.inference.table.write_table`, and one with the error for
    an image that could not be captioned. Until they are complete the rows are in ``TABLE.part`` beside the first of
    them. With ``resume``, a run that was interrupted continues from that
    file if captioners, settings and seed are the same; images that are done and unchanged are not captioned again.

    ``sidecars`` are files beside each image and ``embed`` is a folder for copies with the caption as description. They
    hold the first caption, and what exists is kept unless ``overwrite``. An image for which nothing but these was to be
    written, and all of them exist, is not captioned.

    ``attention`` is the sheet of the first caption: a ``.png`` or ``.jpg`` file for one image, else a folder with one
    sheet per image.

    ``template`` is filled wherever a caption is given or written. A caption whose confidence is below
    ``min_confidence`` is empty in a table, and no companion is written for an image whose first caption is.
    """

    tables: tuple[Path, ...] = ()
    sidecars: tuple[Sidecar, ...] = ()
    embed: Path | None = None
    attention: Path | None = None
    template: CaptionTemplate = field(default_factory=CaptionTemplate)
    min_confidence: float | None = None
    overwrite: bool = False
    resume: bool = True

    @property
    def folders(self) -> dict[str, Path]:
        """The folders that are written to, by option."""
        folders = {"--embed": self.embed}
        if self.attention is not None and self.is_sheet_folder:
            folders["--attention"] = self.attention
        return {option: folder for option, folder in folders.items() if folder is not None}

    @property
    def is_sheet_folder(self) -> bool:
        """Whether ``attention`` is a folder for several images."""
        return self.attention is not None and (not self.attention.suffix or self.attention.is_dir())


class CaptionedFile(NamedTuple):
    """The rows of one image, one per caption, best first; or ``error`` and no rows."""

    path: Path | None
    rows: tuple[Row, ...]
    error: DataError | None = None


def caption_files(
    files: ImageFiles,
    folders: Sequence[Path],
    generation_config: GenerationConfig,
    outputs: FileOutputs | None = None,
    seed: int = 0,
) -> Iterator[CaptionedFile]:
    """Captions image files with the captioners in ``folders``, which form an ensemble if there are several.

    Yields one result per image, in order, except for images that an earlier run has done. An image that cannot be
    opened, or whose companions cannot be written, yields its error, which is in the tables too. One image per core is
    held in memory, or one batch of images where sheets of attention are written. Shows its progress if there are
    several images. At the end one warning says which image, or how many, are unlike those of the training.

    Raises ImageError for a path that does not exist and for an unusable ``attention`` or ``embed``, CaptionsError for
    an unusable table, ModelError for a folder without a captioner and for a confidence that the captioner lacks, and
    OSError where nothing can be written any more. What was captioned until then is kept.
    """
    outputs = outputs or FileOutputs()
    files = replace(files, skip=frozenset(folder.resolve() for folder in outputs.folders.values()))
    _check(outputs, files)
    runtime = load_runtime(folders, generation_config, seed, files.total)
    key = _key(folders, generation_config, seed, outputs)
    with ExitStack() as stack:
        journal = None
        if outputs.tables:
            journal = stack.enter_context(open_journal(outputs.tables[0], key, outputs.resume))
            if len(journal):
                _log.info("%s: continuing; %d images are done", journal.path, len(journal))
        report = None if files.total == 1 else stack.enter_context(counter("caption"))
        run = _Run(files, outputs, journal, report)
        with_images = outputs.attention is not None  # a sheet needs the image itself
        for result in runtime.captions(run.images(), with_images):
            yield run.finish(result)
        if journal is not None:
            names = unique_names(row.path for row in journal.rows(run.written()))
            for table in outputs.tables:
                rows = (replace(row, name=names(row.path)) for row in journal.rows(run.written()))
                write_table(rows, table, FILE_COLUMNS)
        run.log_kept()
        run.log_outliers(folders[0])


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


class _Job(NamedTuple):
    """An image that is being captioned: its place in the tables, its id in the journal, and what is to be written."""

    number: int
    id: str
    image: ImageFile | None
    companions: list[Companion]
    sheet: Path | None = None


_NOT_DONE = -1


class _Run:
    """Finds images as they are needed, and writes what belongs to each as soon as it is captioned."""

    def __init__(self, files: ImageFiles, outputs: FileOutputs, journal: Journal | None, report: Report | None) -> None:
        self._files, self._outputs, self._journal, self._report = files, outputs, journal, report
        self._companions = Companions(outputs.sidecars, outputs.embed, outputs.overwrite)
        self._jobs: deque[_Job] = deque()
        self._positions = array("q")  # the place of each image in the journal: 8 bytes instead of its path
        self._num_finished = self._num_captioned = 0
        self._outlier, self._num_outliers = "", 0  # the first one, and how many there are

    def images(self) -> Iterator[ImageSource]:
        """The images that are to be captioned, in order; each has a job."""
        for number, found in enumerate(self._files):
            self._positions.append(_NOT_DONE)
            image = self._prepared(number, found)
            if image is None:
                self._count()
            else:
                yield image

    def finish(self, result: CaptionedImage) -> CaptionedFile:
        """Writes what belongs to the image of the oldest job."""
        job = self._jobs.popleft()
        self._count()
        if job.image is None:
            return CaptionedFile(None, (), result.error)
        path = job.image.path
        if result.error is not None:
            return self._failed(job, path, result.error)
        rows = tuple(self._row(path, caption) for caption in result.captions)
        try:
            if job.sheet is not None:
                _save_sheet(job.sheet, result)
            if not is_unsure(rows[0], self._outputs.min_confidence):
                for companion in job.companions:
                    self._companions.write(companion, path, rows[0].caption)
        except ImageError as error:
            return self._failed(job, path, error)
        if self._journal is not None:
            self._positions[job.number] = self._journal.add(job.id, rows)
        self._num_captioned += 1
        if result.captions[0].is_outlier:
            self._num_outliers += 1
            self._outlier = self._outlier or escaped(path)
        return CaptionedFile(path, rows)

    def _failed(self, job: _Job, path: Path, error: DataError) -> CaptionedFile:
        """The result of an image that could not be captioned, which has a row with the error in the tables."""
        if self._journal is not None:
            row = Row(escaped(path.name), error=escaped(str(error)), path=escaped(path))
            self._positions[job.number] = self._journal.add(job.id, [row], is_done=False)
        return CaptionedFile(path, (), error)

    def written(self) -> Iterator[int]:
        """The positions in the journal of the images that have rows, in the order of the images."""
        return (position for position in self._positions if position != _NOT_DONE)

    def log_kept(self) -> None:
        """Says how many files were left as they were."""
        if kept := self._companions.kept:
            _log.info("texts, descriptions and copies that exist and were kept: %d; --overwrite replaces them", kept)

    def log_outliers(self, folder: Path) -> None:
        """Warns of the images that are unlike those that the captioner in ``folder`` was trained on."""
        if self._num_outliers:
            from wordgaze.inference.captioner_folder import read_card  # needs PyTorch, which such a captioner has

            warn_of_outliers(self._outlier, self._num_outliers, self._num_captioned, read_card(folder).dataset)

    def _prepared(self, number: int, found: FoundImage) -> ImageSource | None:
        """What opens the image, or its error. None where nothing is to be done."""
        if isinstance(found, ImageError):
            return self._start(_Job(number, "", None, []), found)
        name = _id(found.path)
        companions = self._companions.of(found)  # also for an image that is done: the names of others depend on them
        sheet = self._sheet(found)
        if self._journal is not None and (position := self._journal.position(name)) is not None:
            self._positions[number] = position
            return None
        try:
            missing = self._companions.missing(companions, found.path)
            if companions and not missing and self._journal is None and sheet is None:
                return None
            if sheet is not None:
                with errors_of_one_image(sheet):
                    check_replaceable(sheet, found.path)
        except DataError as error:
            return self._start(_Job(number, name, found, []), error)
        return self._start(_Job(number, name, found, missing, sheet), partial(decode_safely, found.path))

    def _start(self, job: _Job, source: ImageSource) -> ImageSource:
        self._jobs.append(job)
        return source

    def _sheet(self, image: ImageFile) -> Path | None:
        if self._outputs.attention is None or not self._outputs.is_sheet_folder:
            return self._outputs.attention
        return self._companions.free_path((self._outputs.attention / image.name).with_suffix(".png"))

    def _row(self, path: Path, caption: Caption) -> Row:
        text = self._outputs.template.fill(caption, path)
        row = Row(
            escaped(path.name), text, caption.log_prob, caption.probability,
            confidence=caption.confidence, path=escaped(path), naming=caption.naming,
            is_outlier=None if caption.confidence is None else caption.is_outlier,
        )  # fmt: skip
        if self._outputs.min_confidence is not None:
            required_confidence(caption, "--min-confidence")
        return replace(row, caption="") if is_unsure(row, self._outputs.min_confidence) else row

    def _count(self) -> None:
        self._num_finished += 1
        if self._report is not None:
            self._report(self._num_finished, self._files.total)


def is_unsure(row: Row, min_confidence: float | None) -> bool:
    """Whether the confidence of a caption is too low to give it."""
    return min_confidence is not None and row.confidence is not None and row.confidence < min_confidence


def _check(outputs: FileOutputs, files: ImageFiles) -> None:
    """Raises an error for outputs that cannot be written, before any work."""
    for table in outputs.tables:
        check_table(table)
        check_output(table, "--output")
    total = files.total
    for option, folder in outputs.folders.items():
        check_output_folder(folder, option)
        for path in files.paths:
            if path.is_dir() and path.resolve() == folder.resolve():
                raise ImageError(f"{folder} is the folder of the images; give {option} another one")
    if outputs.attention is None or outputs.is_sheet_folder:
        return
    check_sheet(outputs.attention, "--attention")
    check_output(outputs.attention, "--attention")
    if total != 1:
        many = "several" if total is None else total
        raise ImageError(
            f"{outputs.attention} is one file, and there are {many} pictures; give --attention the name of a folder"
        )
    check_inputs_are_kept([outputs.attention], [each.path for each in files if isinstance(each, ImageFile)])


def _id(path: Path) -> str:
    """What identifies a file in the journal: a changed file is captioned again."""
    try:
        status = path.stat()
    except OSError:  # it was deleted in the meantime, which is reported when it is opened
        return f"{path}\n"
    return f"{path}\n{status.st_size} {status.st_mtime_ns}"


def _key(folders: Sequence[Path], generation_config: GenerationConfig, seed: int, outputs: FileOutputs) -> str:
    """The fingerprint of everything, besides the images, that the rows and the other files depend on."""
    checksums = [[sha256(file) for file in model_files(folder)] for folder in folders]
    written = {
        "attention": None if outputs.attention is None else str(outputs.attention),
        "embed": None if outputs.embed is None else str(outputs.embed),
        "sidecars": sorted(outputs.sidecars),
        "template": outputs.template.text,
        "min_confidence": outputs.min_confidence,
    }
    return fingerprint(checksums, generation_config.model_dump(mode="json"), seed, written)


def _save_sheet(path: Path, result: CaptionedImage) -> None:
    assert result.image is not None
    with errors_of_one_image(path), atomic_write(path) as temporary:
        attention_sheet(result.image, result.captions[0]).save(temporary)
