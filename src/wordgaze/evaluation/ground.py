"""Measures the grounding of a captioner's attention on a user's images, against a file of boxes."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from wordgaze.core.errors import DataError
from wordgaze.data.readers.boxes import Boxes, boxes_of_path
from wordgaze.evaluation.comparison import confidence_intervals
from wordgaze.evaluation.grounding_results import GroundingIntervals, GroundingResult, GroundingScores
from wordgaze.evaluation.readable_images import readable_images
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.inputs import BATCH_SIZE
from wordgaze.metrics.grounding import Boxed, Grounding
from wordgaze.metrics.intervals import bootstrap
from wordgaze.text.objects import lexicon_of
from wordgaze.vision.image_files import find_images


def ground_pictures(
    pictures: Sequence[Path],
    boxes: Path,
    captioner: Captioner,
    generation: GenerationConfig,
    batch_size: int = BATCH_SIZE,
) -> GroundingResult:
    """Grounding scores of the captions of ``pictures`` (files and folders), with 95 % bootstrap intervals.

    ``boxes`` is COCO's instances JSON or a folder of Flickr30k Entities, whose images are identified by file name.
    Images without boxes, and images that cannot be read, are left out; the others are captioned ``batch_size`` at a
    time. Raises DataError where no image has boxes, or no caption names an object with a box.
    """
    if not captioner.vocabulary.tokenizer.is_english:
        name = captioner.vocabulary.tokenizer.name
        raise DataError(f"names of objects are known in English only, and the captioner has the tokenizer {name}")
    known = boxes_of_path(boxes)
    paths = [path for path in find_images(pictures) if known.get(path.name)]
    if not paths:
        raise DataError(f"{boxes} has no boxes of these pictures; boxes are found by the file name of a picture")
    captions, boxed = _caption(paths, known, captioner, generation, batch_size)
    metric = Grounding(
        boxed, captioner.encoder.spec.grid, lexicon_of(box.noun for image in boxed for box in image.boxes)
    )
    statistics = metric.statistics(captions)
    num_words = int(statistics[:, 0].sum())
    if not num_words:
        raise DataError(f"no caption of the {len(paths)} pictures names an object that {boxes} has a box of")
    intervals = bootstrap(metric, statistics)
    return GroundingResult(
        num_images=len(captions),
        num_words=num_words,
        scores=GroundingScores.from_metric({name: interval.value for name, interval in intervals.items()}),
        intervals=GroundingIntervals.from_metric(confidence_intervals(intervals)),
    )


def _caption(
    paths: Sequence[Path], known: Boxes, captioner: Captioner, generation: GenerationConfig, batch_size: int
) -> tuple[list[Caption], list[Boxed]]:
    """The best caption of each image, and its size with its boxes."""
    captions: list[Caption] = []
    boxed: list[Boxed] = []
    images = readable_images(paths)
    while batch := list(islice(images, batch_size)):
        pictures = [image.picture for _, image in batch]
        captions += [candidates[0] for candidates in captioner.caption(pictures, generation)]
        boxed += [Boxed(image.size, known[path.name]) for path, image in batch]
    return captions, boxed
