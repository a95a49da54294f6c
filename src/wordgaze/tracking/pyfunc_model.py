"""The code of the packaged captioner, which MLflow copies into the model and runs when the model is loaded.

wordgaze itself travels in the model's ``code`` folder and is on the path only once MLflow has put it there; it is
imported when the model loads, not when this file is read. ``wordgaze serve`` does not run this code: it reads the
captioner folder that is in the model.
"""

import os
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

BATCH = 16


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
        not by a server. ``params`` are fields of GenerationConfig, the random ``seed``, ``attention`` and ``on_error``:
        with "column" a picture that cannot be read has a row with its ``error`` and an empty caption, with "raise" it
        ends the call.

        A row is ``caption``, its ``words`` and ``word_log_probs``, their sum with the end's ``log_prob`` (the natural
        logarithm) and ``probability``, ``score``, by which captions are ranked, and ``error``. ``confidence`` and
        ``is_outlier`` are None of a captioner without a calibration. With ``attention`` there are the weights, a list
        of L for each word, and ``grid``: [rows, columns], with L = rows · columns in row-major order.
        With ``num_return_sequences`` above 1, ``captions`` holds all of them, the best first. Raises
        ImageError for text that is not a picture, ParamsError for wrong params and, in a server, for a request that
        costs too much.
        """
        from wordgaze.generation.config import parse_generation_config
        from wordgaze.inference.predictions import NO_PREDICTION, to_prediction
        from wordgaze.inference.request_cost import check_cost

        settings = dict(params or {})
        seed, attention = settings.pop("seed", 0), settings.pop("attention", False)
        on_error = settings.pop("on_error", "raise")
        config = parse_generation_config(**settings)
        texts, served = list(model_input["image"]), _is_served()
        if served:
            check_cost(config, len(texts))
        paths_allowed = os.environ.get("WORDGAZE_PATHS", "0" if served else "1") == "1"
        rows = []
        for start in range(0, len(texts), BATCH):
            numbered = enumerate(texts[start : start + BATCH], start + 1)
            opened = [_open(text, n, paths_allowed, on_error) for n, text in numbered]
            images = [each for each in opened if not isinstance(each, str)]
            captions = iter(self.captioner.caption(images, config, seed=seed))
            rows += [
                {**NO_PREDICTION, "error": each}
                if isinstance(each, str)
                else to_prediction(next(captions), attention, config.num_return_sequences > 1)
                for each in opened
            ]
        return pd.DataFrame(rows)


def _open(text: Any, number: int, paths_allowed: bool, on_error: str) -> Any:
    """The picture; or the message of its error, with ``on_error`` "column"."""
    from wordgaze.core.errors import ImageError
    from wordgaze.inference.predictions import decode_sent_image

    try:
        return decode_sent_image(text, number, paths_allowed)
    except ImageError as error:
        if on_error != "column":
            raise
        return str(error)


def _is_served() -> bool:
    """Whether MLflow's scoring server runs this model."""
    return os.environ.get("_MLFLOW_IS_IN_SERVING_ENVIRONMENT") == "true"


set_model(ServedCaptioner())
