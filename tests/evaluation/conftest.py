"""Images that captioners are measured on."""

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three images of 48 by 32 pixels."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(3):
        Image.linear_gradient("L").resize((48, 32)).rotate(90 * number).convert("RGB").save(folder / f"{number}.png")
    return folder
