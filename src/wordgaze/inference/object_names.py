"""What captions must name: the words that a captioner's tagger is sure of, as its vocabulary has them."""

import logging
from collections.abc import Sequence
from functools import cache, partial

from torch import Tensor

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.naming import ObjectName
from wordgaze.text.objects import singular
from wordgaze.text.vocabulary import Vocabulary
from wordgaze.vision.class_words import Phrase
from wordgaze.vision.tagger import Tagger, absent_names, choose_tag

_log = logging.getLogger(__name__)
MIN_PROBABILITY = 0.3
"""The least probability of a name; of several, the most specific one that reaches it is taken."""


def object_names(
    tagger: Tagger | None, features: Tensor, vocabulary: Vocabulary, config: GenerationConfig
) -> Sequence[ObjectName | None]:
    """How the caption of each of B images must name what it shows, or None; features (B, L, D).

    Empty without a tagger, where ``config.name_objects`` is off, and for captions in another language than English.
    """
    if tagger is None or not config.name_objects:
        return ()
    if not vocabulary.tokenizer.is_english:
        _warn_of_names(vocabulary.tokenizer.name)
        return ()
    return [_object_name(row, vocabulary, config.naming_threshold) for row in tagger.probabilities(features)]


@cache
def _warn_of_names(tokenizer: str) -> None:
    """Says once that a setting has no effect."""
    _log.warning("name_objects knows English names only, and does nothing with the tokenizer %s", tokenizer)


def _object_name(probabilities: Tensor, vocabulary: Vocabulary, threshold: float) -> ObjectName | None:
    """Of class probabilities (K). None if the caption is free."""
    tag = choose_tag(probabilities, partial(_is_known, vocabulary), MIN_PROBABILITY)
    absent, absent_plurals = _forms(absent_names(probabilities), vocabulary)
    if tag is None or tag.salience < threshold:
        return ObjectName(absent=(absent, absent_plurals)) if absent else None
    return ObjectName(
        singular=tag.word[0],
        plural=tag.plural[0] if _is_known(vocabulary, tag.plural) else "",
        accepted=frozenset(phrase[-1] for phrase in tag.accepted),
        excluded=_forms(tag.rivals, vocabulary),
        absent=(absent - {tag.word[0]}, absent_plurals - {tag.plural[0]}),
        probability=tag.probability,
        classes=tuple(dict.fromkeys(" ".join(name) for name, _ in tag.classes)),
    )


def _forms(phrases: frozenset[Phrase], vocabulary: Vocabulary) -> tuple[frozenset[str], frozenset[str]]:
    """The single words that the vocabulary has: singulars, plurals."""
    words = frozenset(phrase[0] for phrase in phrases if _is_known(vocabulary, phrase))
    plurals = frozenset(word for word in words if singular(word) != word)
    return words - plurals, plurals


def _is_known(vocabulary: Vocabulary, phrase: Phrase) -> bool:
    return len(phrase) == 1 and phrase[0] in vocabulary.index
