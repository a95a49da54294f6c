"""One caption a line, after the name of its image: ``a.jpg#0<TAB>caption``, ``a.jpg caption``."""

import re
from collections.abc import Iterator

from wordgaze.data.readers.captions.content import CaptionContent, CaptionFile, CaptionLayout, CaptionRow, shown
from wordgaze.data.records import Fault
from wordgaze.vision.formats import EXTENSIONS

_TOKEN = re.compile(r"(.+)#\d+\t(.*)")
_PAIR = re.compile(rf"(?i)(\S.*?(?:{'|'.join(map(re.escape, sorted(EXTENSIONS)))}))(?:#\d+)?(?:[ \t]+|\s*:\s+)(\S.*)")


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, numbered from 1. Only a newline ends a line: captions may contain other separators."""
    lines = (text if "\n" in text else text.replace("\r", "\n")).split("\n")
    return ((number, line.rstrip("\r")) for number, line in enumerate(lines, start=1) if line.strip())


def _reader(name: str, layout: str, pattern: re.Pattern[str], form: str) -> CaptionLayout:
    def fits(file: CaptionFile) -> bool:
        return bool(pattern.fullmatch(file.first_line.strip()))

    def read(file: CaptionFile) -> CaptionContent:
        rows: list[CaptionRow] = []
        content = CaptionContent(layout, file.path, ":{}", rows)
        for number, line in numbered_lines(file.text):
            match = pattern.fullmatch(line.strip())
            if match is None:
                reason = f"is not {form}: {shown(line)}; correct the line"
                content.faults.append(Fault(content.place(number), reason))
            else:
                rows.append(CaptionRow(number, {"image": match[1].strip(), "caption": match[2].strip()}))
        return content

    return CaptionLayout(name, fits, read)


TOKEN_LAYOUT = _reader("tokens", "Flickr8k tokens", _TOKEN, "'name.jpg#0<TAB>caption'")
PAIR_LAYOUT = _reader("pairs", "lines of an image and its caption", _PAIR, "'name.jpg caption'")
