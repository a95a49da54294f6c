"""``wordgaze data check``: reads a data set as its import would, and says what was understood."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wordgaze.config.params import Params
from wordgaze.core.errors import DataError
from wordgaze.core.files import check_output, write_json, write_text
from wordgaze.data.datasets import subset_of
from wordgaze.data.datasets.audit import AuditReport, audit_records, refused
from wordgaze.data.datasets.base import require_pictures
from wordgaze.data.datasets.folder import FolderContents
from wordgaze.data.datasets.source import Found
from wordgaze.data.preparation import TokenizedCaption, tokenize_captions, tokenizer_of_params
from wordgaze.data.records import SPLITS, Record, Split, assign_splits
from wordgaze.inspection.advice import advise
from wordgaze.inspection.captions import describe_captions
from wordgaze.inspection.contents import open_contents
from wordgaze.inspection.duplicates import across_splits, equal_files, near_duplicates
from wordgaze.inspection.languages import identify_languages
from wordgaze.inspection.page import render_inspection
from wordgaze.inspection.pictures import BrokenPicture, InspectedPicture, inspect_pictures
from wordgaze.inspection.results import (
    DataInspection,
    DuplicateStatistics,
    LeakStatistics,
    PictureStatistics,
    SharedCaptions,
    SplitStatistics,
)
from wordgaze.inspection.sheet import choose_pictures, draw_thumbnails

_EXAMPLES = 5


@dataclass(frozen=True)
class CheckedData:
    """A data set as it will be trained on: ``records`` are those that are kept, with their splits, and ``files`` and
    ``pictures`` their images."""

    inspection: DataInspection
    records: Sequence[Record]
    captions: Sequence[TokenizedCaption]
    files: Mapping[str, Found]
    pictures: Mapping[str, InspectedPicture]


def check_dataset(params: Params, cache: Path, page: Path | None = None, values: Path | None = None) -> DataInspection:
    """Inspects the data set of ``params`` and writes the result to ``page`` (HTML) and to ``values`` (JSON).

    Downloads are stored in ``cache``; images are not copied. Raises DataError if no record can be read, and OSError if
    a file cannot be written.
    """
    for path, option in ((page, "--output"), (values, "--json")):
        if path is not None:
            check_output(path, option)
    with open_contents(params, cache) as contents:
        checked = inspect_contents(params, contents)
        inspection = checked.inspection
        if page is not None:
            chosen = choose_pictures(checked.records, checked.captions, checked.pictures, inspection)
            write_text(page, render_inspection(inspection, chosen, draw_thumbnails(chosen.names, checked.files)))
    if values is not None:
        write_json(values, inspection.to_json())
    return inspection


def inspect_contents(params: Params, contents: FolderContents) -> CheckedData:
    """Everything that the check says of the records and images of a data set."""
    source, prepare = params.dataset.source or params.dataset.name, params.prepare
    stops: list[str] = []
    try:
        require_pictures(source, contents.records, contents.pictures)
    except DataError as error:
        stops.append(contents.advice or str(error))
    records = subset_of(params.dataset, prepare).select(contents.records, contents.pictures.keys())
    files = {each.image: contents.pictures[each.image] for each in records if each.image in contents.pictures}
    decoded = inspect_pictures(files)
    broken = {name: each for name, each in decoded.items() if isinstance(each, BrokenPicture)}
    stops += [each.reason for each in broken.values() if each.is_packed_broken][:1]
    unread = {name: each.reason for name, each in broken.items() if each.is_unread}
    others = {name: each.reason for name, each in broken.items() if not each.is_unread}
    kept, report = audit_records(records, files.keys(), unread, others, contents.faults, max_examples=None)
    if not stops and (refusal := refused(report, source, params.dataset.max_faulty, contents.advice)):
        stops.append(refusal)
    split = assign_splits(kept, prepare.dev_share, prepare.test_share)
    sound = {name: each for name, each in decoded.items() if isinstance(each, InspectedPicture)}
    pictures = {each.image: sound[each.image] for each in split}
    return _checked(params, contents, report, split, pictures, stops, files)


def _checked(
    params: Params,
    contents: FolderContents,
    report: AuditReport,
    records: Sequence[Record],
    pictures: Mapping[str, InspectedPicture],
    stops: Sequence[str],
    files: Mapping[str, Found],
) -> CheckedData:
    prepare, tokenizer = params.prepare, tokenizer_of_params(params.prepare, records)
    captions, without_words = tokenize_captions(records, tokenizer)
    splits = {record.image: str(record.split) for record in records}
    duplicates = DuplicateStatistics(equal_files(pictures), near_duplicates(pictures, splits))
    inspection = DataInspection(
        dataset=params.dataset.name,
        source=params.dataset.source or params.dataset.name,
        tokenizer=prepare.tokenizer,
        max_words=prepare.max_words,
        max_faulty=params.dataset.max_faulty,
        layout=contents.layout,
        audit=report,
        uncaptioned=len(contents.uncaptioned),
        splits=_splits(records, contents.records, captions),
        pictures=PictureStatistics.of(pictures),
        captions=describe_captions(captions, without_words, prepare, tokenizer),
        languages=identify_languages([each.text for each in captions]),
        duplicates=duplicates,
        leaks=_leaks(splits, captions, duplicates),
        advice=(),
    )
    return CheckedData(advise(inspection, captions, params, stops), records, captions, files, pictures)


def _splits(
    records: Sequence[Record], given: Sequence[Record], captions: Sequence[TokenizedCaption]
) -> SplitStatistics:
    """The images with words per split, as ``prepare`` counts them."""
    with_split = {record.image for record in given if record.split}
    images = {split: len({each.image for each in captions if each.split == split}) for split in SPLITS}
    return SplitStatistics(images, sum(record.image in with_split for record in records))


def _leaks(
    splits: Mapping[str, str], captions: Sequence[TokenizedCaption], duplicates: DuplicateStatistics
) -> LeakStatistics:
    pairs = [(names[0], other) for names in duplicates.equal for other in names[1:]]
    pairs += [(pair.first, pair.second) for pair in duplicates.near]
    trained = {each.tokens for each in captions if each.split == "train"}
    shared: dict[Split, SharedCaptions] = {}
    for split in SPLITS[1:]:
        others = [each for each in captions if each.split == split]
        texts = [each.text for each in others if each.tokens in trained]
        shared[split] = SharedCaptions(len(others), len(texts), tuple(dict.fromkeys(texts))[:_EXAMPLES])
    return LeakStatistics(across_splits(pairs, splits), shared)
