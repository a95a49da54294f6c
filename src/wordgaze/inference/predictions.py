"""What programs send to a captioner and what they get: images as text, and captions as plain values."""

import math
import os
from pathlib import Path
from typing import Any

from PIL import Image

from wordgaze.core.errors import ImageError
from wordgaze.generation.outputs import Caption
from wordgaze.inference.encoded_images import decode_base64
from wordgaze.vision.decoding_process import decode_safely
from wordgaze.vision.images import load_reduced

PATHS_VARIABLE = "WORDGAZE_PATHS"
"""The environment variable that allows requests to open files by path (1) or forbids it (0)."""

NO_PREDICTION: dict[str, Any] = {
    "caption": "", "log_prob": None, "score": None, "probability": None, "words": [], "word_log_probs": [],
    "confidence": None, "is_outlier": None, "error": "",
}  # fmt: skip
"""The columns of every row, of an image without a caption. Texts are never None, of which Spark would make "nan"."""

MAX_PATH = 255  # characters; a longer text is not shown in an error, for it is an image


def decode_sent_image(text: object, number: int, paths_allowed: bool, *, only_light: bool = False) -> Image.Image:
    """Decodes base64 or a data URL, or opens a path where that is allowed.

    Raises ImageError, which names the picture by its number, and by its text only where that may be a path. With
    ``only_light``, HeavyImageError is raised instead of decoding an image that may take long.
    """
    if not isinstance(text, str):
        raise ImageError(f"picture {number}: is not text; give an encoded picture as base64")
    is_path = paths_allowed and len(text) <= MAX_PATH
    try:
        if is_path and os.path.isfile(text):
            return _decode(Path(text), only_light)
        return _decode(decode_base64(text), only_light)
    except ImageError as error:
        reason = str(error).removeprefix("the picture: ")
        if is_path and not os.path.isfile(text):
            reason = f"{text!r} is not a file here, and {reason}"
        elif not paths_allowed:
            reason = reason.replace("not valid base64;", "not valid base64, and paths are not opened here;")
        raise ImageError(f"picture {number}: {reason}") from error


def _decode(source: Path | bytes, only_light: bool) -> Image.Image:
    if not only_light:
        return decode_safely(source)
    name = str(source) if isinstance(source, Path) else "the picture"
    return load_reduced(source, None, name, only_light=True).picture


def to_row(caption: Caption, attention: bool) -> dict[str, Any]:
    """A caption as plain values, with its attention weights and their grid if ``attention``."""
    values: dict[str, Any] = {
        "caption": caption.text,
        "log_prob": caption.log_prob,
        "score": caption.score,
        "probability": math.exp(caption.log_prob),
        "words": list(caption.words),
        "word_log_probs": list(caption.word_log_probs),
    }
    if caption.confidence is not None:
        values |= {"confidence": caption.confidence, "is_outlier": caption.is_outlier}
    return values | {"attention": caption.weights.tolist(), "grid": list(caption.grid)} if attention else values


def to_prediction(captions: list[Caption], attention: bool, several: bool) -> dict[str, Any]:
    """The row of an image: its best caption, and all of them as ``captions`` where ``several`` were asked for. It has
    every column of NO_PREDICTION."""
    rows = [to_row(caption, attention) for caption in captions]
    return NO_PREDICTION | rows[0] | ({"captions": rows} if several else {})
