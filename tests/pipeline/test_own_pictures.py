"""Your own folder of twenty images and a table of captions, through the whole pipeline by one command."""

import csv
import json
import shlex
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import CHECKOUT, MINIATURE, Project, change_params
from tests.docs.blocks import BLOCKS
from wordgaze.data.datasets.scenes import Scenes
from wordgaze.vision.encoders import build_encoder

pytestmark = pytest.mark.slow


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Twenty images in two folders, one caption each in a CSV."""
    folder = tmp_path / "album"
    drawn = Scenes(20, 96, 5).collect(tmp_path / "drawn").records
    with (tmp_path / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption"])
        for i, record in enumerate(drawn):
            name = f"{'summer' if i % 2 else 'winter'}/{record.image}"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "drawn" / "images" / record.image).rename(folder / name)
            table.writerow([name, record.captions[0]])
    (tmp_path / "captions.csv").rename(folder / "captions.csv")
    return folder


def test_the_readme_s_commands_train_on_an_album_of_twenty_pictures(album: Path, tmp_path: Path) -> None:
    """In a project of ``wordgaze init``, with a miniature decoder and an encoder whose last block is fine-tuned."""
    [block] = [each for each in BLOCKS if each.page.name == "README.md" and "test_own_pictures" in (each.reason or "")]
    check, init, run = block.code.replace("/path/to/my-images", shlex.quote(str(album))).splitlines()
    output = shell(tmp_path, f"{check}\n{init}")
    assert "images kept        20 of 20 images and rows" in output
    project = Project(tmp_path / "my-captioner")
    change_params(project.root / "params.yaml", {**MINIATURE, "dataset": {}, "prepare": {}})
    change_params(project.root / "params.yaml", {"finetune": {"blocks": 1, "epochs": 2}})
    project.git("commit", "-qam", "miniature")
    assert "Ran experiment" in shell(project.root, run)
    report = json.loads((project.root / "reports/evaluation.json").read_text(encoding="utf-8"))
    assert report["dataset"] == "folder"
    assert report["num_images"] >= 1
    assert "human" not in report["baselines"]  # the images have one caption each
    assert 0 <= report["scores"]["beam"]["bleu_1"] <= 1
    card = json.loads((project.root / "models/stage2/captioner.json").read_text())
    assert len(card["vocabulary"]) > 20
    tuned, packaged = (
        load_file(project.root / "models/encoder/encoder.safetensors"),
        build_encoder("timm/tf_efficientnet_lite0").state_dict(),
    )
    assert json.loads((project.root / "models/encoder/encoder.json").read_text())["blocks"] == 1
    changed = [name for name, tensor in packaged.items() if not torch.equal(tensor, tuned[name])]
    assert all(".conv_head." in name or ".bn2." in name for name in changed)
    assert all(
        torch.equal(tensor, tuned[name.removeprefix("encoder.")])
        for name, tensor in load_file(project.root / "models/stage2/weights.safetensors").items()
        if name.startswith("encoder.")
    )
    assert len(list((project.root / "data/raw/images").iterdir())) == 20


def shell(folder: Path, text: str) -> str:
    """What commands print that are run in ``folder`` as a person with a name would; they must succeed."""
    author = {f"GIT_{role}_{key}": "x" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment = Project(folder).environment() | author | {"PYTHONPATH": str(CHECKOUT / "src")}
    done = subprocess.run(
        ["bash", "-euc", text], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
