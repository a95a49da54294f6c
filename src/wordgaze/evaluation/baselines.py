"""The baselines of an evaluation: captions that do not depend on the image's content, and human captions."""

from collections.abc import Sequence

import numpy as np

from wordgaze.core.lazy_sequence import LazySequence
from wordgaze.data.prepared import Prepared
from wordgaze.evaluation.results import Scores
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.baselines import (
    constant_caption,
    leave_one_out_scores,
    nearest_captions,
    pooled,
    pooled_parts,
    random_captions,
)
from wordgaze.metrics.document_frequencies import DocumentFrequencies
from wordgaze.vision.feature_store import FeatureStore

NUM_NEAREST = 10  # training images whose captions the nearest-neighbour baseline chooses from


def training_baselines(
    prepared: Prepared,
    store: FeatureStore,
    images: Sequence[str],
    references: Sequence[Sequence[Tokens]],
    seed: int,
) -> dict[str, list[list[str]]]:
    """A caption for each image by ``constant``, ``random`` and ``nearest``, all from the training captions."""
    captions = training_captions(prepared)
    names = sorted(prepared.captions["train"])
    nearest = nearest_captions(
        pooled(store, images),
        pooled_parts(store, names),
        LazySequence(len(names), lambda i: prepared.captions["train"][names[i]]),
        NUM_NEAREST,
    )
    return {
        "constant": [constant_caption(captions, references)] * len(images),
        "random": random_captions(captions, len(images), seed),
        "nearest": nearest,
    }


def training_captions(prepared: Prepared) -> Sequence[Tokens]:
    """All training captions, image by image in the data set's order."""
    train = prepared.captions["train"]
    names = list(train)
    ends = np.cumsum([len(train[name]) for name in names], dtype=np.int64)

    def caption(number: int) -> Tokens:
        image = int(np.searchsorted(ends, number, side="right"))
        return train[names[image]][number - int(ends[image])]

    return LazySequence(int(ends[-1]) if len(ends) else 0, caption)


def reference_baselines(
    captions: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    is_english: bool = True,
    frequencies: DocumentFrequencies | None = None,
) -> dict[str, Scores]:
    """The baselines that leave out one reference in turn; empty where every image has a single reference."""
    rows = leave_one_out_scores(captions, references, is_english, frequencies)
    return {name: Scores.model_validate(scores) for name, scores in rows.items()}
