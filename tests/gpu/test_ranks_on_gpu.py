"""Ranks on several GPUs, connected by NCCL, compute what one computes."""

from functools import partial
from pathlib import Path

import pytest
import torch

from tests.gpu.conftest import DEVICE
from tests.training.ranks import joined_curve
from tests.training.test_trainer import changed
from wordgaze.distributed.launch import started_ranks
from wordgaze.distributed.ranks import Ranks


def test_the_losses_of_all_steps_are_those_of_one_rank(tmp_path: Path) -> None:
    count = torch.cuda.device_count() if DEVICE.type == "cuda" else 2
    if count < 2:
        pytest.skip("there is one GPU")
    work = partial(joined_curve, folder=tmp_path / "several", device=DEVICE.type)
    with started_ranks(changed(device=DEVICE.type, devices=count), work) as ranks:  # type: ignore[arg-type]
        several = work(ranks)
    assert several == pytest.approx(joined_curve(Ranks(), tmp_path / "one", DEVICE.type), abs=1e-4)
