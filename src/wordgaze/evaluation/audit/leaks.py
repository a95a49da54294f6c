"""Which evaluated images and captions are among the training captions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from wordgaze.data.readers.captions import ById
from wordgaze.data.readers.captions.names import is_picture_name
from wordgaze.evaluation.audit.results import AuditExample, AuditFinding
from wordgaze.evaluation.audit.texts import CaptionText
from wordgaze.evaluation.id_matching import pair_names
from wordgaze.text.tokenizers import Tokenizer

_MIN_SET = 2
"""So many different references are those of one image; single short ones describe many."""


@dataclass(frozen=True)
class Leaks:
    """The captioned images that are training images, each with the id there: by the id, or by their references alone.

    ``words`` are all training captions, as :attr:`CaptionText.words` has them, and ``shared`` are the images of
    ``same_id`` that share a caption with the training image.
    """

    same_id: Mapping[str, str] = field(default_factory=dict)
    other_id: Mapping[str, str] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()

    @property
    def images(self) -> set[str]:
        """All captioned images that are training images."""
        return {*self.same_id, *self.other_id}


def find_leaks(
    images: Sequence[str],
    references: ById[list[str]],
    texts: Mapping[str, Sequence[CaptionText]],
    training: ById[list[str]],
    tokenizer: Tokenizer,
) -> Leaks:
    """The leaks of ``images``, whose references are ``references`` as written and ``texts`` as tokenized."""
    known = {
        key: _words_of([CaptionText.of(key, each, tokenizer) for each in of_image])
        for key, of_image in training.items()
    }
    by_set = {words: key for key, words in known.items() if len(words) >= _MIN_SET}
    same = _same_ids(references, training)
    same_id = {key: same[key] for key in images if key in same}
    own = {key: _words_of(texts[key]) for key in images}
    other_id = {key: by_set[words] for key, words in own.items() if words in by_set and key not in same_id}
    shared = frozenset(key for key, other in same_id.items() if own[key] & known[other])
    return Leaks(same_id, other_id, shared, frozenset().union(*known.values()))


def check_leaks(
    leaks: Leaks, captions: Sequence[CaptionText], references: Mapping[str, Sequence[CaptionText]]
) -> Iterator[AuditFinding]:
    """The findings of the part ``leak`` that need training captions; ``references`` are those of captioned images."""
    same = [AuditExample(key, f"in training {other}") for key, other in leaks.same_id.items()]
    yield AuditFinding.of("leaked_images", same, len(references), shared=len(leaks.shared))
    copies = [AuditExample(key, f"in training {other}") for key, other in leaks.other_id.items()]
    yield AuditFinding.of("leaked_references", copies, len(references))
    for check, texts in (
        ("shared_references", [text for of_image in references.values() for text in of_image]),
        ("training_captions", captions),
    ):
        yield AuditFinding.of(check, [text.example for text in texts if text.words in leaks.words], len(texts))


def check_verbatim(
    captions: Mapping[str, Sequence[CaptionText]], references: Mapping[str, Sequence[CaptionText]]
) -> AuditFinding:
    """The captions of an image that are one of its references word for word."""
    own = {key: _words_of(references[key]) for key in captions}
    found = [text.example for key, texts in captions.items() for text in texts if text.words in own[key]]
    return AuditFinding.of("reference_captions", found, sum(map(len, captions.values())))


def _words_of(texts: Sequence[CaptionText]) -> frozenset[str]:
    return frozenset(text.words for text in texts if text.tokens)


def _same_ids(references: ById[list[str]], training: ById[list[str]]) -> dict[str, str]:
    """The images of which an id, or the name of the picture, is the same in both files.

    Numbers of other columns are not compared: each file counts on its own in them. A name in another folder is another
    image.
    """
    view = _names(training)
    found: dict[str, str] = {}
    for names in ({key: key for key in references}, _names(references)):
        pairing = pair_names(names, view)
        found |= {key: other for key, other in pairing.targets.items() if key not in pairing.uncertain}
    return found


def _names(values: ById[list[str]]) -> dict[str, str]:
    """The ids, and the names of pictures in other columns, each with the id."""
    return {name: key for name, key in values.names.items() if is_picture_name(name)} | {key: key for key in values}
