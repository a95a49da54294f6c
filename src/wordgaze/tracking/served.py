"""The code of the packaged captioner, which MLflow copies into the model and runs when the model is loaded.

wordgaze itself travels in the model's ``code`` folder and is on the path only once MLflow has put it there; it is
imported when the model loads, not when this file is read.
"""

import base64
import binascii
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

if TYPE_CHECKING:
    from PIL.Image import Image


class ServedCaptioner(PythonModel):
    """A captioner as an MLflow model: a column of pictures in, a column of captions out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the captioner that lies in the model's artifacts."""
        from wordgaze.captioner import Captioner

        self.captioner = Captioner.load(Path(context.artifacts["captioner"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """The best caption of every picture in the column ``image``: a path, or an encoded picture as base64.

        ``params`` are fields of DecodeParams. ``log_prob`` is the natural logarithm, ``score`` what beams are ranked
        by. Raises ImageError for text that is neither an existing file nor base64 of a picture.
        """
        from wordgaze.params import DecodeParams

        images = [picture(text) for text in model_input["image"]]
        found = [captions[0] for captions in self.captioner.caption(images, DecodeParams(**(params or {})))]
        return pd.DataFrame([{"caption": c.text, "log_prob": c.log_prob, "score": c.score} for c in found])


def picture(text: str) -> "Image":
    """Opens a path, or decodes base64. Raises ImageError."""
    from wordgaze.errors import ImageError
    from wordgaze.vision.images import load_image

    if os.path.isfile(text):
        return load_image(Path(text))
    try:
        return load_image(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ImageError(
            f"{text[:60]!r} is neither a file here nor base64; give a path or an encoded picture as base64"
        ) from error


set_model(ServedCaptioner())
