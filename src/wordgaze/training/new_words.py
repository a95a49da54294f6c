"""Gives a trained decoder words that no training caption has, by their word vectors.

The embedding and the classifier of a new word are the weighted means of those of the known nouns with the most similar
vectors (Hendricks et al. 2016, "Deep Compositional Captioning"; Anderson et al. 2017 fix both to the vectors
themselves). So a decoder that knows dogs and horses uses "zebra" as it uses "horse".
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import Vocabulary
from wordgaze.text.word_vectors import read_vectors
from wordgaze.vision.class_words import imagenet_words

NUM_SIMILAR = 5
"""The number of known nouns that a new word is the mean of."""

SHARPNESS = 10.0
"""A known noun counts exp(SHARPNESS · cosine)."""

BIAS_OFFSET = -6.0
"""Makes a new word e^6 times less probable than its known nouns: it is generated only where it is asked for."""


def class_nouns() -> list[tuple[str, str]]:
    """The single words that name ImageNet's classes, with their plurals."""
    names = imagenet_words()
    return [(word[0], names.plural(word)[0]) for word in names.words if len(word) == 1]


def add_words(decoder: Decoder, vocabulary: Vocabulary, source: str) -> tuple[Decoder, Vocabulary]:
    """A decoder with the nouns of ImageNet's classes that the vocabulary lacks, and its vocabulary.

    ``source``: the word vectors, as in :func:`wordgaze.text.word_vectors.read_vectors`. A noun without a vector is left
    out. New words come last, so that the token ids of the others stay. Raises ModelError as ``read_vectors``.
    """
    forms: tuple[list[str], list[str]] = ([], [])  # singulars, plurals
    for pair in class_nouns():
        for form, of_form in zip(pair, forms, strict=True):
            if form not in of_form:
                of_form.append(form)
    vectors = read_vectors(source, [*dict.fromkeys([*forms[0], *forms[1]])])
    rows = dict(zip(dict.fromkeys([*forms[0], *forms[1]]), normalize(vectors.matrix, dim=1), strict=True))
    added: dict[str, Tensor] = {}  # the weights (V,) of the known words
    for of_form in forms:
        known = [word for word in of_form if word in vocabulary.index and word not in vectors.missing]
        for word in of_form:
            if word not in vocabulary.index and word not in vectors.missing and word not in added:
                added[word] = _weights(rows[word], [rows[k] for k in known], known, vocabulary)
    if not added:
        return decoder, vocabulary
    extended = Vocabulary((*vocabulary.words, *added))
    return extended_decoder(decoder, torch.stack(list(added.values())), bias_offset=BIAS_OFFSET), extended


def _weights(vector: Tensor, others: Sequence[Tensor], known: Sequence[str], vocabulary: Vocabulary) -> Tensor:
    """The weight of every word of the vocabulary in the mean that a new word becomes: (V,), sum 1."""
    values, places = (torch.stack(list(others)) @ vector).topk(min(NUM_SIMILAR, len(known)))
    weights = torch.zeros(len(vocabulary))
    weights[[vocabulary.index[known[i]] for i in places.tolist()]] = torch.softmax(SHARPNESS * values, 0)
    return weights


@torch.no_grad()
def extended_decoder(
    decoder: Decoder, mixtures: Tensor, *, bias_offset: float = 0.0, config: DecoderConfig | None = None
) -> Decoder:
    """A copy of the decoder with a row more for each of ``mixtures`` (N, V) of the V known words.

    ``bias_offset`` is added to the bias of the new words. ``config`` may have other dropout than the decoder's own.
    """
    state = decoder.state_dict()
    for name in ("embedding.weight", "lm_head.weight", "lm_head.bias"):
        if name in state:
            rows = mixtures.to(state[name]) @ state[name]
            state[name] = torch.cat([state[name], rows + bias_offset if name == "lm_head.bias" else rows])
    size = decoder.vocabulary_size + len(mixtures)
    larger = Decoder(config or decoder.config, decoder.channels, size, decoder.vector_size)
    larger.load_state_dict(state)
    return larger.to(decoder.device).train(decoder.training)
