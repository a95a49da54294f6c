"""Base64 as programs write it, and what is not base64."""

import base64
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core.errors import ImageError
from wordgaze.inference import encoded_images
from wordgaze.inference.encoded_images import decode_base64

FORMS = {
    "plain": lambda data: base64.b64encode(data).decode(),
    "line breaks": lambda data: base64.encodebytes(data).decode(),
    "windows line breaks": lambda data: "\r\n".join(textwrap.wrap(base64.b64encode(data).decode(), 64)),
    "url-safe": lambda data: base64.urlsafe_b64encode(data).decode(),
    "no padding": lambda data: base64.b64encode(data).decode().rstrip("="),
    "blanks around": lambda data: f" \t{base64.b64encode(data).decode()}\n",
    "data url": lambda data: f"data:image/png;base64,{base64.b64encode(data).decode()}",
    "data url without a type": lambda data: f"data:;base64,{base64.b64encode(data).decode()}",
    "data url with parameters": lambda data: f"DATA:image/jpeg;name=a.jpg;BASE64,{base64.encodebytes(data).decode()}",
    "percent-encoded data url": lambda data: (
        "data:image/png;base64," + base64.b64encode(data).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@given(data=st.binary(min_size=1, max_size=200))
def test_base64_in_every_form_gives_the_bytes(form: str, data: bytes) -> None:
    assert decode_base64(FORMS[form](data)) == data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SECRET/photo.jpg", "is not valid base64; give an encoded image as base64"),
        ("SECRET" * 1000 + "\u00e9", "is not valid base64"),
        ("SECRE", "is not valid base64"),
        ("SECR=ET", "is not valid base64"),
        ("https://example.org/SECRET.png", "is not valid base64"),
        ("data:image/svg+xml,%3Csvg%20SECRET%3E", "is a data URL without ;base64; encode the image as base64"),
        ("data:image/png;base64,", "is empty"),
        (" \n", "is empty"),
        ("\ud800SECRET", "is not valid base64"),
    ],
)
def test_what_is_not_base64_is_refused_without_repeating_it(text: str, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_base64(text)
    assert str(caught.value).startswith(message)
    assert "SECRET" not in str(caught.value)


def test_the_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded_images, "MAX_BYTES", 30)
    assert decode_base64(base64.b64encode(bytes(30)).decode()) == bytes(30)
    with pytest.raises(ImageError, match="has 31 bytes, more than the 30 allowed"):
        decode_base64(base64.b64encode(bytes(31)).decode())
    with pytest.raises(ImageError, match="has 64 characters of base64, and 60 are allowed"):
        decode_base64(base64.b64encode(bytes(48)).decode())
