"""Folders of images with captions, as a user has them."""

import csv
import io
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from wordgaze.config.params import Params, parse_params

NOUNS = ("dog", "cat", "boat", "horse", "child", "train", "kite", "bird")
PLACES = ("on the beach", "in the park", "near a house", "under a bridge")


def photograph(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """A picture of soft colours; another seed gives a picture that looks different."""
    colours = random.Random(seed).randbytes(6 * 5 * 3)
    return Image.frombytes("RGB", (6, 5), colours).resize(size, Image.Resampling.BICUBIC)


def jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def sentences(number: int) -> list[str]:
    """Two captions that no other number under 32 has."""
    noun, place = NOUNS[number % 8], PLACES[number // 8 % 4]
    return [f"A {noun} is seen {place} today.", f"This shows one {noun} {place}."]


def write_captions(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("image", "caption")) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_folder(folder: Path, captions: Mapping[str, Sequence[str]]) -> Path:
    """A folder with a photograph for each name and a CSV file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(captions):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(number).save(path)
    write_captions(folder / "captions.csv", [(name, text) for name, texts in captions.items() for text in texts])
    return folder


def clean_folder(folder: Path, count: int = 30) -> Path:
    """A folder with nothing wrong: every word occurs often, every image and every caption is another."""
    return write_folder(folder, {f"photo{number:02}.jpg": sentences(number) for number in range(count)})


def params_of(folder: Path, **sections: dict[str, object]) -> Params:
    """The parameters for a folder of one's own."""
    dataset = {"name": "folder", "source": str(folder)} | sections.pop("dataset", {})
    return parse_params({"dataset": dataset, "prepare": {"min_count": 2} | sections.pop("prepare", {})}, "test")
