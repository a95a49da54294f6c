"""From pictures' features to captions, by the strategy that the parameters name."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wordgaze.core.errors import ModelError, ParamsError
from wordgaze.generation.beam_search import BeamSearch
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.consensus import consensus
from wordgaze.generation.hypotheses import HypothesisTree
from wordgaze.generation.logits_process import LogitsProcessor
from wordgaze.generation.neighbours import NeighbourReranker
from wordgaze.generation.outputs import Caption, GenerationModel
from wordgaze.generation.sampling import sample
from wordgaze.text.vocabulary import SPECIAL, Vocabulary


@torch.inference_mode()
def generate(
    model: GenerationModel,
    features: Any,
    vocabulary: Vocabulary,
    params: GenerationConfig,
    *,
    keys: Sequence[str] | None = None,
    seed: int = 0,
    table: Any = None,
    prefix: Sequence[str] = (),
    neighbours: NeighbourReranker | None = None,
    grid: tuple[int, int] | None = None,
) -> list[list[Caption]]:
    """``params.num_return_sequences`` captions of each picture, best first; samples in the order of their drawing.

    features (B, L, channels), or for an ensemble a sequence of such, one a member. ``keys`` name the pictures and
    decide with ``seed`` what is sampled; left out, they are the places in the batch. ``table`` saves work where one
    vocabulary is decoded with again and again. ``prefix``: the words that every caption begins with, whatever the rules
    for what follows. ``neighbours``: the training pictures, which the strategy of that name asks, by the features of
    an ensemble's first member. ``grid``: (rows, columns) of the attention that captions carry; left out, (1, L). Raises ModelError where they are missing, where the decoder gives NaN and for a word of
    ``prefix`` that it does not know, ParamsError for a required word that the vocabulary lacks, and where ``prefix``
    hypotheses no room.
    """
    tree = HypothesisTree(model, features, table, grid)
    constraints = LogitsProcessor(vocabulary, params, tree.device)
    begin = known(vocabulary, prefix)
    tree.begin(begin)
    _check_room(tree, constraints)
    if len(begin) == params.max_new_tokens:  # nothing is left to choose
        params = params.model_copy(update={"strategy": "greedy", "num_return_sequences": 1})
    names = [str(i) for i in range(tree.count)] if keys is None else keys

    def beam() -> list[list[Caption]]:
        every = params.model_copy(update={"strategy": "beam", "num_return_sequences": params.num_beams})
        return tree.read(BeamSearch(tree, constraints, every).run(), vocabulary)

    match params.strategy:
        case "sample":
            return tree.read(sample(tree, constraints, params, params.num_return_sequences, names, seed), vocabulary)
        case "neighbours":
            if neighbours is None:
                raise ModelError("this captioner has no training pictures to compare with; use another strategy")
            return neighbours.choose(features if isinstance(features, Tensor) else features[0], beam(), params)
        case "mbr":
            candidates = beam()
            if params.mbr_samples:
                again = HypothesisTree(model, features, table, grid)
                again.begin(begin)
                drawn = again.read(sample(again, constraints, params, params.mbr_samples, names, seed), vocabulary)
                candidates = [found + more for found, more in zip(candidates, drawn, strict=True)]
            return [consensus(of_one, params.num_return_sequences, params.mbr_utility) for of_one in candidates]
        case _:
            return tree.read(BeamSearch(tree, constraints, params).run(), vocabulary)


def known(vocabulary: Vocabulary, words: Sequence[str]) -> list[int]:
    """The indices of words that can be said. Raises ModelError for others."""
    if unknown := [word for word in words if word not in vocabulary.index or word in SPECIAL]:
        raise ModelError(f"the captioner does not know {', '.join(map(repr, unknown))}; say it in other words")
    return [vocabulary.index[word] for word in words]


def _check_room(tree: HypothesisTree, constraints: LogitsProcessor) -> None:
    """Raises ParamsError where the words that every caption begins with leave no place for what has to follow."""
    most, waiting = constraints.params.max_new_tokens, int((~constraints.said(tree.words[:1])).sum())
    if tree.begun + waiting > most:
        required = f", and {waiting} required to follow," if waiting else ""
        raise ParamsError(
            f"the beginning has {tree.begun} words{required} and max_new_tokens is {most}; make it longer"
        )
