"""Pictures, a captioner and a store that fails, for batch runs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from wordgaze.core import storage

NUM_IMAGES = 11


@pytest.fixture(scope="module")
def captioner(write_captioner: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny captioner."""
    return write_captioner(tmp_path_factory.mktemp("model") / "captioner")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of pictures of different noise, the third of which is broken."""
    folder, generator = tmp_path / "photos", np.random.default_rng(3)
    folder.mkdir()
    for number in range(NUM_IMAGES):
        pixels = generator.integers(0, 256, (40, 60, 3), np.uint8) // np.uint8(1 + number % 3)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    (folder / "02.png").write_bytes(b"not a picture")
    return folder


class Bucket:
    """The store ``memory://``. ``failing`` are the errors of the next reads of a path."""

    def __init__(self) -> None:
        self.system = MemoryFileSystem()
        self.failing: dict[str, list[Exception]] = {}

    def paths(self, below: str) -> list[str]:
        """The paths of the files below a folder."""
        return sorted(path for path in self.system.store if path.startswith(below))


@pytest.fixture
def bucket(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """The store with the pictures at ``memory://team/photos``, and pauses of no length."""
    bucket, read = Bucket(), MemoryFileSystem.cat_file

    def cat_file(self: MemoryFileSystem, path: str, *args: Any, **kwargs: Any) -> Any:
        if errors := bucket.failing.get(path):
            raise errors.pop(0)
        return read(self, path, *args, **kwargs)

    monkeypatch.setattr(storage, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    for path in sorted(photos.iterdir()):
        bucket.system.pipe_file(f"/team/photos/{path.name}", path.read_bytes())
    yield bucket
    bucket.system.store.clear()
    bucket.system.pseudo_dirs[:] = [""]
