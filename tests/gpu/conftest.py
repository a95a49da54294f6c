"""The device of the tests marked ``gpu``: the GPU, or what WORDGAZE_TEST_DEVICE names, to rehearse them on a CPU."""

import os
from pathlib import Path

import pytest
import torch

DEVICE = torch.device(os.environ.get("WORDGAZE_TEST_DEVICE", "cuda"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: computes on a GPU and compares with the CPU; without a GPU it is skipped")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of this folder, and skips them where there is no GPU."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("gpu")
            if DEVICE.type == "cuda" and not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="torch finds no GPU; WORDGAZE_TEST_DEVICE=cpu rehearses it"))
