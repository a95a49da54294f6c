"""Recipes: each fits the project's parameters, changes its own keys alone, and does the same through DVC."""

import difflib
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.cli_parse import to_path_overrides
from dvc.utils.hydra import apply_overrides

from wordgaze.config import recipes
from wordgaze.config.params import Params, load_params
from wordgaze.config.recipes import Recipe, list_recipes, load_recipe, overrides, print_recipe, use_recipe
from wordgaze.core import paths
from wordgaze.core.errors import ParamsError

CHECKOUT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in recipes.RECIPES.glob("*.yaml"))
ODD = ["", "a b", "it's", 'a "b"', "a,b", "x=y", "[1]", "{a: 1}", "true", "Null", "nan", "1e-5", "12", "#no", "~", "$HOME",
       "a\\", "\\'", "a\\b\\\\", "/data/glove.zip:glove.6B.300d.txt", "Ünïcode", " blank "]  # fmt: skip


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a copy of the project's parameters and recipes."""
    shutil.copy(CHECKOUT / "params.yaml", tmp_path)
    shutil.copytree(recipes.RECIPES, tmp_path / "recipes", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setattr(recipes, "RECIPES", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def value(params: Params, key: str) -> Any:
    found: Any = params
    for name in key.split("."):
        found = getattr(found, name)
    return found


def run_by_dvc(settings: list[str]) -> Params:
    """The parameters that ``dvc exp run -S …`` leaves."""
    [(path, given)] = to_path_overrides(settings).items()
    apply_overrides(path, given)
    return load_params(paths.PARAMS)


def write_recipe(text: str) -> None:
    (recipes.RECIPES / "own.yaml").write_text(text, encoding="utf-8")


def reported(*arguments: Any) -> str:
    before = paths.PARAMS.read_bytes()
    with pytest.raises(ParamsError) as caught:
        use_recipe(*arguments)
    assert "\n" not in str(caught.value)
    assert paths.PARAMS.read_bytes() == before
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_fits_the_parameters_of_the_project(name: str) -> None:
    present, recipe = load_params(paths.PARAMS), load_recipe(name)
    changed = use_recipe(name)
    assert changed == [key for key, given in recipe.settings.items() if value(present, key) != given]
    params = load_params(paths.PARAMS)
    assert {key: value(params, key) for key in recipe.settings} == recipe.settings


@pytest.mark.parametrize("name", NAMES)
def test_lines_that_a_recipe_does_not_change_stay_as_they_are(name: str) -> None:
    before = paths.PARAMS.read_text()
    changed = use_recipe(name)
    changes = list(difflib.ndiff(before.splitlines(True), paths.PARAMS.read_text().splitlines(True)))
    gone, new = ([one[2:] for one in changes if one[0] == sign] for sign in "-+")
    assert len(gone) == len(new) == len(changed)
    for old, now in zip(gone, new, strict=True):
        assert old.split(":")[0] == now.split(":")[0]
        assert old.partition("#")[1:] == now.partition("#")[1:]
        assert old.find(" # ") == now.find(" # ")  # comments stay in their column


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_used_twice_changes_nothing_more(name: str) -> None:
    use_recipe(name)
    before = paths.PARAMS.read_bytes()
    assert use_recipe(name) == []
    assert paths.PARAMS.read_bytes() == before


@pytest.mark.parametrize("name", NAMES)
def test_dvc_s_command_line_makes_the_same_parameters(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = paths.PARAMS.read_bytes()
    print_recipe(name)
    *shown, command = capsys.readouterr().out.splitlines()
    words = shlex.split(command)
    assert words[:3] == ["dvc", "exp", "run"]
    assert words[3::2] == ["-S"] * len(words[4::2])
    assert any("finetune.blocks" in line for line in shown)
    by_command = run_by_dvc(words[4::2])
    paths.PARAMS.write_bytes(before)
    by_all_keys = run_by_dvc(overrides(load_recipe(name)))
    paths.PARAMS.write_bytes(before)
    use_recipe(name)
    assert by_command == by_all_keys == load_params(paths.PARAMS)


def test_no_recipe_leaves_a_trace_in_the_next() -> None:
    last = load_recipe(NAMES[0])
    use_recipe(last.name)
    alone = load_params(paths.PARAMS)
    for name in NAMES:
        assert load_recipe(name).settings.keys() == last.settings.keys()
        use_recipe(name)
    use_recipe(last.name)
    assert load_params(paths.PARAMS) == alone


MACHINE = {"device", "devices", "precision", "checkpoint_seconds", "address", "shard_size", "dtype", "weights",
           "max_dev_images", "initial"}  # fmt: skip


@pytest.mark.parametrize("section", ["finetune", "features", "model", "train_stage1", "train_stage2"])
def test_a_recipe_sets_all_that_the_captioner_depends_on(section: str) -> None:
    """Whatever an experiment has changed before, the recipe is the same system."""
    keys = set(Params().model_dump()[section]) - MACHINE - ({"batch_size"} if section == "features" else set())
    missing = keys - {key.split(".")[1] for key in load_recipe(NAMES[0]).settings if key.split(".")[0] == section}
    assert not missing


@pytest.mark.parametrize("text", ODD)
def test_any_text_reaches_dvc_and_the_file_as_it_is(text: str) -> None:
    recipe = Recipe(
        "own", "", {"features.weights": text, "generation.bad_words": [text, "dog"], "generation.force_words": []}
    )
    params = run_by_dvc(overrides(recipe))
    assert (params.features.weights, params.generation.bad_words, params.generation.force_words) == (
        text,
        (text, "dog"),
        (),
    )


def test_settings_beside_the_recipe_are_read_as_yaml_1_2() -> None:
    changes = [
        "train_stage1.learning_rate=1e-5",
        "generation.bad_words=[dog, a b]",
        "dataset.source=",
        "model.hard_attention=true",
    ]
    use_recipe("resnet50_glove", [*changes, "model.word_vectors=/data/glove.zip:glove.6B.50d.txt"])
    params = load_params(paths.PARAMS)
    assert params.train_stage1.learning_rate == 1e-5
    assert params.generation.bad_words == ("dog", "a b")
    assert (params.dataset.source, params.model.hard_attention) == ("", True)
    assert params.model.word_vectors == "/data/glove.zip:glove.6B.50d.txt"
    assert "  bad_words: [dog, a b]          # words that must not occur\n" in paths.PARAMS.read_text()


def test_a_file_that_lacks_keys_gets_them() -> None:
    paths.PARAMS.write_text("# mine\nseed: 3   # of all\nmodel:\n  cell: gru # small\n")
    use_recipe("inception_coco")
    assert paths.PARAMS.read_text().startswith("# mine\nseed: 3   # of all\nmodel:\n  cell: gru # small\n")
    params = load_params(paths.PARAMS)
    assert (params.seed, params.dataset.max_train_images, params.prepare.max_vocabulary) == (3, 25600, 5000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.sell=gru", "params.yaml with recipe resnet50_glove: model.sell is not a parameter"),
        ("modle.cell=gru", "modle is not a parameter"),
        ("decode.num=2", "decode is renamed to generation; decode.num is renamed to generation.num_return_sequences"),
        ("train_stage2.drawn=9", "train_stage2.drawn is renamed to train_stage2.num_samples"),
        ("seed.x=1", "seed.x is not a parameter"),
        ("model.cell=rnn", "model.cell must be lstm or gru, not 'rnn'"),
        ("model.hard_attention=1", "model.hard_attention must be true or false, not 1"),
        ("model.hard_attention=0", "model.hard_attention must be true or false, not 0"),
        ("train_stage1.epochs=", "train_stage1.epochs must be an integer, not ''"),
        ("train_stage2.max_train_images=9", "train_stage2.max_train_images (9) is smaller"),
        ("seed=[1", "--set 'seed=[1' is not YAML"),
        ("epochs", "--set 'epochs' is not key=value"),
        ("=3", "--set '=3' is not key=value"),
    ],
)
def test_wrong_settings_are_reported_and_nothing_is_written(change: str, message: str) -> None:
    assert message in reported("resnet50_glove", [change])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("about: a\nparams: {model: {sell: gru}}", "model.sell is not a parameter"),
        ("about: a\nparams: {model: {cell: rnn}}", "model.cell must be lstm or gru"),
        ("about: a\nparams: {model: {hard: true}}", "model.hard is renamed to model.hard_attention"),
        ("params: {seed: 1}", "own.yaml is not a recipe; it needs about:"),
        ("about: a\nparams: {seed: 1}\nmore: 1", "own.yaml is not a recipe"),
        ("about: a\nparams: {}", "own.yaml is not a recipe"),
        ("about: 3\nparams: {seed: 1}", "own.yaml is not a recipe"),
        ("[1]", "own.yaml is not a recipe"),
        ("about: [a", "own.yaml is not YAML"),
    ],
)
def test_a_wrong_recipe_is_reported_with_its_file(text: str, message: str) -> None:
    write_recipe(text)
    assert message in reported("own")


def test_an_unknown_recipe_is_reported_with_those_near_it() -> None:
    assert (
        reported("incption_coco")
        == "recipe 'incption_coco' is unknown; similar names: inception_coco, inception_flickr8k"
    )
    assert all(name in reported("zzz") for name in NAMES)
    assert "is unknown" in reported("../recipes/inception_coco")


def test_outside_of_the_project_the_way_back_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths.PARAMS.unlink()
    with pytest.raises(ParamsError, match=r"params\.yaml is missing; run wordgaze from the root"):
        use_recipe("inception_coco")
    monkeypatch.chdir(tmp_path)
    assert list_recipes()  # which come with the package
