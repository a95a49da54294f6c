"""Requests of the page and of API clients about one picture, and their answers as JSON."""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from wordgaze.app.controls import (
    Choices,
    Json,
    own_preset,
    read_controls,
    read_seed,
    read_settings,
    read_strategies,
    with_labels,
)
from wordgaze.app.corrections import Corrections
from wordgaze.app.event_values import ViewEvent, one_line_errors, read_event, read_text, read_ticket, shown_error
from wordgaze.app.examples import ExampleSets
from wordgaze.app.service import CaptionService, StrategyResult
from wordgaze.core.errors import (
    ImageError,
    ParamsError,
    RequestTimeoutError,
    ResourceError,
    ServiceError,
    WordgazeError,
)
from wordgaze.core.files import stable_json
from wordgaze.core.leftovers import temporary_folder
from wordgaze.inference.attention_maps import attention_sheet
from wordgaze.inference.explanation import Explanation
from wordgaze.inference.film import save_gif
from wordgaze.inference.uploads import open_upload, read_upload

_PICTURE_SIZE = 1280  # pixels, the long side of a picture on the page
_TITLES: tuple[tuple[type[WordgazeError], str], ...] = (
    (ServiceError, "Failure"),
    (RequestTimeoutError, "Timeout"),
    (ResourceError, "Timeout"),
)
"""The titles of errors that are not the client's; see the HTTP statuses in :mod:`wordgaze.app.page_requests`."""
Upload = Mapping[str, Any]
"""Gradio's description of an uploaded file."""


