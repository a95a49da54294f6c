"""Images as base64 text, as requests carry them."""

import binascii
import re
from urllib.parse import unquote_to_bytes

from wordgaze.core.errors import ImageError

MAX_BYTES = 64 * 2**20
"""The largest image file that is read."""

_DATA_URL = re.compile(r"data:(?P<media>[^,]{0,200}),", re.IGNORECASE)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def decode_base64(text: str) -> bytes:
    """The bytes of base64 text of the standard or the URL-safe alphabet, or of a data URL.

    White space is ignored, and the padding may be missing. Raises ImageError, which never repeats the text: it is what
    somebody has sent, and may be an image of megabytes.
    """
    if len(text) > 2 * MAX_BYTES:  # twice: line breaks, and the percent signs of a data URL
        raise ImageError(f"has {len(text)} characters of base64, and {2 * MAX_BYTES} are allowed; make it smaller")
    text = text.strip()
    header = _DATA_URL.match(text)
    if header and not header["media"].lower().replace(" ", "").endswith(";base64"):
        raise ImageError("is a data URL without ;base64; encode the image as base64")
    body = text[header.end() :] if header else text
    encoded = unquote_to_bytes(body) if header and "%" in body else body.encode("utf-8", "replace")
    encoded = b"".join(encoded.split()).translate(_URL_SAFE)
    digits = encoded.rstrip(b"=")
    if not digits:
        raise ImageError("is empty; give an encoded image as base64")
    try:
        data = binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True)
    except binascii.Error as error:
        raise ImageError("is not valid base64; give an encoded image as base64") from error
    if len(data) > MAX_BYTES:
        raise ImageError(f"has {len(data)} bytes, more than the {MAX_BYTES} allowed; make it smaller")
    return data
