"""Pictures of one colour each, with captions that name it: what the smallest trainings learn."""

from pathlib import Path
from typing import Any

from PIL import Image

from wordgaze.data.prepared import Prepared
from wordgaze.models.config import DecoderConfig
from wordgaze.text.vocabulary import SPECIAL, Vocabulary
from wordgaze.vision.encoders import Encoder, build_encoder

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
WORDS = ("a", "picture", "of", *COLOURS)
SIZES = DecoderConfig(embedding_size=8, hidden_size=8, attention_size=8, feature_size=8)


def colour_of(number: int) -> str:
    """The colour of a picture."""
    return list(COLOURS)[number % len(COLOURS)]


def picture_of(colour: str) -> Image.Image:
    """A picture of a colour."""
    return Image.new("RGB", (40, 30), COLOURS[colour])


def write_coloured(folder: Path) -> Prepared:
    """Twelve pictures in a new folder, eight of them for training and four for dev."""
    captions: dict[str, Any] = {"train": {}, "dev": {}, "test": {}}
    folder.mkdir()
    for i in range(12):
        colour = colour_of(i)
        picture_of(colour).save(folder / f"{i:02}.png")
        captions["train" if i < 8 else "dev"][f"{i:02}.png"] = [["a", "picture", "of", colour], [colour]]
    return Prepared(captions, {}, Vocabulary((*SPECIAL, *WORDS)))


def small_encoder() -> Encoder:
    """An encoder of random weights, the same each time."""
    return build_encoder("timm/test_efficientnet", "random", image_size=64)
