"""Draws photographs with their captions by the packaged captioner and with a reference, for README.md.

    python docs/scripts/photographs_sheet.py FOLDER OUT.jpg

FOLDER holds ``images/`` and ``annotations/captions.json`` in the format of COCO. Of the photographs under CC BY 2.0 the
eight with the highest confidence are drawn, each with its first reference, so that nobody chooses them. The file names
and the addresses, which NOTICE has, are printed.
"""

import json
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

import wordgaze

COLUMNS, SIZE, GAP, TEXT = 4, (300, 225), 12, 112
NUM_DRAWN = 8
CC_BY = "http://creativecommons.org/licenses/by/2.0/"


class Photograph(NamedTuple):
    """A photograph with the caption of the captioner and a person's."""

    path: Path
    address: str
    caption: str
    confidence: float
    reference: str


def caption_photographs(folder: Path) -> list[Photograph]:
    """The photographs that may be shown, those with the highest confidence first."""
    captioner = wordgaze.load("photos")
    coco = json.loads((folder / "annotations" / "captions.json").read_text(encoding="utf-8"))
    licences = {each["id"] for each in coco["licenses"] if each["url"] == CC_BY}
    references: dict[int, str] = {}
    for each in coco["annotations"]:
        references.setdefault(each["image_id"], each["caption"].strip().rstrip(".").lower())
    photographs = []
    for image in (image for image in coco["images"] if image["license"] in licences):
        path = folder / "images" / image["file_name"]
        best = captioner.caption(path)[0]
        reference = references[image["id"]]
        photographs.append(Photograph(path, image["flickr_url"], best.text, best.confidence or 0.0, reference))
    return sorted(photographs, key=lambda each: (-each.confidence, each.path.name))


def draw_sheet(photographs: list[Photograph], output: Path) -> None:
    """Writes a grid of photographs with the caption and its confidence below each, and the reference in grey."""
    font, small = ImageFont.load_default(17), ImageFont.load_default(15)
    width, height = SIZE[0] + GAP, SIZE[1] + TEXT
    rows = -(-len(photographs) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for place, each in enumerate(photographs):
        x, y = GAP + place % COLUMNS * width, GAP + place // COLUMNS * height
        with Image.open(each.path) as image:
            sheet.paste(ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), SIZE), (x, y))
        caption = textwrap.wrap(f"{each.caption} ({each.confidence:.0%})", 36)
        draw.multiline_text((x, y + SIZE[1] + 5), "\n".join(caption), "black", font)
        reference = textwrap.wrap(f"A person: {each.reference}", 41)[:3]
        draw.multiline_text((x, y + SIZE[1] + 8 + 21 * len(caption)), "\n".join(reference), "dimgrey", small)
    sheet.save(output, quality=82, optimize=True)


if __name__ == "__main__":
    drawn = caption_photographs(Path(sys.argv[1]))[:NUM_DRAWN]
    draw_sheet(drawn, Path(sys.argv[2]))
    for photograph in drawn:
        print(photograph.path.name, photograph.address)
