"""Checkpoints: what is saved comes back, the optimiser included, and there is no pickle in it."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from wordgaze.training.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint

STATE = {"epoch": 3, "loss_sum": 0.1 + 0.2, "best_score": None, "history": [{"epoch": 1, "dev_cider": 1 / 3}]}


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
    save_checkpoint(tmp_path / "new" / "c.safetensors", tensors, STATE)
    loaded, state = load_checkpoint(tmp_path / "new" / "c.safetensors") or ({}, {})
    assert state == STATE
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
    tensors, _ = load_checkpoint(tmp_path / "c.safetensors") or ({}, {})
    other.load_state_dict(tensors["decoder"])
    restore_optimizer(new, tensors["optimizer"])
    train(other, new, range(4, 7))
    for mine, theirs in zip(other.parameters(), layers.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_file_is_a_json_header_and_plain_numbers(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"decoder": {"weight": torch.ones(2, 3)}}, STATE)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert set(header) == {"__metadata__", "decoder/weight"}
    assert json.loads(header["__metadata__"]["state"]) == STATE
    assert content[8 + length :] == torch.ones(6).numpy().tobytes()


def test_a_flipped_byte_is_found_wherever_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(
        path, {"decoder": {"weight": torch.arange(50.0)}, "random": {"cpu": torch.get_rng_state()[:99]}}, STATE
    )
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        caplog.clear()
        assert load_checkpoint(path) is None
        [line] = caplog.messages
        assert "c.safetensors is not a whole checkpoint (" in line and "\n" not in line
        assert not path.exists()
        assert path.with_name("c.safetensors.broken").read_bytes() == changed
    path.write_bytes(whole)
    assert load_checkpoint(path) is not None


def test_a_save_that_fails_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"decoder": {"weight": torch.ones(2)}}, {"epoch": 1})
    with pytest.raises(TypeError):
        save_checkpoint(path, {"decoder": {"weight": torch.zeros(2)}}, {"epoch": object()})
    tensors, state = load_checkpoint(path) or ({}, {})
    assert (tensors["decoder"]["weight"].tolist(), state) == ([1.0, 1.0], {"epoch": 1})
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_there_may_be_no_checkpoint(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "c.safetensors") is None


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut in the header": lambda whole: whole[:20],
    "cut in the tensors": lambda whole: whole[:-1],
    "zeros": lambda whole: bytes(len(whole)),
    "another file": lambda _: save({"decoder/weight": torch.ones(2)}),
    "another state": lambda _: save({"decoder/weight": torch.ones(2)}, {"state": "{"}),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_checkpoint_is_named_and_renamed(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"decoder": {"weight": torch.ones(2)}}, STATE)
    content = BROKEN[kind](path.read_bytes())
    path.write_bytes(content)
    assert load_checkpoint(path) is None
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{path} is not a whole checkpoint (")
    assert "renamed to c.safetensors.broken" in record.getMessage()
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors.broken"]
    assert (tmp_path / "c.safetensors.broken").read_bytes() == content
    assert load_checkpoint(path) is None
    assert len(caplog.records) == 1
