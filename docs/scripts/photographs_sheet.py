"""Draws photographs with their captions by the packaged captioner, for README.md.

    python docs/scripts/photographs_sheet.py PHOTOGRAPH … OUT.jpg

README.md has the first eight photographs by id of a sample of COCO that are under CC BY 2.0; NOTICE names them.
"""

import sys
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

import wordgaze

COLUMNS, SIZE, GAP, TEXT = 4, (300, 225), 12, 62


def draw_sheet(photographs: list[Path], output: Path) -> None:
    """Writes a grid of photographs with the caption and its confidence below each."""
    captioner = wordgaze.load("photos")
    font = ImageFont.load_default(17)
    width, height = SIZE[0] + GAP, SIZE[1] + TEXT
    rows = -(-len(photographs) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for place, path in enumerate(photographs):
        x, y = GAP + place % COLUMNS * width, GAP + place // COLUMNS * height
        with Image.open(path) as image:
            sheet.paste(ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), SIZE), (x, y))
        caption = captioner.caption(path)[0]
        text = f"{caption.text} ({caption.confidence:.0%})"
        draw.multiline_text((x, y + SIZE[1] + 5), "\n".join(textwrap.wrap(text, 36)), "black", font)
    sheet.save(output, quality=82, optimize=True)


if __name__ == "__main__":
    draw_sheet([Path(name) for name in sys.argv[1:-1]], Path(sys.argv[-1]))
