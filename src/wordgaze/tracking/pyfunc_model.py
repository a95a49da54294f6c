"""The code of the packaged captioner, which MLflow copies into the model and runs when the model is loaded.

wordgaze itself travels in the model's ``code`` folder and is on the path only once MLflow has put it there; it is
imported when the model loads, not when this file is read.
"""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

if TYPE_CHECKING:
    from PIL.Image import Image

    from wordgaze.generation.outputs import Caption

PATHS = "WORDGAZE_PATHS"
"""The environment variable that allows requests to open files by path (1) or forbids it (0)."""

BATCH = 16
MAX_PATH = 255  # characters; a longer text is not shown in an error, for it is an image


class ServedCaptioner(PythonModel):
    """A captioner as an MLflow pyfunc model: a column of images in, a row with the caption of each out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the captioner that lies in the model's artifacts."""
        from wordgaze.inference.captioner import Captioner

        self.captioner = Captioner.load(Path(context.artifacts["captioner"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Captions every picture of the column ``image``: an encoded picture as base64 or as a data URL, or a path.

        Paths are opened where ``WORDGAZE_PATHS`` is 1; if it is not set, by a program that has loaded the model, and
        not by a server. ``params`` are fields of GenerationConfig, ``seed`` of what is sampled, and ``attention``.

        A row is ``caption``, its ``words`` and ``word_log_probs``, their sum with the end's ``log_prob`` (the natural
        logarithm) and ``probability``, ``score``, by which captions are ranked, and the ``confidence`` of a captioner
        that has one. With ``attention`` there are the
        weights, a list of L for each word, and ``grid``: [rows, columns], with L = rows · columns in row-major order.
        With ``num_return_sequences`` above 1, ``captions`` holds all of them, the best first. Raises
        ImageError for text that is not a picture, ParamsError for wrong params.
        """
        from wordgaze.generation.config import parse_generation_config

        settings = dict(params or {})
        seed, attention = settings.pop("seed", 0), settings.pop("attention", False)
        config = parse_generation_config(**settings)
        texts = list(model_input["image"])
        rows = []
        for start in range(0, len(texts), BATCH):
            images = [decode_image(text, n) for n, text in enumerate(texts[start : start + BATCH], start + 1)]
            for candidates in self.captioner.caption(images, config, seed=seed):
                captions = [to_row(caption, attention) for caption in candidates]
                rows.append(captions[0] | ({"captions": captions} if config.num_return_sequences > 1 else {}))
        return pd.DataFrame(rows)


def to_row(caption: "Caption", attention: bool) -> dict[str, Any]:
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
        values["confidence"] = caption.confidence
    return values | {"attention": caption.weights.tolist(), "grid": list(caption.grid)} if attention else values


def decode_image(text: object, number: int) -> "Image":
    """Decodes base64 or a data URL, or opens a path where that is allowed.

    Raises ImageError, which names the picture by its number, and by its text only where that may be a path.
    """
    from wordgaze.core.errors import ImageError
    from wordgaze.inference.encoded_images import decode_base64
    from wordgaze.vision.images import load_image

    if not isinstance(text, str):
        raise ImageError(f"picture {number}: is not text; give an encoded picture as base64")
    try:
        if _paths_allowed() and os.path.isfile(text):
            return load_image(Path(text))
        return load_image(decode_base64(text))
    except ImageError as error:
        reason = str(error).removeprefix("the picture: ")
        if _paths_allowed() and len(text) <= MAX_PATH and not os.path.isfile(text):
            reason = f"{text!r} is not a file here, and {reason}"
        elif not _paths_allowed():
            reason = reason.replace("not valid base64;", "not valid base64, and paths are not opened here;")
        raise ImageError(f"picture {number}: {reason}") from error


def _paths_allowed() -> bool:
    served = os.environ.get("_MLFLOW_IS_IN_SERVING_ENVIRONMENT") == "true"  # set by MLflow's scoring server
    return os.environ.get(PATHS, "0" if served else "1") == "1"


set_model(ServedCaptioner())
