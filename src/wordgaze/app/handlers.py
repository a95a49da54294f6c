"""Requests of the page and of API clients about one picture, and their answers as JSON."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from wordgaze.app.corrections import Corrections
from wordgaze.app.service import CaptionService
from wordgaze.core.errors import ImageError, ParamsError, WordgazeError
from wordgaze.core.files import stable_json
from wordgaze.generation.presets import PRESETS
from wordgaze.inference.attention_maps import attention_sheet
from wordgaze.inference.explanation import Explanation
from wordgaze.inference.film import save_gif
from wordgaze.inference.uploads import open_upload, read_upload
from wordgaze.text.tokenizer import tokenize

_PICTURE_SIZE = 1280  # pixels, the long side of a picture on the page
STRATEGIES = ("beam", *(name for name in PRESETS if name != "beam"))  # the first one is shown on the stage
CONTROLS = (
    "num_beams",
    "num_return_sequences",
    "max_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "bad_words",
    "force_words",
)
"""The page's controls that are fields of GenerationConfig, in its order: after the models, before the seed."""

Json = dict[str, Any]
Upload = Mapping[str, Any]
"""Gradio's description of an uploaded file."""


class CaptionHandlers:
    """The handlers of the page's first tab, and the endpoints ``caption``, ``attention`` and ``continue_caption``."""

    def __init__(self, service: CaptionService, corrections: Corrections) -> None:
        self.service, self.corrections = service, corrections

    def captions(self, upload: Upload | None, models: list[str], *controls: Any) -> Iterator[Json | None]:
        """The captions of a picture for the view, growing with each strategy; or an error message in their place."""
        if upload is None:
            yield None
            return
        try:
            yield from self._captions(open_picture(upload), models, *read_controls(controls))
        except WordgazeError as error:
            yield {"error": str(error)}

    def _captions(self, image: Image.Image, models: list[str], decode: Json, seed: int) -> Iterator[Json]:
        if not models:
            raise ParamsError("no model is chosen; choose one in the settings")
        supported = {model: self.service.captioner(model).presets for model in models}
        order = [name for name in STRATEGIES if any(name in presets for presets in supported.values())]
        coming = {
            model: self.service.captions(
                model, image, decode, [name for name in order if name in supported[model]], seed
            )
            for model in models
        }
        shown: Json = {"picture": _data_url(image), "answers": [], "explanation": None}
        for number, strategy in enumerate(order, start=1):
            for model in (model for model in models if strategy in supported[model]):
                answer = next(coming[model])
                shown["answers"].append({"model": model, **answer.to_dict()})
                if shown["explanation"] is None:
                    words = [word.text for word in answer.captions[0].words]
                    shown["explanation"] = self.service.explain(model, image, words).to_dict()
                yield {**shown, "answers": list(shown["answers"]), "waiting": order[number:]}

    def explain(self, asked: gr.EventData, upload: Upload, *_: Any) -> Any:
        """The attention of another caption."""
        return self._mail(asked, lambda: {"explanation": self._explanation(asked, upload).to_dict()})

    def complete(self, asked: gr.EventData, upload: Upload, models: list[str], *controls: Any) -> Any:
        """The caption that continues from an alternative word that a person picked."""

        def answer() -> Json:
            image, (decode, seed) = open_picture(upload), read_controls(controls)
            completion = self.service.continue_caption(
                asked.model, image, asked.words, {**decode, "num_return_sequences": 1}, seed
            )
            explanation = self.service.explain(asked.model, image, [word.text for word in completion.words])
            row = {"model": asked.model, "strategy": "your word", "seconds": 0, "encoder_seconds": 0}
            return {"explanation": explanation.to_dict(), "answer": {**row, "captions": [completion.to_dict()]}}

        return self._mail(asked, answer)

    def export_file(self, asked: gr.EventData, upload: Upload, *_: Any) -> Any:
        """The shown caption as a file: a sheet of panels, an animation, or JSON."""

        def answer() -> Json:
            write, kind, name = _FILES[asked.kind]
            data = write(self._explanation(asked, upload), open_picture(upload))
            return {"file": {"name": name, "type": kind, "data": base64.b64encode(data).decode()}}

        return self._mail(asked, answer)

    def correct(self, asked: gr.EventData, upload: Upload, *_: Any) -> Any:
        """Stores a caption that a person corrected."""

        def answer() -> Json:
            versions = {model.name: model.version for model in self.service.models}
            path, name = _file(upload)
            self.corrections.add(
                read_upload(path, name), name, asked.caption, asked.text, asked.model, versions.get(asked.model, "")
            )
            count = len(self.corrections.all())
            return {"message": f"Thank you. {count} correction{'s' if count > 1 else ''} kept, to train on."}

        return self._mail(asked, answer)

    def caption(
        self,
        picture: dict[str, Any],
        model: str = "",
        strategies: list[str] = ["beam"],  # noqa: B006 (Gradio shows it as the default)
        settings: dict[str, Any] = {},  # noqa: B006
        seed: int = 0,
    ) -> list[dict[str, Any]]:
        """Captions of a picture, per strategy. model: the first one if empty. settings: fields of the section
        generation of params.yaml, such as num_beams, num_return_sequences, max_new_tokens, temperature, bad_words."""
        with _as_gradio_error():
            answers = self.service.captions(self._model(model), open_picture(picture), settings, strategies, seed)
            return [answer.to_dict() for answer in answers]

    def attention(self, picture: dict[str, Any], words: str, model: str = "") -> dict[str, Any]:
        """The attention for each of these words, as a grid of weights, and the most likely alternative words."""
        with _as_gradio_error():
            return self.service.explain(self._model(model), open_picture(picture), tokenize(words)).to_dict()

    def continue_caption(
        self,
        picture: dict[str, Any],
        words: str,
        model: str = "",
        settings: dict[str, Any] = {},  # noqa: B006
        seed: int = 0,
    ) -> dict[str, Any]:
        """The best caption that begins with these words."""
        with _as_gradio_error():
            image = open_picture(picture)
            return self.service.continue_caption(self._model(model), image, tokenize(words), settings, seed).to_dict()

    def _model(self, name: str) -> str:
        return name or self.service.models[0].name

    def _explanation(self, asked: gr.EventData, upload: Upload) -> Explanation:
        return self.service.explain(asked.model, open_picture(upload), asked.words)

    def _mail(self, asked: gr.EventData, answer: Callable[[], Json]) -> Any:
        """The answer to one request of the view, by its ticket number; or an error message."""
        try:
            mail = answer()
        except WordgazeError as error:
            mail = {"message": str(error)}
        return gr.update(mail={"ticket": asked.ticket, **mail})