class CaptionHandlers:
    """The handlers of the page's first tab, and the endpoints ``caption``, ``attention`` and ``continue_caption``."""

    def __init__(self, service: CaptionService, corrections: Corrections, examples: ExampleSets) -> None:
        self.service, self.corrections, self.examples = service, corrections, examples
        self._runs = count(1)

    def captions(self, upload: Upload | None, *controls: Any) -> Iterator[Json | None]:
        """The captions of a picture for the view, growing with each strategy, and error messages beside them."""
        if upload is None:
            yield None
            return
        shown: Json = {"run": next(self._runs), "answers": [], "waiting": [], "explanation": None, "error": ""}
        try:
            with one_line_errors():
                image = open_picture(upload)
                shown |= {"picture": _data_url(image), "reference": self.examples.reference(_file(upload)[0])}
                choices = read_controls(controls)
                shown |= {"waiting": list(choices.strategies), "minimum": choices.min_confidence}
                yield from self._captions(image, choices, shown)
        except WordgazeError as error:
            yield {**shown, "waiting": [], "error": with_labels(shown_error(error))}

    def _captions(self, image: Image.Image, choices: Choices, shown: Json) -> Iterator[Json]:
        coming: dict[str, Iterator[StrategyResult]] = {}
        errors: dict[str, str] = {}  # by captioner; the others go on
        supported: dict[str, list[str]] = {}
        for model in choices.models:
            loading = "" if self.service.is_loaded(model) else f"Loading {model} …"
            yield {**shown, "status": loading or "Captioning …"}
            with _noted(errors, model):
                supported[model] = choices.supported(model, self.service.captioner(model).presets)
                coming[model] = self.service.captions(model, image, choices.settings, supported[model], choices.seed)
        for number, strategy in enumerate(choices.strategies, start=1):
            for model in [model for model in coming if strategy in supported[model] and model not in errors]:
                with _noted(errors, model):
                    answer = next(coming[model])
                    shown["answers"] = [*shown["answers"], {"model": model, **answer.to_dict()}]
                    if shown["explanation"] is None:
                        words = [word.text for word in answer.captions[0].words]
                        shown["explanation"] = self.service.explain(model, image, words).to_dict()
                    yield {**shown, "waiting": choices.strategies[number:], "status": "Captioning …"}
        yield {**shown, "waiting": [], "status": "", "error": _joined(errors)}

    def explain(self, asked: gr.EventData, upload: Upload, *_: Any) -> Any:
        """The attention of another caption."""
        return self._mail(asked, lambda event: {"explanation": self._explanation(event, upload).to_dict()})

    def complete(self, asked: gr.EventData, upload: Upload, *controls: Any) -> Any:
        """The caption that continues from an alternative word that a person picked."""

        def answer(event: ViewEvent) -> Json:
            image, choices = open_picture(upload), read_controls(controls)
            completion = self.service.continue_caption(
                event.model, image, event.words, {**choices.settings, "num_return_sequences": 1}, choices.seed
            )
            explanation = self.service.explain(event.model, image, [word.text for word in completion.words])
            row = {"model": event.model, "strategy": "your word", "seconds": 0, "encoder_seconds": 0}
            return {"explanation": explanation.to_dict(), "answer": {**row, "captions": [completion.to_dict()]}}

        return self._mail(asked, answer)

    def export_file(self, asked: gr.EventData, upload: Upload, *_: Any) -> Any:
        """The shown caption as a file: a sheet of panels, an animation, or JSON."""

        def answer(event: ViewEvent) -> Json:
            if event.kind not in _FILES:
                raise ParamsError(f"there is no file of this kind; choose one of {', '.join(_FILES)}")
            write, kind, name = _FILES[event.kind]
            data = write(self._explanation(event, upload), open_picture(upload))
            return {"file": {"name": name, "type": kind, "data": base64.b64encode(data).decode()}}

        return self._mail(asked, answer)

    def correct(self, asked: gr.EventData, upload: Upload, *_: Any) -> Any:
        """Stores a caption that a person corrected."""

        def answer(event: ViewEvent) -> Json:
            versions = {model.name: model.version for model in self.service.models}
            if event.model not in versions:
                raise ParamsError("the captioner of this caption is not loaded; reload the page")
            path, name = _file(upload)
            data = read_upload(path, name)
            count = self.corrections.add(data, name, event.caption, event.text, event.model, versions[event.model])
            return {"message": f"Thank you. {count} correction{'s' if count > 1 else ''} kept, to train on."}

        return self._mail(asked, answer)

    def caption(
        self,
        picture: dict[str, Any],
        model: str = "",
        strategies: list[str] | None = None,
        settings: dict[str, Any] | None = {},  # noqa: B006 (Gradio shows it as the default)
        seed: int | None = 0,
    ) -> list[dict[str, Any]]:
        """Captions of a picture, per strategy. model: the first one if empty. strategies: the model's own if null.
        settings: fields of the section generation of params.yaml, such as num_beams, num_return_sequences,
        max_new_tokens, temperature, bad_words, name_objects; the model's own where none are given."""
        with _as_gradio_error():
            name = self._model(model)
            answers = self.service.captions(
                name,
                open_picture(picture),
                read_settings(settings),
                read_strategies(strategies, own_preset(self.service.captioner(name).generation_config)),
                read_seed(seed),
            )
            return [answer.to_dict() for answer in answers]

    def attention(self, picture: dict[str, Any], words: str, model: str = "") -> dict[str, Any]:
        """The attention for each of these words, as a grid of weights, and the most likely alternative words."""
        with _as_gradio_error():
            return self.service.explain(
                self._model(model), open_picture(picture), read_text(words, "the caption")
            ).to_dict()

    def continue_caption(
        self,
        picture: dict[str, Any],
        words: str,
        model: str = "",
        settings: dict[str, Any] | None = {},  # noqa: B006
        seed: int | None = 0,
    ) -> dict[str, Any]:
        """The best caption that begins with these words."""
        with _as_gradio_error():
            image, begin = open_picture(picture), read_text(words, "the caption")
            return self.service.continue_caption(
                self._model(model), image, begin, read_settings(settings), read_seed(seed)
            ).to_dict()

    def _model(self, name: Any) -> str:
        if name is not None and not isinstance(name, str):
            raise ParamsError("model is not a name; give one as text, or null for the first captioner")
        return name or self.service.names[0]

    def _explanation(self, event: ViewEvent, upload: Upload) -> Explanation:
        return self.service.explain(event.model, open_picture(upload), event.words)

    def _mail(self, asked: gr.EventData, answer: Callable[[ViewEvent], Json]) -> Any:
        """The answer to one request of the view, by its ticket number; or an error message."""
        try:
            with one_line_errors():
                mail = answer(read_event(asked._data))
        except WordgazeError as error:
            mail = {"message": with_labels(shown_error(error))}
        return gr.update(mail={"ticket": read_ticket(asked._data), **mail})


def open_picture(upload: Upload) -> Image.Image:
    """The picture of an upload, flat and upright. Raises ImageError."""
    return open_upload(*_file(upload))


@contextmanager
def _noted(errors: dict[str, str], model: str) -> Iterator[None]:
    """Keeps the error of one captioner from the others."""
    try:
        yield
    except WordgazeError as error:
        errors[model] = with_labels(shown_error(error))


def _joined(errors: Mapping[str, str]) -> str:
    """The errors of the captioners in one line; what all of them say is said once."""
    return " · ".join(dict.fromkeys(errors.values()))


def _file(upload: Upload) -> tuple[Path, str]:
    """The path of an upload and the name that the user gave it. Raises ImageError for any other local file."""
    path = upload.get("path") if isinstance(upload, Mapping) else None
    # Gradio checks this only where the file carries its own mark.
    if not isinstance(path, str) or not Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        raise ImageError("the path is not that of an uploaded picture; upload one and give its path")
    name = upload.get("orig_name")
    return Path(path), name if isinstance(name, str) and name else Path(path).name


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
    with temporary_folder() as folder:
        path = folder / "film.gif"
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
        with one_line_errors():
            yield
    except WordgazeError as error:
        title = next((title for kind, title in _TITLES if isinstance(error, kind)), "Error")
        raise gr.Error(shown_error(error), title=title, print_exception=False) from error
