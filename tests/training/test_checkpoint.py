"""Checkpoints: what is saved comes back, the optimiser included, and there is no pickle in it."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from wordgaze.training.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint

PROGRESS = {"epoch": 3, "loss_sum": 0.1 + 0.2, "best_score": None, "history": [{"epoch": 1, "dev_cider": 1 / 3}]}


def model() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    return layers, torch.optim.AdamW(layers.parameters(), lr=0.1)


def train(layers: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        layers(torch.full((2, 3), float(step))).square().sum().backward()
        optimizer.step()


def test_tensors_and_progress_come_back_exactly(tmp_path: Path) -> None:
    tensors = {
        "decoder": {"a.b": torch.randn(2, 3), "half": torch.randn(4).bfloat16(), "column": torch.randn(3, 2).t()},
        "random": {"cpu": torch.get_rng_state()},
    }
    save_checkpoint(tmp_path / "new" / "c.safetensors", tensors, PROGRESS)
    loaded, progress = load_checkpoint(tmp_path / "new" / "c.safetensors")
    assert progress == PROGRESS
    assert {group: set(of_one) for group, of_one in loaded.items()} == {g: set(t) for g, t in tensors.items()}
    for group, of_one in tensors.items():
        for name, tensor in of_one.items():
            assert loaded[group][name].dtype == tensor.dtype
            assert torch.equal(loaded[group][name], tensor)


def test_training_goes_on_with_the_restored_optimizer_as_with_its_own(tmp_path: Path) -> None:
    layers, optimizer = model()
    train(layers, optimizer, range(1, 4))
    groups = {"decoder": layers.state_dict(), "optimizer": optimizer_tensors(optimizer)}
    save_checkpoint(tmp_path / "c.safetensors", groups, {})
    train(layers, optimizer, range(4, 7))

    other, new = model()
    tensors, _ = load_checkpoint(tmp_path / "c.safetensors")
    other.load_state_dict(tensors["decoder"])
    restore_optimizer(new, tensors["optimizer"])
    train(other, new, range(4, 7))
    for mine, theirs in zip(other.parameters(), layers.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_file_is_a_json_header_and_plain_numbers(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"decoder": {"weight": torch.ones(2, 3)}}, PROGRESS)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert set(header) == {"__metadata__", "decoder/weight"}
    assert json.loads(header["__metadata__"]["progress"]) == PROGRESS
    assert content[8 + length :] == torch.ones(6).numpy().tobytes()


def test_a_save_that_fails_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"decoder": {"weight": torch.ones(2)}}, {"epoch": 1})
    with pytest.raises(TypeError):
        save_checkpoint(path, {"decoder": {"weight": torch.zeros(2)}}, {"epoch": object()})
    tensors, progress = load_checkpoint(path)
    assert (tensors["decoder"]["weight"].tolist(), progress) == ([1.0, 1.0], {"epoch": 1})
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]
