"""Captions for many images in bounded memory. The command line and the web page both use it."""

from collections.abc import Iterable, Iterator, Sequence
from threading import Event

from PIL import Image

from wordgaze.core.errors import DataError
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioned import CaptionedImage, NamedImage
from wordgaze.inference.captioner import Captioner, caption_ensemble
from wordgaze.inference.inputs import BATCH_SIZE, batches


def caption_stream(
    captioners: Sequence[Captioner],
    images: Iterable[NamedImage],
    generation_config: GenerationConfig,
    *,
    cancel: Event | None = None,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> Iterator[CaptionedImage]:
    """Yields one result per image, in order.

    At most one batch of images is held at a time: ``batch_size`` images, or fewer large ones. When ``cancel`` is set,
    the iteration ends before the next batch. Several captioners form an ensemble. An image that could not be opened
    does not end the iteration; an error that is independent of the image, such as an unknown word in ``force_words``,
    raises WordgazeError.
    """
    for batch in batches(images, _pixels, batch_size):
        if cancel is not None and cancel.is_set():
            return
        opened = [image for _, image in batch if isinstance(image, Image.Image)]
        captions = iter(caption_ensemble(captioners, opened, generation_config, seed) if opened else ())
        for name, image in batch:
            if isinstance(image, DataError):
                yield CaptionedImage(name, None, [], image)
            else:
                yield CaptionedImage(name, image, next(captions))


def _pixels(named: NamedImage) -> int:
    return named.image.width * named.image.height if isinstance(named.image, Image.Image) else 0
