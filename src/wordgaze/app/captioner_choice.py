"""The choice among the captioners: what the page says of the chosen one, and the examples that suit it."""

from collections.abc import Iterator
from html import escape
from io import BytesIO
from typing import Any

import gradio as gr
from PIL import Image

from wordgaze.app.about import about_captioner, dataset_of
from wordgaze.app.controls import Json
from wordgaze.app.examples import LICENCE, ExamplePicture, ExampleSets
from wordgaze.app.handlers import jpeg_data_url
from wordgaze.app.service import CaptionService
from wordgaze.core.errors import WordgazeError

_THUMBNAIL = 240  # pixels, the long side


class CaptionerChoice:
    """The handlers of the choice of a captioner and of the examples."""

    def __init__(self, service: CaptionService, sets: ExampleSets) -> None:
        self.service, self.sets = service, sets

    def chosen(self, name: str) -> Iterator[tuple[Any, Any]]:
        """What is said of a captioner, and its examples; while it loads, that it loads."""
        if not self.service.is_loaded(name):
            yield f"Loading {escape(name)} …", gr.skip()
        try:
            yield about_captioner(self.service, name), self.examples(name)
        except WordgazeError as error:
            yield escape(str(error)), gr.skip()

    def examples(self, name: str) -> Json:
        """The examples of a captioner for the view."""
        items = [
            {"title": each.title, "source": each.source, "picture": _thumbnail(each)}
            for each in self.sets.of(dataset_of(self.service, name))
        ]
        return {"items": items, "licence": dict(zip(("name", "address"), LICENCE, strict=True))}

    def example(self, asked: gr.EventData, name: str) -> Any:
        """The path of the example that a person clicked."""
        try:
            return str(self.sets.of(dataset_of(self.service, name))[asked.index].path)
        except (WordgazeError, IndexError, TypeError):  # of a captioner that was not loaded, or asked by a program
            return gr.skip()


def _thumbnail(example: ExamplePicture) -> str:
    with Image.open(example.path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    file = BytesIO()
    small.save(file, "JPEG", quality=80)
    return jpeg_data_url(file.getvalue())
