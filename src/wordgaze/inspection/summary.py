"""An inspection in a few lines of text, for the terminal and for logs."""

from collections.abc import Iterator

from rich.filesize import decimal

from wordgaze.data.datasets.fetch import local_path
from wordgaze.inspection.languages import language_name
from wordgaze.inspection.results import DataInspection

_SHOWN = 3


def summary_rows(inspection: DataInspection) -> Iterator[tuple[str, str]]:
    """(what, value) for each line, in their order; at most 24."""
    audit, captions, splits = inspection.audit, inspection.captions, inspection.splits
    for line in list(inspection.layout)[:_SHOWN]:
        yield "understood", within(inspection.source, line)
    if len(inspection.layout) > _SHOWN:
        yield "understood", f"and {len(inspection.layout) - _SHOWN} more files"
    yield "images kept", f"{audit.kept:,} of {audit.seen:,} images and rows"
    yield from (
        ("left out", f"{finding.count:,} {label} ({within(inspection.source, _examples(finding.examples))})")
        for label, finding in inspection.left_out.items()
    )
    if audit.kept < audit.seen:
        yield "share left out", f"{percentage(audit.share)} (dataset.max_faulty: {percentage(inspection.max_faulty)})"
    if inspection.uncaptioned:
        yield "without a caption", f"{inspection.uncaptioned:,} images, not used"
    if not captions.num_captions:
        return
    yield from _picture_rows(inspection)
    per_image = list(captions.per_image)
    yield (
        "captions",
        f"{captions.num_captions:,}, {_span(per_image[0], per_image[-1])} per image"
        + (f"; {captions.without_words:,} without words are left out" if captions.without_words else ""),
    )
    lengths = list(captions.lengths)
    yield "words per caption", f"{_span(lengths[0], lengths[-1])}, {captions.mean_length:.1f} on average"
    yield (
        "vocabulary",
        (
            f"{captions.vocabulary.words:,} of {captions.num_words:,} words occur {captions.vocabulary.min_count} "
            f"times or more in train; {percentage(captions.vocabulary.unknown_train)} of the words become <unk>"
        ),
    )
    yield "languages", ", ".join(f"{language_name(each.code)} {each.share:.0%}" for each in inspection.languages[:5])
    yield "scripts", ", ".join(f"{name} {percentage(share)}" for name, share in list(captions.scripts.items())[:5])
    how = (
        "given" if splits.given == audit.kept else f"{splits.given} given" if splits.given else "assigned by image name"
    )
    yield "splits", ", ".join(f"{split} {count:,}" for split, count in splits.images.items()) + f" ({how})"
    yield from _repetition_rows(inspection)


def _picture_rows(inspection: DataInspection) -> Iterator[tuple[str, str]]:
    if sizes := inspection.pictures:
        yield (
            "formats",
            ", ".join(f"{name} {count:,}" for name, count in sizes.formats.items()) + (f"; {decimal(sizes.num_bytes)}"),
        )
        shown = [f"{size.width} × {size.height}" for size in (sizes.smallest, sizes.median, sizes.largest)]
        yield "sizes", shown[0] if shown[0] == shown[2] else "{}, median {}, largest {}".format(*shown)


def _repetition_rows(inspection: DataInspection) -> Iterator[tuple[str, str]]:
    duplicates, leaks = inspection.duplicates, inspection.leaks
    copies = sum(len(names) - 1 for names in duplicates.equal)
    yield (
        "duplicates",
        f"{copies:,} copies of files, {counted_noun(len(duplicates.near), 'pair')} of images that look the same",
    )
    shared = ", ".join(
        f"{percentage(each.shared / each.num_captions)} of {split}"
        for split, each in leaks.captions.items()
        if each.num_captions
    )
    yield (
        "across splits",
        f"{counted_noun(len(leaks.pictures), 'pair')} of images; captions that train has too: {shared or 'none'}",
    )


def counted_noun(number: int, noun: str) -> str:
    """``1 pair``, ``1,200 pairs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def within(source: str, text: str) -> str:
    """``text`` without the path of the data set in front of names of files; it is absolute where ``source`` is not."""
    place = str(local_path(source) or source).rstrip("/")
    return text.replace(f"{place}/", "")


def percentage(share: float | None) -> str:
    """``12.3%``; ``under 0.1%`` for a share that would be rounded to nothing, a dash for None."""
    if share is None:
        return "–"
    return "under 0.1%" if 0 < share < 0.0005 else f"{share:.1%}" if share % 1 else f"{share:.0%}"


def _examples(examples: tuple[str, ...]) -> str:
    return ", ".join(examples[:_SHOWN]) + ", …" * (len(examples) > _SHOWN)


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"
