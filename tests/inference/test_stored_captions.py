"""Captions in a temporary file are those that were given."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from wordgaze.generation.outputs import Caption
from wordgaze.inference.stored_captions import StoredCaptions


def caption(*words: str, **more: object) -> Caption:
    attention = np.random.default_rng(len(words)).random((len(words), 2, 3), np.float32)
    return Caption(words, -1 / 3, -0.1, tuple(-1 / (3 + i) for i in range(len(words))), attention, "end", **more)  # type: ignore[arg-type]


def test_captions_are_read_back_as_they_were(tmp_path: Path) -> None:
    given = [
        [caption("a", "dog", confidence=1 / 7), caption("the", "dog", "runs", is_outlier=True)],
        [caption()],
        [caption("कुत्ता", joined="कुत्ता", naming="seen")],
    ]
    stored = StoredCaptions(iter(given), tmp_path / "scratch")
    assert len(stored) == 3
    for expected, found in zip(given, stored, strict=True):
        for one, other in zip(expected, found, strict=True):
            assert one.attention.shape == other.attention.shape
            assert (one.attention == other.attention).all()
            assert {**asdict(one), "attention": None} == {**asdict(other), "attention": None}
    assert stored[-1][0].words == stored[2][0].words == stored[1:][1][0].words
    with pytest.raises(IndexError):
        stored[3]
    assert list((tmp_path / "scratch").iterdir()) == []  # nothing is left, even where the process is killed
