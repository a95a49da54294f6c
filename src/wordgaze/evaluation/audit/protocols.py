"""Scores by several protocols: of the file as it is, and with one thing changed that an audit found."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

from wordgaze.core.progress import track
from wordgaze.data.readers.captions.cleaning import without_markers
from wordgaze.evaluation.audit.checks import has_fewer, repeated_places, usual_number
from wordgaze.evaluation.audit.results import ProtocolScores
from wordgaze.evaluation.audit.texts import CaptionText, with_whole_words, without_unknown
from wordgaze.evaluation.comparison import Comparison
from wordgaze.evaluation.results import Scores
from wordgaze.evaluation.score import scores_with_toolkit
from wordgaze.text.tokenizers import Tokenizer

BLANKS = "blanks"
"""The name of the tokenizer that splits a text at its blanks, and keeps case and punctuation."""


@dataclass(frozen=True)
class ScoredSample:
    """What one protocol scores: a caption and the references of each image, as texts."""

    captions: Mapping[str, str]
    references: Mapping[str, Sequence[str]]

    def only(self, is_kept: Callable[[str], bool]) -> "ScoredSample":
        """The images for which ``is_kept``."""
        captions = {key: text for key, text in self.captions.items() if is_kept(key)}
        return ScoredSample(captions, {key: self.references[key] for key in captions})

    def rewritten(self, rewrite: Callable[[str], str]) -> "ScoredSample":
        """All captions and references rewritten."""
        references = {key: [rewrite(text) for text in of_image] for key, of_image in self.references.items()}
        return ScoredSample({key: rewrite(text) for key, text in self.captions.items()}, references)

    def with_references(self, places: Mapping[str, Sequence[int]]) -> "ScoredSample":
        """The references at these places alone."""
        return replace(self, references={key: [of[n] for n in places[key]] for key, of in self.references.items()})


class Protocol(NamedTuple):
    """A name, what is scored for a reader, the sample, and whether words are what stands between blanks."""

    name: str
    label: str
    sample: ScoredSample
    at_blanks: bool = False


def protocols(
    captions: Mapping[str, Sequence[CaptionText]],
    references: Mapping[str, Sequence[CaptionText]],
    leaked: Collection[str],
) -> Iterator[Protocol]:
    """The protocols that give different samples; none if no image of the references has a caption.

    ``captions`` are those of the images that have one, and ``references`` those of all images. The first protocol
    counts an image without a caption as an empty caption; all others are of the images with one.
    """
    written = {
        key: [text.written for text in of_image]
        for key, of_image in references.items()
        if any(text.tokens for text in of_image)
    }
    first = {key: texts[0].written for key, texts in captions.items()}
    whole = ScoredSample({key: first.get(key, "") for key in written}, written)
    base = whole.only(captions.__contains__)
    if not base.captions:
        return
    yield Protocol("as_is", "the file as it is", whole)
    if base != whole:
        yield Protocol("captioned", "images with a caption alone", base)
    last = replace(base, captions={key: captions[key][-1].written for key in base.captions})
    if last != base:
        yield Protocol("last_caption", "the last caption of each image", last)
    empty = {key for key, texts in captions.items() if not texts[0].tokens}
    effective: list[Callable[[ScoredSample], ScoredSample]] = []
    for name, label, change in _changes(references, leaked, empty):
        if (changed := change(base)) != base:
            effective.append(change)
            yield Protocol(name, label, changed)
    if len(effective) > 1:
        yield Protocol("all", "all of these together", reduce(lambda sample, change: change(sample), effective, base))
    yield Protocol("blanks", "tokens between blanks", base, at_blanks=True)
    if (lower := base.rewritten(str.lower)) != base:
        yield Protocol("blanks_lower", "tokens between blanks, in lower case", lower, at_blanks=True)


def _changes(
    references: Mapping[str, Sequence[CaptionText]], leaked: Collection[str], empty: Collection[str]
) -> Iterator[tuple[str, str, Callable[[ScoredSample], ScoredSample]]]:
    """The changes that undo a fault each: a name, what is scored then, and the change."""
    usual = usual_number(references)
    kept = {
        key: sorted({n for n, text in enumerate(of_image) if text.tokens} - set(repeated_places(of_image)))
        for key, of_image in references.items()
    }
    yield "markers", "without markers", lambda sample: sample.rewritten(without_markers)
    yield "unknown_words", "without <unk>", lambda sample: sample.rewritten(without_unknown)
    yield "word_pieces", "with pieces of words joined", lambda sample: sample.rewritten(with_whole_words)
    yield "references", "without empty and repeated references", lambda sample: sample.with_references(kept)
    yield "leak", "without leaked images", lambda sample: sample.only(lambda key: key not in leaked)
    yield (
        "fewer_references",
        "without images with fewer references",
        lambda sample: sample.only(lambda key: not has_fewer(references[key], usual)),
    )
    yield "empty_captions", "without empty captions", lambda sample: sample.only(lambda key: key not in empty)


def score_protocols(given: Sequence[Protocol], tokenizer: Tokenizer) -> tuple[ProtocolScores, ...]:
    """The scores by each protocol that leaves an image."""
    return tuple(
        ProtocolScores(
            protocol=each.name,
            label=each.label,
            tokenizer=BLANKS if each.at_blanks else tokenizer.name,
            num_images=len(each.sample.captions),
            scores=_scores(each, tokenizer),
        )
        for each in track(given, "score", len(given))
        if each.sample.captions
    )


def _scores(protocol: Protocol, tokenizer: Tokenizer) -> Scores:
    tokenize = str.split if protocol.at_blanks else tokenizer.tokenize
    captions = list(map(tokenize, protocol.sample.captions.values()))
    references = [list(map(tokenize, of_image)) for of_image in protocol.sample.references.values()]
    comparison = Comparison({"captions": captions}, references, 0, is_english=tokenizer.is_english)
    # METEOR of the toolkit is defined for the words of PTB in lower case.
    scores = comparison.scores() if protocol.at_blanks else scores_with_toolkit(comparison, tokenizer)
    return scores["captions"]
