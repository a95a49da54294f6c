"""Captions for a person's own pictures."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from wordgaze.captioner import Captioner
from wordgaze.errors import ImageError
from wordgaze.explain.overlay import attention_sheet
from wordgaze.files import replacing
from wordgaze.params import DecodeParams
from wordgaze.vision.images import find_images, load_image

BATCH = 16


def caption_pictures(
    pictures: Iterable[Path], model: str, decode: DecodeParams, attention: Path | None
) -> Iterator[tuple[Path, str]]:
    """Yields each picture with its best caption, in order, a batch at a time.

    ``model`` is a captioner folder or an address of the registry. ``attention``: where the sheet of the pictures is
    written, one below the other. A broken
    picture raises ImageError when its batch is reached.
    """
    paths = find_images(pictures)
    if attention is not None and attention.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ImageError(f"{attention} is no .png or .jpg; give --attention a file name with one of these endings")
    captioner = Captioner.load(_folder(model))
    sheets: list[Image.Image] = []
    for start in range(0, len(paths), BATCH):
        batch = paths[start : start + BATCH]
        images = [load_image(path) for path in batch]
        for path, image, captions in zip(batch, images, captioner.caption(images, decode), strict=True):
            if attention is not None:
                sheets.append(attention_sheet(image, captions[0], captioner.encoder.spec.grid))
            yield path, captions[0].text
    if attention is not None:
        with replacing(attention) as temporary:
            _stack(sheets).save(temporary)


def _folder(model: str) -> Path:
    if not model.startswith("models:/"):
        return Path(model)
    from wordgaze.tracking.registry import fetch_model

    return fetch_model(model)


def _stack(sheets: list[Image.Image]) -> Image.Image:
    stacked = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), "white")
    top = 0
    for sheet in sheets:
        stacked.paste(sheet, (0, top))
        top += sheet.height
    return stacked
