"""Which columns or keys of a file name the image, its split and its captions."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from wordgaze.data.readers.captions.content import CaptionContent, CaptionRow, ColumnNames, NoCaptionsError
from wordgaze.data.readers.captions.names import (
    CAPTION_NAMES,
    IMAGE_NAMES,
    PICTURE_KEYS,
    SEVERAL_NAMES,
    SPLIT_NAMES,
    SPLITS_BY_NAME,
    canonical,
    is_id,
    is_missing,
    is_number,
    is_picture_name,
    position,
    wide_base,
)  # fmt: skip

_SAMPLE = 1000  # rows whose values are inspected
_MOST = 0.5  # fraction of the values of a column that decides what the column is
_SHOWN = 12


class Columns(NamedTuple):
    """The columns to read. A row takes the first of ``image`` and the first group of ``captions`` that it has."""

    image: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...]
    split: str
    aliases: tuple[str, ...]
    guessed: bool = False

    def __str__(self) -> str:
        captions = " or ".join(", ".join(group) for group in self.captions[:1])
        split = f", splits in {self.split}" if self.split else ""
        return f"images in {self.image[0]}, captions in {captions}{split}"


class _Sample(NamedTuple):
    """The values that are not missing in the first rows, by column."""

    values: dict[str, list[Any]]

    def share(self, column: str, test: Callable[[Any], bool]) -> float:
        values = self.values[column]
        return sum(map(test, values)) / len(values) if values else 0.0


def choose_columns(content: CaptionContent, wanted: ColumnNames, several: bool) -> Columns:
    """Chooses by the names of the columns, then by their values; with ``several``, columns of lists come first.

    Raises NoCaptionsError, which names the columns and the option that names one, if there is no such column or if
    several are equally likely.
    """
    sample = _sample(content.rows)
    image = _image(sample, wanted, content)
    split = _split(sample, {*image, wanted.caption})
    captions, guessed = _captions(sample, wanted, several, {*image, split}, content)
    used = {split, *(column for group in captions for column in group)}
    aliases = [
        column
        for column in sample.values
        if column not in used and column not in image[:1] and _may_name_images(sample, column)
    ]
    return Columns(image, captions, split, tuple(aliases), guessed)


def finest(content: CaptionContent, columns: Columns) -> Columns:
    """The columns with another image column, if images that differ in it have the same value in the first.

    The file names of images in several folders are not unique, while their paths or their numbers are.
    """
    first = columns.image[0]
    for other in columns.aliases:
        if canonical(other) in PICTURE_KEYS and _is_finer(content.rows, first, other):
            aliases = (*(name for name in columns.aliases if name != other), first)
            return finest(content, columns._replace(image=(other, *columns.image[1:]), aliases=aliases))
    return columns


def _is_finer(rows: Iterable[CaptionRow], column: str, other: str) -> bool:
    """Whether every value of ``other`` has one value of ``column``, but not the other way round.

    Numbers of which each row has its own are those of captions.
    """
    of_other: dict[str, str] = {}
    of_column: dict[str, str] = {}
    finer = is_of_image = False
    for _, values in rows:
        one, two = values.get(column), values.get(other)
        if not is_id(one) or not is_id(two):
            continue
        is_of_image |= str(two) in of_other or is_picture_name(two)
        if of_other.setdefault(str(two), str(one)) != str(one):
            return False
        finer |= of_column.setdefault(str(one), str(two)) != str(two)
    return finer and is_of_image


def _sample(rows: Sequence[CaptionRow]) -> _Sample:
    values: dict[str, list[Any]] = defaultdict(list)
    for row in rows[:_SAMPLE]:
        for column, value in row.values.items():
            of_column = values[column]
            if not is_missing(value):
                of_column.append(value)
    return _Sample(values)


def _image(sample: _Sample, wanted: ColumnNames, content: CaptionContent) -> tuple[str, ...]:
    """The image columns in the order of preference: the only one in a table; JSON objects may have different keys."""
    if wanted.image:
        return _named(sample, wanted.image, wanted.image_option, content.path)
    if content.image in sample.values:
        return (content.image,)
    pictures = [name for name in sample.values if sample.share(name, is_picture_name) > _MOST]
    known = [name for name in sample.values if _is_known(name, IMAGE_NAMES) and sample.share(name, is_id) > _MOST]
    others = [name for name in pictures if not _is_known(name, (*CAPTION_NAMES, *SEVERAL_NAMES))]
    pictures = others if others or known else pictures
    if len(pictures) > 1 and not set(pictures) & set(known) and _differ(sample, pictures):
        advice = _advice("the right one", wanted.image_option)
        raise NoCaptionsError(f"{content.path}: the columns {_listed(pictures)} name different images{advice}")
    ordered = sorted(pictures, key=lambda name: (-_distinct(sample, name), position(name, IMAGE_NAMES)))
    ordered += sorted((name for name in known if name not in pictures), key=lambda name: position(name, IMAGE_NAMES))
    ordered = ordered or [name for name in sample.values if _is_known(name, IMAGE_NAMES)]
    if not ordered:
        advice = _advice("the column that names the images", wanted.image_option)
        raise NoCaptionsError(f"{content.path} has no column of images among {_listed(sample.values)}{advice}")
    return tuple(ordered)


def _distinct(sample: _Sample, column: str) -> int:
    return len(set(map(str, sample.values[column])))


def _differ(sample: _Sample, columns: Sequence[str]) -> bool:
    """Whether columns name different pictures in a row, rather than one by its name and by its path."""
    stems = [[PurePosixPath(str(value).replace("\\", "/")).stem for value in sample.values[name]] for name in columns]
    return any(one != stems[0] for one in stems)


def _split(sample: _Sample, used: set[str]) -> str:
    """The column called so, or the one, whatever it is called, that has the names of several splits and nothing
    else."""
    values = {name: {str(value).strip().casefold() for value in sample.values[name]} for name in sample.values}
    named = {name for name in values if values[name] and values[name] <= SPLITS_BY_NAME.keys()}
    used = used | {name for name in values if _is_known(name, (*CAPTION_NAMES, *SEVERAL_NAMES)) or wide_base(name)}
    for known in SPLIT_NAMES:
        for column in values:
            if canonical(column) == known and (known == "split" or column in named):
                return column
    others = [name for name in values if name in named - used and len({SPLITS_BY_NAME[v] for v in values[name]}) > 1]
    return others[0] if len(others) == 1 else ""


def _captions(
    sample: _Sample, wanted: ColumnNames, several: bool, used: set[str], content: CaptionContent
) -> tuple[tuple[tuple[str, ...], ...], bool]:
    """The groups of caption columns, and whether they were chosen by their values only."""
    if wanted.caption:
        return (_named(sample, wanted.caption, wanted.caption_option, content.path),), False
    if content.caption:
        return ((content.caption,),), False
    first, second = (SEVERAL_NAMES, CAPTION_NAMES) if several else (CAPTION_NAMES, SEVERAL_NAMES)
    free = [name for name in sample.values if name not in used]
    texts = [name for name in free if sample.values[name] and sample.share(name, is_number) < 1]
    candidates = texts + [name for name in free if name not in texts]
    groups: dict[str, list[str]] = {}
    for name in candidates:
        base = wide_base(name) or canonical(name).removesuffix("s")
        if _is_known(name, (*first, *second)) or wide_base(name):
            is_wide = any(wide_base(other) == base for other in candidates)
            groups.setdefault(base if is_wide else name, []).append(name)
    if groups:
        order = {name: _preference(name, (*first, *second), name in texts) for name in candidates}
        ordered = sorted(groups.values(), key=lambda group: min(order[name] for name in group))
        return tuple(map(tuple, ordered)), False
    return ((_guessed(sample, texts, wanted, content.path),),), True


def _preference(column: str, known: Sequence[str], has_texts: bool) -> tuple[bool, int]:
    """Columns of texts come before columns of numbers or without values, then those that are first in ``known``."""
    return not has_texts, min(position(wide_base(column) or column, known), position(f"{wide_base(column)}s", known))


def _guessed(sample: _Sample, columns: Sequence[str], wanted: ColumnNames, path: Path) -> str:
    """The only column of texts."""
    texts = [name for name in columns if sample.share(name, _is_sentence) > _MOST]
    if len(texts) == 1:
        return texts[0]
    advice = _advice("the column of the captions", wanted.caption_option)
    what = (
        f"several columns of text ({_listed(texts)})"
        if texts
        else f"no column of captions among {_listed(sample.values)}"
    )
    raise NoCaptionsError(f"{path} has {what}{advice}")


def _named(sample: _Sample, name: str, option: str, path: Path) -> tuple[str, ...]:
    """The column of a name, or the numbered columns with this base."""
    for matches in (
        [column for column in sample.values if column.strip() == name.strip()],
        [column for column in sample.values if canonical(column) == canonical(name)],
        [column for column in sample.values if wide_base(column) == canonical(name).removesuffix("s")],
    ):
        if matches:
            return tuple(matches)
    raise NoCaptionsError(
        f"{path} has the columns {_listed(sample.values)}, but not {name}{_advice('the right one', option)}"
    )


def _advice(what: str, option: str) -> str:
    """How to name a column; "" where that is not possible."""
    return f"; give {what} with {option}" if option else ""


def _may_name_images(sample: _Sample, column: str) -> bool:
    known = _is_known(column, IMAGE_NAMES) and sample.share(column, is_id) > _MOST
    return known or sample.share(column, is_picture_name) > _MOST


def _is_sentence(value: Any) -> bool:
    """Whether a text looks like a caption: it has blanks, or letters of a script without them."""
    if not isinstance(value, str) or is_number(value) or is_picture_name(value):
        return False
    return " " in value.strip() or not value.isascii()


def _is_known(name: str, known: Iterable[str]) -> bool:
    return canonical(name) in map(canonical, known)


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (", …" if len(listed) > _SHOWN else "")
