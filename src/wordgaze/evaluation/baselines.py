"""The baselines of an evaluation: captions that do not depend on the image's content, and human captions."""

from collections.abc import Sequence

from wordgaze.data.prepared import Prepared
from wordgaze.evaluation.results import Scores
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.baselines import (
    constant_caption,
    fewer_references,
    human_scores,
    nearest_captions,
    pooled,
    random_captions,
)
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
    train = sorted(prepared.captions["train"].items())
    captions = [words for of_image in prepared.captions["train"].values() for words in of_image]
    nearest = nearest_captions(
        pooled(store, images),
        pooled(store, [image for image, _ in train]),
        [of_image for _, of_image in train],
        NUM_NEAREST,
    )
    return {
        "constant": [constant_caption(captions, references)] * len(images),
        "random": random_captions(captions, len(images), seed),
        "nearest": nearest,
    }


def reference_baselines(
    captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]], is_english: bool = True
) -> dict[str, Scores]:
    """The baselines that leave out one reference in turn; empty where every image has a single reference."""
    rows = {
        "human": human_scores(references, is_english),
        "fewer_references": fewer_references(captions, references, is_english),
    }
    return {name: Scores.model_validate(scores) for name, scores in rows.items() if scores is not None}
