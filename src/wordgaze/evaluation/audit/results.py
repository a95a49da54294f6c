"""Typed results of an audit: its findings, and the scores by protocol."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from pydantic import Field

from wordgaze.evaluation.result_types import Result, is_none
from wordgaze.evaluation.results import Scores

AuditPart = Literal["matching", "leak", "tokenization", "references", "variety"]
FindingLevel = Literal["warning", "note"]


class AuditCheck(NamedTuple):
    """What is looked for. A ``warning`` is a fault of a file; a ``note`` is a fact that explains a score.

    ``advice`` may have values in braces, which the finding gives.
    """

    part: AuditPart
    level: FindingLevel
    label: str
    advice: str


AUDIT_CHECKS = {
    "missing_captions": AuditCheck(
        "matching", "warning", "images without a caption",
        "caption them, or report that only images with a caption are scored",
    ),
    "unknown_images": AuditCheck(
        "matching", "warning", "captions of images that the references lack",
        "give the references of these images, or name the column of the images with --image-column{ambiguous}",
    ),
    "repeated_captions": AuditCheck(
        "matching", "warning", "images with several captions", "keep one caption per image; the first is scored",
    ),
    "path_ends": AuditCheck(
        "matching", "note", "captions matched by the end of their path", "check that both names are the same image",
    ),
    "other_splits": AuditCheck(
        "matching", "note", "captions of images in other splits", "none is needed: they are left out",
    ),
    "refused_rows": AuditCheck(
        "matching", "warning", "rows that cannot be read", "correct the rows; wordgaze score refuses the file",
    ),
    "leaked_images": AuditCheck(
        "leak", "warning", "captioned images with the id of a training image",
        "leave them out (with a caption of the training image: {shared})",
    ),
    "leaked_references": AuditCheck(
        "leak", "warning", "captioned images with the references of a training image of another id",
        "leave them out: they are copies of training images",
    ),
    "shared_references": AuditCheck(
        "leak", "note", "references that are a training caption word for word",
        "a few short ones are usual; many mean that the splits overlap",
    ),
    "training_captions": AuditCheck(
        "leak", "note", "captions that are a training caption word for word",
        "many mean that the system retrieves or repeats training captions",
    ),
    "reference_captions": AuditCheck(
        "leak", "note", "captions that are a reference of their image word for word",
        "a few are usual; if most are, the file holds references",
    ),
    "markers": AuditCheck(
        "tokenization", "warning", "captions with markers such as <start>", "remove them: PTB keeps them as words",
    ),
    "unknown_words": AuditCheck(
        "tokenization", "warning", "captions with <unk>", "report whether it is scored as a word or removed",
    ),
    "word_pieces": AuditCheck(
        "tokenization", "warning", "captions with pieces of words (##, @@, ▁, Ġ)", "join the pieces before scoring",
    ),
    "capitals": AuditCheck(
        "tokenization", "note", "captions with capital letters", "PTB ignores them; tokens between blanks do not",
    ),
    "punctuation": AuditCheck(
        "tokenization", "note", "captions with punctuation", "PTB drops most of it; tokens between blanks keep it",
    ),
    "final_stops": AuditCheck(
        "tokenization", "note", "captions with a final full stop", "PTB drops it; tokens between blanks keep it",
    ),
    "other_characters": AuditCheck(
        "tokenization", "warning", "captions with control characters or letters and signs that no reference has",
        "write them as the references do, or the words differ",
    ),
    "empty_captions": AuditCheck(
        "tokenization", "warning", "captions without a word", "caption the images again: an empty caption scores 0",
    ),
    "cut_captions": AuditCheck(
        "tokenization", "warning", "captions cut at one length",
        "raise the largest length of the decoder, which is {length}",
    ),
    "fewer_references": AuditCheck(
        "references", "warning", "images with fewer references than most",
        "use images with {usual} each: scores rise with the number of references",
    ),
    "empty_references": AuditCheck("references", "warning", "references without a word", "remove them"),
    "repeated_references": AuditCheck(
        "references", "warning", "references that repeat one of their image",
        "remove them: CIDEr is a mean over references",
    ),
    "reference_markers": AuditCheck(
        "references", "warning", "references with markers such as <start> or <unk>",
        "remove them: markers that captions have too raise every score",
    ),
    "most_frequent": AuditCheck(
        "variety", "note", "captions that are the most frequent one",
        "compare with one caption for every image, which already scores something",
    ),
    "different_captions": AuditCheck(
        "variety", "note", "different captions", "few mean that images are not told apart",
    ),
}  # fmt: skip
"""What an audit looks for, by name, in the order of its findings."""


class AuditExample(NamedTuple):
    """An image and a text of it, as the files have them."""

    image: str
    text: str = ""


class AuditFinding(Result):
    """``count`` of ``total`` images, captions or references, as ``label`` says, with the first as an example."""

    check: str
    part: AuditPart
    level: FindingLevel
    label: str
    count: int
    total: int
    image: str
    text: str
    advice: str

    @classmethod
    def of(cls, check: str, examples: Iterable[AuditExample], total: int, **values: object) -> "AuditFinding":
        """The finding of a check. ``values`` are those that its advice names."""
        found = list(examples)
        return cls.of_first(check, len(found), total, found[0] if found else AuditExample(""), **values)

    @classmethod
    def of_first(cls, check: str, count: int, total: int, first: AuditExample, **values: object) -> "AuditFinding":
        """As :meth:`of`, of a number and the first example."""
        part, level, label, advice = AUDIT_CHECKS[check]
        advice = advice.format(**values) if count else ""
        return cls(
            check=check, part=part, level=level, label=label, count=count, total=total, image=first.image,
            text=first.text, advice=advice,
        )  # fmt: skip


class ProtocolScores(Result):
    """The scores by one protocol: ``label`` says what is scored, and ``tokenizer`` how it becomes words."""

    protocol: str
    label: str
    tokenizer: str
    num_images: int
    scores: Scores


class CaptionAudit(Result):
    """What ``wordgaze audit`` computes: every check, also those that found nothing, and the scores by protocol.

    ``num_captions`` counts the captions of the file, and ``num_images`` the images of the references, of which
    ``references_per_image`` maps a number of references to that of the images with as many. ``training`` is the file of
    training captions, or None where none was given and leaks were not looked for.
    """

    captions: str
    references: str
    training: str | None = Field(None, exclude_if=is_none)
    num_captions: int
    num_images: int
    tokenizer: str
    references_per_image: dict[int, int]
    findings: tuple[AuditFinding, ...]
    scores: tuple[ProtocolScores, ...]
