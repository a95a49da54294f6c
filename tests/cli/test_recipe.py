"""``wordgaze recipe``."""

import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import CHECKOUT, Refused, Run
from wordgaze.config.recipes import RECIPES


@pytest.fixture
def recipes(run: Run) -> None:  # run has changed to its folder
    shutil.copy(CHECKOUT / "params.yaml", "params.yaml")


@pytest.mark.usefixtures("recipes")
def test_recipes_are_listed_and_shown(run: Run) -> None:
    code, out, err = run("recipe", "list")
    assert (code, err) == (0, "")
    for path in RECIPES.glob("*.yaml"):
        assert f" {path.stem} " in out
    code, out, err = run("recipe", "show", "show_attend_tell_hard")
    assert (code, err) == (0, "")
    assert re.search(r"model\.hard_attention +│ false +│ true ", out)
    assert out.splitlines()[-1].startswith("dvc exp run -S dataset.name=flickr8k -S ")


@pytest.mark.usefixtures("recipes")
def test_a_recipe_is_used_scaled_down(run: Run) -> None:
    code, out, err = run("recipe", "use", "inception_coco", "--set", "train_stage1.epochs=2", "--set", "seed=7")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"params\.yaml has the settings of inception_coco; changed: \d+; next: dvc repro\n", out)
    written = Path("params.yaml").read_text()
    assert "\n  epochs: 2\n" in written
    assert "\nseed: 7                          # random seed" in written
    assert "\n  name: coco                     # scenes" in written


@pytest.mark.usefixtures("recipes")
def test_a_recipe_that_is_not_there_is_one_line(refused: Refused) -> None:
    for command in ("show", "use"):
        assert refused("recipe", command, "b7").startswith("recipe 'b7' is unknown; similar names: b7_flickr30k")
