"""Captions for a person's own pictures."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from wordgaze.core.errors import CaptionsError, ImageError
from wordgaze.core.files import atomic_write
from wordgaze.generation.config import GenerationConfig, parse_generation_config
from wordgaze.generation.outputs import Caption
from wordgaze.generation.presets import PRESETS
from wordgaze.inference.attention_maps import attention_sheet, comparison_sheet
from wordgaze.inference.captioner import Captioner, caption_ensemble
from wordgaze.inference.table import Row, check_table, write_table
from wordgaze.text.tokenizer import tokenize
from wordgaze.vision.images import find_images, load_image

BATCH = 16


class Compared(NamedTuple):
    """What one strategy says of a picture, and the seconds that it took, the encoder's included."""

    strategy: str
    captions: list[Caption]
    seconds: float


def caption_files(
    pictures: Iterable[Path],
    models: Sequence[str],
    decode: GenerationConfig,
    attention: Path | None = None,
    table: Path | None = None,
    seed: int = 0,
) -> Iterator[tuple[Path, list[Caption]]]:
    """Yields each picture with its captions, in order, a batch at a time.

    ``models`` are captioner folders or addresses of the registry; several are an ensemble. At the end, the sheets of
    the pictures' first captions are written to ``attention``, one below the other, and all captions to ``table``. A
    broken picture raises ImageError when its batch is reached.
    """
    paths = find_images(pictures)
    if attention is not None:
        _check_picture_name(attention, "--attention")
    if table is not None:
        check_table(table)
    captioners = load_captioners(models)
    sheets: list[Image.Image] = []
    rows: list[Row] = []
    for start in range(0, len(paths), BATCH):
        batch = paths[start : start + BATCH]
        images = [load_image(path) for path in batch]
        for path, image, captions in zip(
            batch, images, caption_ensemble(captioners, images, decode, seed), strict=True
        ):
            if attention is not None:
                sheets.append(attention_sheet(image, captions[0]))
            rows += [Row(path.name, found.text, found.log_prob, math.exp(found.log_prob)) for found in captions]
            yield path, captions
    if table is not None:
        write_table(rows, table)
    if attention is not None:
        with atomic_write(attention) as temporary:
            _stack(sheets).save(temporary)


def compare_strategies(
    picture: Path, models: Sequence[str], common: dict[str, object], num: int, seed: int = 0
) -> Iterator[Compared]:
    """Yields what each strategy that the first captioner can follow says of a picture.

    ``common`` are settings that all of them share.
    """
    image = load_image(picture)
    captioners = load_captioners(models)
    presets = {name: PRESETS[name] for name in captioners[0].presets}
    settings = {
        name: parse_generation_config(**{"num_return_sequences": num, **common, **preset})
        for name, preset in presets.items()
    }
    for name, decode in settings.items():
        started = time.perf_counter()
        [captions] = caption_ensemble(captioners, [image], decode, seed)
        yield Compared(name, captions, time.perf_counter() - started)


def look(picture: Path, words: str, models: Sequence[str], output: Path) -> list[tuple[str, Caption]]:
    """What several captioners look at when each says the same words of a picture: drawn to ``output``, a row each."""
    _check_picture_name(output, "--output")
    image = load_image(picture)
    tokens = tokenize(words)
    if not tokens:
        raise CaptionsError(f"{words!r} has no word in it; give --words a caption")
    captioners = load_captioners(models)
    said = [captioner.attention(image, tokens) for captioner in captioners]
    with atomic_write(output) as temporary:
        comparison_sheet(image, list(zip(models, said, strict=True))).save(temporary)
    return list(zip(models, said, strict=True))


def _check_picture_name(path: Path, option: str) -> None:
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ImageError(f"{path} is no .png or .jpg; give {option} a file name with one of these endings")


def load_captioners(models: Sequence[str]) -> list[Captioner]:
    """The captioners of these folders or addresses."""
    return [Captioner.load(_folder(model)) for model in models]


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
