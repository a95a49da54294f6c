"""Measures how faithful attention is: whether words depend on the cells that they attend to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from wordgaze.core.errors import DataError
from wordgaze.core.progress import track
from wordgaze.evaluation.readable_images import readable_images
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.occlusion import CoveredImage, Curves, Maps, deletion_insertion, occlusion_maps
from wordgaze.metrics.base import Floats
from wordgaze.metrics.grounding import centre_attention
from wordgaze.metrics.intervals import Interval, bootstrap
from wordgaze.vision.image_files import find_images

COVERING_ORDERS = ("attention", "occlusion", "centre", "random")
"""The orders in which cells are covered: by the attention of the word, by how much covering the cell alone lowers its
probability, from the centre outwards, and at random, the same for all words of an image."""


@dataclass(frozen=True)
class OrderFaithfulness:
    """The mean areas under the deletion and the insertion curve of one order, with 95 % intervals over images."""

    deletion: Interval
    insertion: Interval


@dataclass(frozen=True)
class FaithfulnessResult:
    """What ``wordgaze faithfulness`` measures: ``orders`` has one entry for each of COVERING_ORDERS."""

    num_images: int
    num_words: int
    orders: Mapping[str, OrderFaithfulness]


class MeanAreas:
    """The means over words of 2 · len(COVERING_ORDERS) areas; see :class:`wordgaze.metrics.base.Summed`."""

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., 1 + 2 · len(COVERING_ORDERS)), the number of words first → the mean of each area."""
        names = [f"{order} {curve}" for order in COVERING_ORDERS for curve in Curves._fields]
        return {name: totals[..., n] / totals[..., 0] for n, name in enumerate(names, start=1)}


def measure_faithfulness(
    pictures: Sequence[Path], captioner: Captioner, generation: GenerationConfig, max_images: int, seed: int = 0
) -> FaithfulnessResult:
    """The deletion and insertion areas of the content words of captions of ``pictures`` (files and folders).

    At most ``max_images`` images are drawn by ``seed``; those that cannot be read are left out. Raises DataError if
    no caption has a content word.
    """
    paths = list(find_images(pictures))
    draw = np.random.default_rng(seed)
    chosen = sorted(draw.permutation(len(paths))[:max_images].tolist())
    images = readable_images(paths[n] for n in track(chosen, "images explained"))
    rows = [_statistics(image.picture, captioner, generation, draw) for _, image in images]
    statistics = np.array([row for row in rows if row[0]])
    if not len(statistics):
        raise DataError(f"no caption of the {len(chosen)} images has a word that is not a function word")
    intervals = bootstrap(MeanAreas(), statistics)
    orders = {
        order: OrderFaithfulness(*(intervals[f"{order} {curve}"] for curve in Curves._fields))
        for order in COVERING_ORDERS
    }
    return FaithfulnessResult(len(statistics), int(statistics[:, 0].sum()), orders)


def _statistics(
    image: Image.Image, captioner: Captioner, generation: GenerationConfig, draw: np.random.Generator
) -> list[float]:
    """The number of content words of an image's caption, and the sum of each area over them."""
    caption = captioner.caption(image, generation)[0]
    words = [n for n, word in enumerate(caption.words) if word not in captioner.vocabulary.function_words]
    random = draw.permutation(caption.attention[0].size if caption.words else 0)
    if not words:
        return [0.0] * (1 + 2 * len(COVERING_ORDERS))
    covered = CoveredImage(captioner, captioner.encoder.pixels([image]), captioner.tokens(caption.words))
    areas = [deletion_insertion(covered, weights, words) for weights in _orders(covered, caption.attention, random)]
    return [float(len(words)), *(float(curve.sum()) for curves in areas for curve in curves)]


def _orders(covered: CoveredImage, attention: Maps, random: Maps) -> list[Maps]:
    """The weights (T, rows, columns) of each of COVERING_ORDERS."""
    alike = (centre_attention(covered.grid).reshape(covered.grid), random.reshape(covered.grid))
    broadcast = [np.broadcast_to(weights, attention.shape).astype(np.float32) for weights in alike]
    return [attention, occlusion_maps(covered), *broadcast]
