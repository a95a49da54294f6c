"""The choice among the captioners: what the page says of the chosen one, and the examples that suit it."""

from collections.abc import Sequence
from html import escape
from io import BytesIO
from itertools import count
from typing import Any

import gradio as gr
from PIL import Image

from wordgaze.app.about import about_captioner
from wordgaze.app.controls import Json, own_values
from wordgaze.app.event_values import MAX_TEXT, one_line_errors, shown_error
from wordgaze.app.examples import LICENCE, ExamplePicture, ExampleSets
from wordgaze.app.handlers import jpeg_data_url
from wordgaze.app.service import CaptionService
from wordgaze.core.errors import WordgazeError

_THUMBNAIL = 240  # pixels, the long side


class CaptionerChoice:
    """The handlers of the choice of a captioner and of the examples."""

    def __init__(self, service: CaptionService, sets: ExampleSets) -> None:
        self.service, self.sets = service, sets
        self._loads = count(1)

    def loading(self, name: str) -> tuple[Any, Any]:
        """What is said of a captioner while it loads, and the view without the captions of the one before."""
        if not isinstance(name, str) or name not in self.service.names or self.service.is_loaded(name):
            return gr.skip(), gr.skip()
        line = f"Loading {name} …"
        return escape(line), {"run": -next(self._loads), "status": line, "keeps_picture": True}

    def chosen(self, name: str, before: Json, *values: Any) -> tuple[Any, ...]:
        """What is said of a captioner, its examples, its state and its own settings.

        ``before`` is the state of the one that was chosen before, and ``values`` are what the controls hold. A control
        that a person has changed stays as it is.
        """
        try:
            with one_line_errors():
                about, examples, state = about_captioner(self.service, name), self.examples(name), self.state(name)
        except WordgazeError as error:
            chosen = str(name)[:MAX_TEXT]
            return escape(shown_error(error)), gr.skip(), {**before, "captioner": chosen}, *([gr.skip()] * len(values))
        return about, examples, state, *map(_followed, values, before["own"], state["own"])

    def state(self, name: str) -> Json:
        """The captioner that is chosen, and the values of the controls that are its own settings."""
        return {"captioner": name, "own": own_values(self.service.captioner(name).generation_config)}

    def examples(self, name: str) -> Json:
        """The examples of a captioner for the view."""
        items = [
            {"title": each.title, "source": each.source, "picture": _thumbnail(each)} for each in self._pictures(name)
        ]
        return {"items": items, "licence": dict(zip(("name", "address"), LICENCE, strict=True))}

    def example(self, asked: gr.EventData, name: str) -> Any:
        """The path of the example that a person clicked."""
        try:
            return str(self._pictures(name)[asked.index].path)
        except (
            WordgazeError,
            AttributeError,
            IndexError,
            TypeError,
        ):  # of a captioner that was not loaded, or asked by a program
            return gr.skip()

    def _pictures(self, name: str) -> Sequence[ExamplePicture]:
        return self.sets.of(self.service.captioner(name).dataset)


def _followed(value: Any, before: Any, own: Any) -> Any:
    """The own setting of a captioner for a control that still holds the one before; nothing for any other control.

    Nothing, too, where both settings are equal, as a person may type while the captioner loads.
    """
    is_untouched = set(value or ()) == set(before) if isinstance(before, list) else value == before
    return own if is_untouched and own != before else gr.skip()


def _thumbnail(example: ExamplePicture) -> str:
    with Image.open(example.path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    file = BytesIO()
    small.save(file, "JPEG", quality=80)
    return jpeg_data_url(file.getvalue())
