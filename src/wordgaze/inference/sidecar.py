"""The kinds of sidecar files. The options of the command line need them without the libraries that write them."""

from enum import StrEnum


class Sidecar(StrEnum):
    """A file beside an image. ``txt``: ``a.txt`` holds the caption. ``xmp``: ``a.jpg.xmp`` holds the description."""

    TXT = "txt"
    XMP = "xmp"
