"""From pictures' features to captions, by the strategy that the parameters name."""

from collections.abc import Sequence
from typing import Any

import torch

from wordgaze.decoding.base import Caption, Speaker
from wordgaze.decoding.beam import BeamSearch
from wordgaze.decoding.consensus import consensus
from wordgaze.decoding.constraints import Constraints
from wordgaze.decoding.sampling import sample
from wordgaze.decoding.tree import Tree
from wordgaze.params import DecodeParams
from wordgaze.text.vocabulary import Vocabulary


@torch.inference_mode()
def search(
    speaker: Speaker,
    features: Any,
    vocabulary: Vocabulary,
    params: DecodeParams,
    *,
    keys: Sequence[str] | None = None,
    seed: int = 0,
    table: Any = None,
) -> list[list[Caption]]:
    """``params.num`` captions of each picture, best first; samples in the order of their drawing.

    features (B, L, channels), or for an ensemble a sequence of such, one a member. ``keys`` name the pictures and
    decide with ``seed`` what is sampled; left out, they are the places in the batch. ``table`` saves work where one
    vocabulary is decoded with again and again. Raises ModelError where the decoder gives NaN, ParamsError for a
    required word that the vocabulary lacks.
    """
    tree = Tree(speaker, features, table)
    constraints = Constraints(vocabulary, params, tree.device)
    names = [str(i) for i in range(tree.count)] if keys is None else keys
    match params.strategy:
        case "sample":
            return tree.read(sample(tree, constraints, params, params.num, names, seed), vocabulary)
        case "mbr":
            every = params.model_copy(update={"strategy": "beam", "num": params.beam_width})
            candidates = tree.read(BeamSearch(tree, constraints, every).run(), vocabulary)
            if params.mbr_samples:
                again = Tree(speaker, features, table)
                drawn = again.read(sample(again, constraints, params, params.mbr_samples, names, seed), vocabulary)
                candidates = [found + more for found, more in zip(candidates, drawn, strict=True)]
            return [consensus(of_one, params.num, params.mbr_utility) for of_one in candidates]
        case _:
            return tree.read(BeamSearch(tree, constraints, params).run(), vocabulary)
