"""Reads captions and references from files of many layouts: image id → caption, image id → references.

A layout is recognised by the content of a file; :data:`CAPTION_LAYOUTS` has them in the order in which they are tried:

- Parquet, with or without embedded pictures
- Flickr8k tokens: ``a.jpg#0<TAB>caption``
- JSON lines: ``{"image": "a.jpg", "caption": "…"}`` or ``{"image": "a.jpg", "captions": ["…", "…"]}`` per line
- JSON: COCO results and annotations, Karpathy's splits, R2Gen, LLaVA, and mappings from names to captions
- tables with commas, semicolons, tabs or bars between the columns, with or without a header
- lines of a name and a caption: ``a.jpg caption``

Every layout becomes rows with values by column or key (:class:`CaptionContent`), and for all of them the same rules
choose the columns (:mod:`.columns`) and clean the captions (:mod:`.cleaning`).

Ids are text: the number 17 and the text "17" are the same id. Whitespace around ids and captions is removed.
"""

from pathlib import Path

from wordgaze.core.errors import CaptionsError
from wordgaze.data.readers.captions.cleaning import BETWEEN
from wordgaze.data.readers.captions.content import (
    ById,
    CaptionContent,
    CaptionFile,
    CaptionRow,
    ColumnNames,
    NoCaptionsError,
)
from wordgaze.data.readers.captions.encodings import decoded
from wordgaze.data.readers.captions.entries import CAPTION_LAYOUTS, CaptionEntries, read_content
from wordgaze.data.records import Fault

__all__ = [
    "BETWEEN",
    "CAPTION_LAYOUTS",
    "ById",
    "CaptionContent",
    "CaptionRow",
    "ColumnNames",
    "NoCaptionsError",
    "decoded",
    "read_as_written",
    "read_captions",
    "read_references",
    "references_of",
]  # fmt: skip

_ANY = ColumnNames()


def read_captions(path: Path, columns: ColumnNames = _ANY) -> ById[str]:
    """One caption per id, in the order of the file. An empty caption is a caption.

    Raises CaptionsError, which names the place, if the layout is unknown, a row cannot be used, or an id has two
    captions.
    """
    captions: ById[str] = ById()
    entries = CaptionEntries(read_content(CaptionFile(path)), columns, strict=True, several=False)
    for place, key, texts, split in entries:
        if key in captions:
            raise CaptionsError(f"{place}: the id {key!r} is repeated; keep one caption per id")
        if len(texts) != 1:
            raise CaptionsError(f"{place}: {len(texts)} captions of {key!r}; keep one, or are these the references?")
        captions[key] = texts[0]
        captions.places[key] = place
        if split:
            captions.splits[key] = {split: place}
    entries.finish(captions)
    return captions


def read_references(
    path: Path, data: bytes | None = None, columns: ColumnNames = _ANY, *, strict: bool = True
) -> ById[list[str]]:
    """All references of each id, in the order of the file, without blank ones.

    ``data`` are the bytes of a file in an archive, which ``path`` only names. With ``strict``, a row that cannot be
    used and an id without references raise CaptionsError, which names the place; otherwise they are ``faults``, and
    markers such as ``<unk>`` are removed. Raises CaptionsError if the layout is unknown or no row can be used.
    """
    return references_of(read_content(CaptionFile(path, data)), columns, strict=strict)


def read_as_written(path: Path, columns: ColumnNames = _ANY, *, several: bool) -> ById[list[str]]:
    """The texts of each id as the file has them: markers, blank texts and all texts of a repeated id.

    ``several`` prefers columns with several captions, as references are read. Rows that :func:`read_captions` and
    :func:`read_references` refuse are ``faults``. Raises CaptionsError if the layout is unknown or no row can be used.
    """
    found: ById[list[str]] = ById()
    entries = CaptionEntries(read_content(CaptionFile(path)), columns, strict=False, several=several, as_written=True)
    for place, key, texts, split in entries:
        found.setdefault(key, []).extend(texts)
        found.places.setdefault(key, place)
        if split:
            found.splits.setdefault(key, {}).setdefault(split, place)
    entries.finish(found)
    return found


def references_of(content: CaptionContent, columns: ColumnNames = _ANY, *, strict: bool = True) -> ById[list[str]]:
    """As :func:`read_references`, from the rows of a file."""
    references: ById[list[str]] = ById()
    entries = CaptionEntries(content, columns, strict, several=True)
    num_blank = 0
    for place, key, texts, split in entries:
        present = list(filter(None, texts))
        references.setdefault(key, []).extend(present)
        references.places.setdefault(key, place)
        num_blank += len(texts) - len(present)
        if split:
            references.splits.setdefault(key, {}).setdefault(split, place)
    without = [key for key, texts in references.items() if not texts]
    for key in without:
        if strict:
            raise CaptionsError(f"{references.places[key]}: {key!r} has no reference; add one, or remove the image")
        entries.faults.append(Fault(references.places[key], f"{key!r} has no caption"))
        del references[key]
    if num_blank > len(without):
        content.mended["without text, left out"] += num_blank - len(without)
    entries.finish(references)
    return references