def open_picture(upload: Upload) -> Image.Image:
    """The picture of an upload, flat and upright. Raises ImageError."""
    return open_upload(*_file(upload))


def read_controls(values: Sequence[Any]) -> tuple[Json, int]:
    """Fields of GenerationConfig, and the seed, from what the controls hold."""
    *settings, seed = values
    decode = dict(zip(CONTROLS, settings, strict=True))
    for name in ("bad_words", "force_words"):
        decode[name] = [word for word in re.split(r"[,\s]+", (decode[name] or "").lower()) if word]
    return decode, int(seed or 0)


def _file(upload: Upload) -> tuple[Path, str]:
    """The path of an upload and the name that the user gave it. Raises ImageError for any other local file."""
    path = upload.get("path") if isinstance(upload, Mapping) else None
    # Gradio checks this only where the file carries its own mark.
    if not isinstance(path, str) or not Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        raise ImageError("the path is not that of an uploaded picture; upload one and give its path")
    return Path(path), str(upload.get("orig_name") or Path(path).name)


def _data_url(image: Image.Image) -> str:
    """A picture as a data URL."""
    small = image.copy()
    small.thumbnail((_PICTURE_SIZE, _PICTURE_SIZE))
    file = BytesIO()
    small.save(file, "JPEG", quality=88)
    return jpeg_data_url(file.getvalue())


def jpeg_data_url(data: bytes) -> str:
    """The bytes of a JPEG as a data URL."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _strip(explanation: Explanation, image: Image.Image) -> bytes:
    file = BytesIO()
    attention_sheet(image, explanation.caption).save(file, "PNG")
    return file.getvalue()


def _film(explanation: Explanation, image: Image.Image) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "film.gif"
        save_gif(path, image, explanation.caption)
        return path.read_bytes()


def _numbers(explanation: Explanation, image: Image.Image) -> bytes:
    return stable_json(explanation.to_dict()).encode()


_FILES: dict[str, tuple[Callable[[Explanation, Image.Image], bytes], str, str]] = {
    "strip": (_strip, "image/png", "attention.png"),
    "gif": (_film, "image/gif", "attention.gif"),
    "json": (_numbers, "application/json", "attention.json"),
}


@contextmanager
def _as_gradio_error() -> Iterator[None]:
    """Passes errors of wordgaze to API clients as their message, without a traceback in the server's log."""
    try:
        yield
    except WordgazeError as error:
        raise gr.Error(str(error), print_exception=False) from error
