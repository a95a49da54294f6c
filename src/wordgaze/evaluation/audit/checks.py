"""What an audit finds in the matching of ids, in the references, and in the variety of captions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from wordgaze.data.readers.captions.cleaning import SEQUENCE_MARKER, UNKNOWN_MARKER
from wordgaze.evaluation.audit.corpus import AuditedFiles
from wordgaze.evaluation.audit.results import AuditExample, AuditFinding
from wordgaze.evaluation.audit.texts import CaptionText


def check_matching(files: AuditedFiles) -> Iterator[AuditFinding]:
    """The findings of the part ``matching``."""
    targets, num_images = files.pairing.targets, len(files.references)
    missing = [AuditExample(key) for key in files.references if key not in files.captioned]
    yield AuditFinding.of("missing_captions", missing, num_images)
    unknown = [AuditExample(key, text) for key, texts in files.captions.items() if key not in targets for text in texts]
    ambiguous = f"; {files.pairing.ambiguous}" if files.pairing.ambiguous else ""
    yield AuditFinding.of("unknown_images", unknown, files.num_captions, ambiguous=ambiguous)
    several = [AuditExample(key, " | ".join(texts)) for key, texts in files.captioned.items() if len(texts) > 1]
    yield AuditFinding.of("repeated_captions", several, len(files.captioned))
    uncertain = [AuditExample(key, pair) for key, pair in files.pairing.uncertain.items()]
    yield AuditFinding.of("path_ends", uncertain, len(files.captions))
    num_ids = len(files.captions) + files.num_other_splits
    yield AuditFinding.of_first("other_splits", files.num_other_splits, num_ids, AuditExample(""))
    faults = [AuditExample(fault.place, fault.reason) for fault in files.faults]
    num_texts = files.num_captions + sum(map(len, files.references.values()))
    yield AuditFinding.of("refused_rows", faults, num_texts + len(faults))


def usual_number(references: Mapping[str, Sequence[CaptionText]]) -> int:
    """The number of references that most images have, without empty ones; of equally frequent ones the largest."""
    numbers = Counter(_number(of_image) for of_image in references.values())
    return max(numbers, key=lambda number: (numbers[number], number))


def has_fewer(of_image: Sequence[CaptionText], usual: int) -> bool:
    """Whether an image has fewer references than the usual number."""
    return _number(of_image) < usual


def repeated_places(of_image: Sequence[CaptionText]) -> list[int]:
    """The places of references that repeat an earlier one word for word; empty ones are no repetition."""
    first: dict[str, int] = {}
    return [n for n, text in enumerate(of_image) if text.tokens and first.setdefault(text.words, n) != n]


def check_references(references: Mapping[str, Sequence[CaptionText]]) -> Iterator[AuditFinding]:
    """The findings of the part ``references``."""
    usual = usual_number(references)
    texts = [text for of_image in references.values() for text in of_image]
    fewer = [
        AuditExample(key, f"{_number(of_image)} of {usual}")
        for key, of_image in references.items()
        if has_fewer(of_image, usual)
    ]
    yield AuditFinding.of("fewer_references", fewer, len(references), usual=usual)
    yield AuditFinding.of("empty_references", [text.example for text in texts if not text.tokens], len(texts))
    repeated = [of_image[n].example for of_image in references.values() for n in repeated_places(of_image)]
    yield AuditFinding.of("repeated_references", repeated, len(texts))
    marked = [
        text.example for text in texts if SEQUENCE_MARKER.search(text.written) or UNKNOWN_MARKER.search(text.written)
    ]
    yield AuditFinding.of("reference_markers", marked, len(texts))


def check_variety(texts: Sequence[CaptionText]) -> Iterator[AuditFinding]:
    """The findings of the part ``variety``; captions are compared word for word."""
    counts = Counter(text.words for text in texts)
    first = {text.words: text.example for text in reversed(texts)}
    words, count = counts.most_common(1)[0] if counts else ("", 0)
    yield AuditFinding.of_first("most_frequent", count, len(texts), first.get(words, AuditExample("")))
    yield AuditFinding.of_first("different_captions", len(counts), len(texts), AuditExample(""))


def _number(of_image: Sequence[CaptionText]) -> int:
    return sum(bool(text.tokens) for text in of_image)
