"""What the page says about the captioner that answers."""

from html import escape

from wordgaze.app.controls import cut_note
from wordgaze.app.service import CaptionService

_TRAINED_ON = {
    "scenes": "scenes, drawn pictures of a built-in data set; it does not know photographs",
    "flickr8k": "Flickr8k, photographs of people and animals; it knows little of rooms, food and streets",
    "flickr30k": "Flickr30k, photographs of people and what they do",
    "coco": "COCO, photographs of everyday things",
    "folder": "a data set of your own",
}
"""By data set: its name, and the pictures that a captioner of it is for."""


def about_captioner(service: CaptionService, name: str) -> str:
    """Name, version and training data of a captioner as HTML, and which of its settings the page does not reach.

    Raises WordgazeError where it cannot be loaded.
    """
    captioner = service.captioner(name)
    dataset = captioner.dataset
    version = next(model.version for model in service.models if model.name == name)
    trained = _TRAINED_ON.get(dataset, dataset) if dataset else ""
    sentence = f" was trained on {escape(trained)}." if trained else ""
    note = escape(cut_note(captioner.generation_config))
    return f"<b>{escape(name)}</b> <small>{escape(version)}</small>{sentence}{note and f' {note}'}"
