"""The caption files of a folder: which files hold captions, which belong together, and what they say together."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from wordgaze.core.errors import CaptionsError
from wordgaze.data.datasets.archives import read_members
from wordgaze.data.datasets.source import Found, Source, is_picture, part_pattern, split_in, without_extension
from wordgaze.data.picture_matching import PictureIndex
from wordgaze.data.readers.captions import (
    ById,
    CaptionContent,
    CaptionRow,
    ColumnNames,
    NoCaptionsError,
    read_references,
    references_of,
)  # fmt: skip
from wordgaze.data.readers.captions.names import SPLITS_BY_NAME
from wordgaze.data.readers.captions.sidecars import SIDECAR_SUFFIXES, sidecar_values
from wordgaze.data.records import Fault

_log = logging.getLogger(__name__)

CAPTION_SUFFIXES = (".csv", ".tsv", ".tab", ".psv", ".jsonl", ".ndjson", ".json", ".parquet", ".token", ".txt")
"""The endings of files that may hold the captions of many images."""

_WORKBOOKS = frozenset({".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"})  # of spreadsheet programs
_OTHER_TEXTS = ("readme", "license", "licence", "notice", "changelog", "requirements", "citation", "copying", "classes")
_OTHER_DOCUMENTS = ("instances_", "person_keypoints_", "panoptic_", "image_info_", "dataset_info", "dataset_dict")
_Part: TypeAlias = tuple[Found, ById[list[str]]]
_STANDARD = "metadata"  # of Hugging Face: one beside the images of each folder
_SHOWN = 3


def read_captions_of(
    source: Source, named: str = "", image_column: str = "", caption_column: str = ""
) -> ById[list[str]]:
    """The captions of all images that the caption files of ``source`` name, with the folder of each caption file.

    ``named`` is a caption file, a folder of them or a pattern such as ``captions_*.json``, absolute or relative to
    ``source``. With "", the files that hold captions are found: one, or several whose names differ only by a split or a
    number, or ``metadata.*`` in several folders; else the texts beside the pictures. Of several, the name of the file
    or of its folder is the split of its images, where no column has it. An id that files in several folders have
    becomes a path with the folder.

    Rows that cannot be used are ``faults``. Raises CaptionsError if no file holds captions, if several do that do not
    belong together, or if a file is broken.
    """
    columns = ColumnNames(image_column, caption_column, "dataset.image_column", "dataset.caption_column")
    if named:
        return _merged(source, [(file, _read(file, columns)) for file in _named(source, named)])
    parts, others = _candidates(source, columns)
    if parts:
        _check_belong_together(source, parts)
        return _merged(source, parts)
    if sidecars := _sidecars(source, columns):
        return sidecars
    tables = [error for file, error in others.items() if file.path.suffix.lower() != ".txt"]
    if len(tables) == 1:
        raise tables[0]
    if workbooks := source.find(lambda path: path.suffix.lower() in _WORKBOOKS):
        raise CaptionsError(f"{workbooks[0].label} is a workbook, which is not read; save its table as CSV (UTF-8)")
    shown = "".join(f"; {error}" for error in list(others.values())[:_SHOWN])
    raise CaptionsError(f"{source.address} has no caption file; set dataset.captions to the right one{shown}")


def _read(file: Found, columns: ColumnNames) -> ById[list[str]]:
    data = file.read() if file.packed else None
    return read_references(file.label, data, columns, strict=False)


def _named(source: Source, named: str) -> list[Found]:
    """The files of ``dataset.captions``. Raises CaptionsError if there are none."""
    path = Path(named).expanduser()
    if path.is_absolute() and path.is_file():
        return [Found(path.parent, PurePosixPath(path.name))]
    wanted = PurePosixPath(path.relative_to(source.address) if path.is_relative_to(source.address) else path)
    tests: Sequence[Callable[[PurePosixPath], bool]] = (
        lambda each: each == wanted,
        lambda each: wanted in each.parents and each.suffix.lower() in CAPTION_SUFFIXES,
        lambda each: each.match(str(wanted)) and each.suffix.lower() in CAPTION_SUFFIXES,
    )
    for test in tests:
        if found := source.find(test):
            return found
    raise CaptionsError(f"dataset.captions is {named}, and {source.address} has no such file")


def _candidates(source: Source, columns: ColumnNames) -> tuple[list[_Part], dict[Found, CaptionsError]]:
    """The files that hold captions, with these, and those that do not, with the reason.

    Raises CaptionsError if a file is broken that seems to belong to the others.
    """
    beside = _beside_pictures(source)
    parts: list[_Part] = []
    others: dict[Found, CaptionsError] = {}
    for file in source.find(lambda path: _may_be_table(path) and not beside(path)):
        try:
            parts.append((file, _read(file, columns)))
        except CaptionsError as error:
            others[file] = error
    patterns = {part_pattern(file.path) for file, _ in parts}
    for file, reason in others.items():
        if not isinstance(reason, NoCaptionsError) and (not parts or part_pattern(file.path) in patterns):
            raise reason
        if parts:
            _log.warning("%s is not read: %s", file.path, reason)
    return parts, others


def _may_be_table(path: PurePosixPath) -> bool:
    name, suffix = path.name.lower(), path.suffix.lower()
    if suffix == ".txt":
        return not name.startswith(_OTHER_TEXTS)
    return suffix in CAPTION_SUFFIXES and not (suffix == ".json" and name.startswith(_OTHER_DOCUMENTS))


def _beside_pictures(source: Source) -> Callable[[PurePosixPath], bool]:
    """A test for files that belong to one picture: ``a.txt`` or ``a.jpg.txt`` beside ``a.jpg``."""
    paths = {file.path for file in source.find(is_picture)}
    keys = paths | {path.with_suffix("") for path in paths}
    return lambda path: path.suffix.lower() in SIDECAR_SUFFIXES and path.with_suffix("") in keys


def _check_belong_together(source: Source, parts: Sequence[_Part]) -> None:
    """Raises CaptionsError if the files are not the parts of one table: numbered ones must have different images."""
    files = [file for file, _ in parts]
    folders = _folders(source, files)
    seen: dict[tuple[PurePosixPath, str, str], Found] = {}
    disjoint = all(
        seen.setdefault((folders[file], split_in(file.path), key), file) == file
        for file, captions in parts
        for key in captions
    )
    same_pattern = len({part_pattern(file.path) for file in files}) == 1
    if disjoint and (same_pattern or all(file.path.stem.lower() == _STANDARD for file in files)):
        return
    shown = ", ".join(str(file.path) for file in files[:_SHOWN]) + ", …" * (len(files) > _SHOWN)
    raise CaptionsError(
        f"{source.address} has {len(files)} possible caption files ({shown}); set dataset.captions to the right one, "
        "or to a pattern such as '*.csv' if they belong together"
    )


def _merged(source: Source, parts: Sequence[_Part]) -> ById[list[str]]:
    """The captions of all files; an id of several folders becomes a path."""
    split_names = {file: split_in(file.path) for file, _ in parts}
    if len(set(split_names.values())) == 1:
        split_names = dict.fromkeys(split_names, "")
    folders = _folders(source, [file for file, _ in parts])
    seen: dict[str, PurePosixPath] = {}
    repeated = {key for file, part in parts for key in part if seen.setdefault(key, folders[file]) != folders[file]}
    merged: ById[list[str]] = ById()
    for file, part in parts:
        folder = folders[file]
        _add(merged, part, {key: str(folder / key) if key in repeated else key for key in part}, split_names[file])
        merged.folders |= {str(folder / key) if key in repeated else key: folder for key in part}
    for aliases in merged.aliases.values():
        for name in [name for name, key in aliases.items() if not key]:
            del aliases[name]
    return merged


def _folders(source: Source, files: Sequence[Found]) -> dict[Found, PurePosixPath]:
    """The folder that the names in each file are relative to: its own, or of several files that of the pictures in a
    Parquet file, and the only folder of pictures with the split in the name of the file."""
    pictures = source.find(is_picture) if len(files) > 1 else []
    archives = {file.place for file in pictures if file.packed}
    of_split: dict[str, list[PurePosixPath]] = {}
    for folder in dict.fromkeys(file.path.parent for file in pictures):
        if split := split_in(folder):
            of_split.setdefault(SPLITS_BY_NAME[split], []).append(folder)
    folders: dict[Found, PurePosixPath] = {}
    for file in files:
        split = split_in(PurePosixPath(file.path.name))
        matching = of_split.get(SPLITS_BY_NAME[split], []) if split else []
        folders[file] = matching[0] if len(matching) == 1 else file.path.parent
        if file.label in archives:
            folders[file] = without_extension(file.path)
    return folders


def _add(merged: ById[list[str]], part: ById[list[str]], names: dict[str, str], split: str) -> None:
    """Adds the captions of a file under new ``names``; ``split`` is that of the images for which it has none."""
    for key, name in names.items():
        merged.setdefault(name, []).extend(part[key])
        merged.places.setdefault(name, part.places[key])
        for of_image, place in (part.splits.get(key) or ({split: part.places[key]} if split else {})).items():
            merged.splits.setdefault(name, {}).setdefault(of_image, place)
    for column, aliases in part.aliases.items():
        known = merged.aliases.setdefault(column, {})
        for alias, key in aliases.items():
            if key in names and known.setdefault(alias, names[key]) != names[key]:
                known[alias] = ""  # a name of different images in two files is the name of none
    merged.faults += part.faults
    merged.layout += [f"{line}, split {split}" if split and not part.splits else line for line in part.layout]


def _sidecars(source: Source, columns: ColumnNames) -> ById[list[str]] | None:
    """The captions in one text for each picture, beside it or in a folder of texts; None if no picture has one."""
    pictures = [file.path for file in source.find(is_picture)]
    texts: dict[PurePosixPath, Found] = {}
    for file in sorted(source.find(_beside_pictures(source)), key=_rank):
        texts.setdefault(file.path.with_suffix(""), file)
    pairs = [(path, texts.get(path) or texts.get(path.with_suffix(""))) for path in pictures]
    of_picture = {path: text for path, text in pairs if text is not None} or _texts_elsewhere(source, pictures)
    if not of_picture:
        return None
    rows: list[CaptionRow] = []
    content = CaptionContent("a text for each picture", Path(source.address), ": {}", rows, image="image")
    data = _read_all([*of_picture.values()])
    for number, (path, text) in enumerate(of_picture.items()):
        try:
            rows.append(CaptionRow(number, {**sidecar_values(text.label, data[text]), "image": str(path)}))
        except CaptionsError as error:
            content.faults.append(Fault(str(text.label), str(error).removeprefix(f"{text.label} ")))
    captions = references_of(content, columns, strict=False)
    captions.places = {key: str(of_picture[PurePosixPath(key)].label) for key in captions}
    names = {key: split_in(PurePosixPath(key).parent) for key in captions}
    if len(set(names.values())) > 1:
        captions.splits = {key: {name: captions.places[key]} for key, name in names.items() if name} | captions.splits
    return captions


def _texts_elsewhere(source: Source, pictures: Sequence[PurePosixPath]) -> dict[PurePosixPath, Found]:
    """The texts that are named like pictures in other folders, by picture: ``texts/a.txt`` of ``images/a.jpg``."""
    index = PictureIndex(pictures)
    found: dict[PurePosixPath, Found] = {}
    for file in sorted(source.find(lambda path: path.suffix.lower() in SIDECAR_SUFFIXES), key=_rank):
        match = index.match(str(file.path.with_suffix("")))
        if match is not None and not match.is_by_number:
            found.setdefault(match.path, file)
    return found


def _rank(file: Found) -> int:
    return SIDECAR_SUFFIXES.index(file.path.suffix.lower())


def _read_all(files: Sequence[Found]) -> dict[Found, bytes]:
    """The bytes of many small files; an archive is read once."""
    data = {file: file.read() for file in files if not file.packed}
    by_archive: dict[Path, dict[str, Found]] = {}
    for file in files:
        if file.packed:
            by_archive.setdefault(file.place, {})[file.name_in_archive] = file
    for archive, wanted in by_archive.items():
        for name, read in read_members(archive, wanted.keys()):
            data[wanted[name]] = read()
    return data
