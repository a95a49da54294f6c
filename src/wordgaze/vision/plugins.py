"""The formats that Pillow reads with a plug-in: HEIC with pillow-heif, JPEG XL with pillow-jxl-plugin."""

from importlib import import_module
from typing import BinaryIO, Literal, TypeAlias

from wordgaze.vision.formats import UnreadFormatError

PluginFormat: TypeAlias = Literal["HEIF", "JXL"]
"""The name by which the plug-in registers itself with Pillow."""

_MODULES: dict[PluginFormat, str] = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}
_LABELS: dict[PluginFormat, str] = {"HEIF": "a HEIC", "JXL": "a JPEG XL"}
_HEIF_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
)  # ISO/IEC 23008-12, annex B
_JXL_CODESTREAM = b"\xff\x0a"
_JXL_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_HEAD = 256  # bytes; a file type box is shorter
_HEADER = 12  # bytes of a codestream that hold its size

_SIZE_BITS = (9, 13, 18, 30)
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width : height


def plugin_format(stream: BinaryIO) -> PluginFormat | None:
    """The format of an image that needs a plug-in, else None. The stream is left at its beginning."""
    head = stream.read(_HEAD)
    stream.seek(0)
    if head.startswith((_JXL_CODESTREAM, _JXL_CONTAINER)):
        return "JXL"
    brands = head[8 : int.from_bytes(head[:4])]
    is_avif = b"avif" in brands or b"avis" in brands  # Pillow reads it; it shares the brands mif1 and msf1
    return "HEIF" if head[4:8] == b"ftyp" and brands[:4] in _HEIF_BRANDS and not is_avif else None


def register_plugin(name: PluginFormat, file: str) -> None:
    """Makes Pillow read this format. Raises UnreadFormatError, which begins with ``file``, without the plug-in."""
    try:
        plugin = import_module(_MODULES[name])
    except ImportError as error:
        raise UnreadFormatError(
            f'{file}: is {_LABELS[name]} image; pip install "wordgaze[formats]" to read it'
        ) from error
    if name == "HEIF":  # the other one registers itself when it is imported
        plugin.register_heif_opener()


def jxl_size(stream: BinaryIO) -> tuple[int, int]:
    """(width, height) that a JPEG XL file declares. The plug-in decodes all pixels before it tells the size.

    Raises ValueError where the file declares none. Source: ISO/IEC 18181-1, SizeHeader; 18181-2, boxes.
    """
    header = _codestream(stream)
    stream.seek(0)
    if len(header) < _HEADER or not header.startswith(_JXL_CODESTREAM):
        raise ValueError("it has no image header")
    bits = _Bits(header[len(_JXL_CODESTREAM) :])
    is_small = bits.take(1)
    height = bits.size(is_small)
    ratio = bits.take(3)
    if not ratio:
        return bits.size(is_small), height
    wide, high = _RATIOS[ratio - 1]
    return height * wide // high, height


def _codestream(stream: BinaryIO) -> bytes:
    """The first bytes of the codestream, which a container holds in a box."""
    head = stream.read(len(_JXL_CONTAINER))
    if head != _JXL_CONTAINER:
        return head
    while len(box := stream.read(8)) == 8:
        size, kind, header = int.from_bytes(box[:4]), box[4:], 8
        if size == 1:  # the size follows in 64 bits
            size, header = int.from_bytes(stream.read(8)), 16
        if kind in (b"jxlc", b"jxlp"):
            stream.seek(4 if kind == b"jxlp" else 0, 1)  # a part begins with its number
            return stream.read(_HEADER)
        if size < header:  # 0: up to the end of the file
            break
        stream.seek(size - header, 1)
    return b""


class _Bits:
    """Bits of bytes, the least significant first."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._rest & (1 << count) - 1
        self._rest >>= count
        return value

    def size(self, is_small: int) -> int:
        """A width or height: a multiple of 8 in 5 bits, or a number with one of four lengths."""
        return 8 * (1 + self.take(5)) if is_small else 1 + self.take(_SIZE_BITS[self.take(2)])
