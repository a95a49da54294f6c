"""What captions must name: the words that a captioner's tagger is sure of, as its vocabulary has them."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.naming import ObjectName
from wordgaze.text.objects import singular
from wordgaze.text.vocabulary import Vocabulary
from wordgaze.vision.class_words import Phrase
from wordgaze.vision.tagger import Tag, Tagger, choose_tag

MIN_PROBABILITY = 0.3
"""The least probability of a name; of several, the most specific one that reaches it is taken."""


def object_names(
    tagger: Tagger | None, features: Tensor, vocabulary: Vocabulary, config: GenerationConfig
) -> Sequence[ObjectName | None]:
    """The name that each of B images must have in its caption, or None; features (B, L, D).

    Empty without a tagger and where ``config.name_objects`` is off.
    """
    if tagger is None or not config.name_objects:
        return ()
    probabilities = tagger.probabilities(features)
    known = partial(_is_known, vocabulary)
    tags = [choose_tag(row, known, MIN_PROBABILITY) for row in probabilities]
    return [_object_name(tag, vocabulary) if tag and tag.salience >= config.naming_threshold else None for tag in tags]


def _is_known(vocabulary: Vocabulary, phrase: Phrase) -> bool:
    return len(phrase) == 1 and phrase[0] in vocabulary.index


def _object_name(tag: Tag, vocabulary: Vocabulary) -> ObjectName:
    plural = tag.plural[0] if _is_known(vocabulary, tag.plural) else ""
    rivals = {phrase[0] for phrase in tag.rivals if _is_known(vocabulary, phrase)}
    plurals = frozenset(word for word in rivals if singular(word) != word)
    return ObjectName(
        singular=tag.word[0],
        plural=plural,
        accepted=frozenset(phrase[-1] for phrase in tag.accepted),
        excluded=(frozenset(rivals) - plurals, plurals),
        article=tag.article or "a",
        probability=tag.probability,
        classes=tuple(" ".join(name) for name, _ in tag.classes),
    )
