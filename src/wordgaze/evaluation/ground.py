"""Does a captioner look where it speaks? Measured on a person's own pictures, against a file of boxes."""

from collections.abc import Sequence
from pathlib import Path

from wordgaze.core.errors import DataError
from wordgaze.data.readers.boxes import coco_boxes, flickr30k_boxes
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.captioner import Captioner, caption_ensemble
from wordgaze.inference.inputs import BATCH_SIZE
from wordgaze.metrics.grounding import Boxed, Grounding
from wordgaze.metrics.intervals import Interval, bootstrap
from wordgaze.text.objects import Lexicon, coco_lexicon
from wordgaze.vision.images import find_images, load_image


def ground_pictures(
    pictures: Sequence[Path], boxes: Path, captioner: Captioner, decode: GenerationConfig
) -> tuple[int, int, dict[str, Interval]]:
    """How many pictures had boxes, how many words were measured, and each grounding score with its interval.

    ``boxes`` is COCO's instances JSON or a folder of Flickr30k-Entities; pictures are found in it by file name. Raises
    DataError where it knows none of them, or no caption names a boxed object.
    """
    known = flickr30k_boxes(boxes) if boxes.is_dir() else coco_boxes(boxes)
    paths = [path for path in find_images(pictures) if known.get(path.name)]
    if not paths:
        raise DataError(f"{boxes} has no boxes of these pictures; boxes are found by the file name of a picture")
    captions: list[Caption] = []
    boxed: list[Boxed] = []
    for start in range(0, len(paths), BATCH_SIZE):
        images = [load_image(path) for path in paths[start : start + BATCH_SIZE]]
        captions += [of_one[0] for of_one in caption_ensemble([captioner], images, decode)]
        boxed += [Boxed(i.size, known[p.name]) for i, p in zip(images, paths[start:], strict=False)]
    nouns = {box.noun for of_one in boxed for box in of_one.boxes}
    lexicon = coco_lexicon() if nouns <= coco_lexicon().names else Lexicon(nouns)
    metric = Grounding(boxed, captioner.encoder.spec.grid, lexicon)
    statistics = metric.statistics(captions)
    words = int(statistics[:, 0].sum())
    if not words:
        raise DataError(f"no caption of the {len(paths)} pictures names an object that {boxes} has a box of")
    return len(paths), words, bootstrap(metric, statistics)
