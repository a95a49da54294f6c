"""The wheel, installed into a fresh environment outside the checkout: first the core, then the pipeline.

The tests of one environment run in the order of this file, since the second half adds an extra to it.
"""

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import change_params
from tests.packaging.environment import CHECKOUT, Environment, build_wheel, create_environment

pytestmark = pytest.mark.slow
OPTIONAL = ("dvc", "great_expectations", "mlflow", "nltk", "pandas", "pyarrow", "ruamel", "gradio")
SMALL: dict[str, dict[str, Any]] = {
    "dataset": {"scenes": {"num_images": 60, "image_size": 64, "seed": 1}},
    "prepare": {"min_count": 2},
    "features": {"image_size": 64, "device": "cpu"},
    "model": {"embedding_size": 16, "hidden_size": 24, "attention_size": 16, "feature_size": 32},
    "train_stage1": {"max_train_images": 30, "epochs": 1, "warmup_steps": 2, "device": "cpu"},
    "train_stage2": {"epochs": 1, "warmup_steps": 2, "device": "cpu"},
    "evaluate": {"num_attention_images": 1, "bootstrap_resamples": 100},
}
PUBLIC = """
import json, sys, wordgaze
heavy = sorted({"torch", "numpy", "PIL"} & set(sys.modules))
print(json.dumps([wordgaze.__all__, wordgaze.__file__, wordgaze.__version__, heavy]))
"""
CAPTION = """
import sys, wordgaze
captioner = wordgaze.load(sys.argv[1])
[caption] = captioner.caption(sys.argv[2])
print(caption.text)
"""
ABSENT = """
import importlib.util, sys
print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and no extra."""
    root = tmp_path_factory.mktemp("installed")
    (root / "work").mkdir()
    environment = create_environment(root / "environment", root / "work")
    environment.install(wheel)
    return environment


@pytest.fixture(scope="module")
def project(core: Environment, wheel: Path) -> Environment:
    """The same environment with the extra [pipeline], in a project that ``wordgaze init`` made and ``dvc repro`` ran."""
    core.install(wheel, ["pipeline"])
    core.output("wordgaze", "init", "project")
    project = Environment(core.root, core.folder / "project")
    change_params(project.folder / "params.yaml", SMALL)
    project.output("dvc", "repro")
    return project


def test_the_wheel_has_the_package_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    data = [path for path in (CHECKOUT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(CHECKOUT / "src").as_posix() for path in data} <= names
    assert {"wordgaze/py.typed", "wordgaze/templates/params.yaml", "wordgaze/templates/pipeline.yaml"} <= names
    assert not [name for name in names if not name.startswith(("wordgaze/", "wordgaze-"))]


def test_the_core_installs_without_the_pipeline(core: Environment) -> None:
    assert core.output("python", "-c", ABSENT, *OPTIONAL).strip() == "[]"


def test_the_public_names_are_there(core: Environment) -> None:
    names, file, version, heavy = json.loads(core.output("python", "-c", PUBLIC))
    assert {"load", "score", "Captioner", "Caption", "GenerationConfig", "__version__"} <= set(names)
    assert Path(file).is_relative_to(core.root)
    assert heavy == []
    assert core.output("wordgaze", "--version").strip().endswith(version)


def test_the_core_captions(core: Environment, write_captioner: Callable[..., Path], picture: Path) -> None:
    folder = write_captioner(core.folder / "tiny")
    by_python = core.output("python", "-c", CAPTION, str(folder), str(picture)).strip()
    by_command = core.output("wordgaze", "caption", str(picture), "--model", str(folder)).strip()
    assert by_command == f"{picture}\t{by_python}"
    assert by_python


def test_the_core_captions_a_photograph_with_nothing_trained(core: Environment, picture: Path, tmp_path: Path) -> None:
    empty = Environment(core.root, tmp_path)
    done = empty.run("wordgaze", "caption", str(picture))
    if (CHECKOUT / "src/wordgaze/inference/packaged/photos").exists():
        assert done.stdout.startswith(f"{picture}\t"), done.stderr
        assert done.stderr.startswith("captioner: photos, trained on ")
    else:
        assert done.stderr.startswith("wordgaze: there is no captioner: ")


def test_the_core_scores(core: Environment) -> None:
    (core.folder / "captions.csv").write_text("image,caption\na.jpg,a dog runs\nb.jpg,a cat sleeps\n")
    shown = core.output("wordgaze", "score", "captions.csv", "captions.csv")
    assert "BLEU-1" in shown
    assert "1.000" in shown


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        ("init new", "dvc", "pipeline"),
        ("recipe list", "ruamel-yaml", "pipeline"),
        ("app --model tiny", "gradio", "app"),
    ],
)
def test_a_missing_extra_is_one_line_that_names_it(
    core: Environment, write_captioner: Callable[..., Path], command: str, package: str, extra: str
) -> None:
    write_captioner(core.folder / "tiny")
    done = core.run("wordgaze", *command.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f'wordgaze: {package} is not installed; pip install "wordgaze[{extra}]"\n'
    assert not (core.folder / "new").exists()


def test_a_project_runs_outside_the_checkout(project: Environment) -> None:
    captions = project.output("wordgaze", "caption", "data/raw/images/scene-00000.jpg")
    assert captions.startswith("data/raw/images/scene-00000.jpg\t")
    assert "scenes, test split, 5 images" in project.output("wordgaze", "summary")
    again = project.output("dvc", "repro")
    assert again.count("Running stage") == 1  # code, which always runs
    assert again.count("didn't change, skipping") == 8


def test_a_changed_installation_repeats_the_stages_that_it_concerns(project: Environment) -> None:
    [installed] = project.root.glob("lib/python*/site-packages/wordgaze/stages/evaluate.py")
    text = installed.read_text()
    installed.unlink()  # a hard link into uv's cache
    installed.write_text(text + "# changed\n")
    shown = project.output("dvc", "exp", "run", "-S", "evaluate.num_attention_images=2")
    assert re.findall(r"Running stage '(\w+)'", shown) == ["code", "check_params", "evaluate"]


def test_a_recipe_is_used_in_a_project(project: Environment) -> None:
    shutil.copy(project.folder / "params.yaml", project.folder.parent)
    assert "show_attend_tell_soft" in project.output("wordgaze", "recipe", "use", "show_attend_tell_soft")
    assert "torchvision/vgg19" in (project.folder / "params.yaml").read_text()
    shutil.copy(project.folder.parent / "params.yaml", project.folder)
