"""Example pictures of the page: such as the captioner that answers was trained for."""

import json
import logging
import shutil
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from wordgaze.app.caption_queue import CaptionQueue
from wordgaze.core import paths
from wordgaze.core.errors import ImageError
from wordgaze.core.files import sha256
from wordgaze.data.datasets.scenes import Scenes
from wordgaze.vision.image_files import find_images
from wordgaze.vision.images import load_image

_log = logging.getLogger(__name__)

NUM_PICTURES = 6
MAX_WAITING = 50
"""The most pictures of the queue that are shown; the next start of the page shows those that are left."""
SIZE = 448  # pixels of a drawn scene
LICENCE = "CC BY 2.0", "https://creativecommons.org/licenses/by/2.0/"


class ExamplePicture(NamedTuple):
    """A picture with a title; ``source`` is the address of a published photograph, empty for others. ``reference`` is
    what a person wrote about it, or the caption that a scene was drawn with, empty where there is none."""

    path: Path
    title: str
    source: str = ""
    reference: str = ""


class ExampleSets:
    """The example pictures for captioners of each data set; they are copied to ``folder``, or drawn there, when they
    are first shown. Before them come the pictures of ``queue``, which wait for a caption by hand."""

    def __init__(self, folder: Path, queue: CaptionQueue | None = None) -> None:
        self.folder, self._queue = folder, queue
        self._sets: dict[str, Sequence[ExamplePicture]] = {}
        self._references: dict[str, str] = {}  # by the checksum of the file

    def of(self, dataset: str) -> Sequence[ExamplePicture]:
        """Scenes for a captioner of scenes, the project's own pictures for one of the data set ``folder``, where there
        are any, and photographs for every other."""
        kind = dataset if dataset in ("scenes", "folder") else "photographs"
        if kind not in self._sets:
            self._sets[kind] = [*self._waiting, *self._collect(kind)]
            self._references |= {sha256(each.path): each.reference for each in self._sets[kind] if each.reference}
        return self._sets[kind]

    def reference(self, picture: Path) -> str:
        """The reference of a picture that is equal to an example, whatever its file is called; else empty."""
        return self._references.get(sha256(picture), "")

    @cached_property
    def _waiting(self) -> Sequence[ExamplePicture]:
        """Copies of the pictures in the queue, in its order; those that cannot be read are left out."""
        waiting = []
        for number, row in enumerate(self._queue.waiting()[:MAX_WAITING] if self._queue else (), start=1):
            source = Path(row["path"])
            path = self.folder / f"waiting-{number}{source.suffix}"
            try:
                load_image(source)
                shutil.copyfile(source, path)
            except (ImageError, OSError) as error:
                _log.warning("a picture of the queue is left out: %s", error)
                continue
            waiting.append(ExamplePicture(path, f"Waiting for a caption: {source.name}"))
        return waiting

    def _collect(self, kind: str) -> Sequence[ExamplePicture]:
        if kind == "scenes":
            records = Scenes(2 * NUM_PICTURES, SIZE, seed=7).collect(self.folder).records
            references = {record.image: record.captions[0] for record in records}
            scenes = _numbered(find_images([self.folder / "images"]), "Scene")
            return [each._replace(reference=references[each.path.name]) for each in scenes]
        if kind == "folder":
            try:
                return _numbered(find_images([paths.RAW / "images"]), "Picture")
            except ImageError:
                return self._photographs()
        return self._photographs()

    def _photographs(self) -> Sequence[ExamplePicture]:
        """The packaged photographs.

        They are the first ones of a sample of COCO's validation set, by number, under CC BY 2.0, that show an animal, a
        person, a room, food, a street and a vehicle; no captioner was asked about them before they were chosen. The
        references are the first ones of COCO, under CC BY 4.0.
        """
        packaged = files("wordgaze.app").joinpath("photographs")
        examples = []
        for card in json.loads(packaged.joinpath("credits.json").read_text(encoding="utf-8")):
            # Gradio serves no file of a folder whose name begins with a dot, as that of an environment may.
            path = self.folder / card["file"]
            with packaged.joinpath(card["file"]).open("rb") as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
            examples.append(ExamplePicture(path, card["title"], card["source"], card["reference"]))
        return examples


def _numbered(found: Sequence[Path], title: str) -> Sequence[ExamplePicture]:
    step = max(1, len(found) // NUM_PICTURES)
    pictures = found[step - 1 :: step][:NUM_PICTURES]
    return [ExamplePicture(path, f"{title} {number}") for number, path in enumerate(pictures, start=1)]
