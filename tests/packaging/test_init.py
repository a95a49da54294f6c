"""``wordgaze init``: what it writes, what it refuses, and that nothing is left behind then."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from wordgaze.cli import project
from wordgaze.cli.project import CODE_FILE, TEMPLATES, code_fingerprints, create_project
from wordgaze.config.params import load_params
from wordgaze.core.errors import DataError, WordgazeError

CHECKOUT = Path(__file__).parents[2]
VEGA = "function vegaEmbed() {}"


def pipeline(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load((root / "dvc.yaml").read_text(encoding="utf-8"))
    return loaded


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout


@pytest.fixture(autouse=True)
def vega(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the real one, which takes a second; tests/pipeline/test_plots.py has it."""
    monkeypatch.setitem(sys.modules, "vl_convert", SimpleNamespace(javascript_bundle=lambda snippet: VEGA))


@pytest.fixture(autouse=True)
def author(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("GIT_", "DVC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "someone")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "someone@example.org")


def test_a_project_is_written_and_committed(tmp_path: Path) -> None:
    root = tmp_path / "project"
    assert create_project(root)
    names = {".dvc", ".git", "README.md", str(CODE_FILE), *(name.partition("/")[0] for name in TEMPLATES)}
    assert {path.name for path in root.iterdir()} == names
    assert (root / ".dvc" / "plots.html").read_text(encoding="utf-8").count(VEGA) == 1
    assert (root / ".dvc" / "config.local").read_text().split() == ["[plots]", "html_template", "=", "plots.html"]
    for name in TEMPLATES.keys() - {"dvc.yaml"}:
        assert (root / name).read_bytes() == (CHECKOUT / name).read_bytes()
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "log", "--format=%an %s").strip() == "someone Start a wordgaze project"
    assert load_params(root / "params.yaml") == load_params(CHECKOUT / "params.yaml")
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--name-only"], cwd=root, capture_output=True, text=True
    )
    assert status.stdout.split() == ["code", *pipeline(CHECKOUT)["stages"]]


@pytest.mark.parametrize("name", ["-p", "a b%41 it's é鸟", 'no#1 "why?"'])
def test_the_next_command_works_in_a_folder_of_any_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    project.init(Path(name))
    first, *others = capsys.readouterr().out.splitlines()
    enter = first.partition("; next: ")[2].removesuffix(" && dvc repro")
    shown = subprocess.run(["sh", "-c", f"{enter} && ls"], capture_output=True, text=True, check=True).stdout
    assert "params.yaml" in shown.split()
    assert git(tmp_path / name, "status", "--porcelain") == ""
    assert ["DVC cannot queue experiments" in line for line in others] == ([True] if "?" in name else [])


def test_the_stages_differ_from_the_checkouts_in_command_and_code_alone(tmp_path: Path) -> None:
    create_project(tmp_path)
    ours, theirs = pipeline(CHECKOUT), pipeline(tmp_path)
    code = theirs["stages"].pop("code")
    assert code == {
        "cmd": "wordgaze fingerprint code.yaml",
        "always_changed": True,
        "outs": [{"code.yaml": {"cache": False}}],
    }
    for name, stage in ours["stages"].items():
        data = [path for path in stage.pop("deps") if not path.startswith(("src/", "pipeline/"))]
        expected = {**stage, "cmd": f"wordgaze {name}", "params": [*stage.get("params", ()), {"code.yaml": [name]}]}
        assert theirs["stages"][name] == expected | ({"deps": data} if data else {})
    assert theirs["plots"] == ours["plots"]


def test_a_changed_source_file_changes_the_stages_that_depend_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "wordgaze"
    shutil.copytree(CHECKOUT / "src" / "wordgaze", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "dvc.yaml", package / "templates" / TEMPLATES["dvc.yaml"])
    monkeypatch.setattr(project, "_PACKAGE", package)
    before = code_fingerprints()
    assert list(before) == list(pipeline(CHECKOUT)["stages"])

    def changed(name: str) -> set[str]:
        path = package / name
        old = path.read_bytes()
        path.write_bytes(old + b"\n")
        after = code_fingerprints()
        path.write_bytes(old)
        return {stage for stage in before if before[stage] != after[stage]}

    assert changed("app/page.py") == set()
    assert changed("data/datasets/coco.py") == {"download", "prepare", "evaluate"}
    assert changed("training/losses.py") == {"finetune", "train_stage1", "train_stage2"}
    assert changed("core/files.py") == set(before)
    (package / "core" / "__pycache__").mkdir()
    (package / "core" / "__pycache__" / "files.cpython-311.pyc").write_bytes(b"compiled")
    assert code_fingerprints() == before


def test_the_wheel_has_every_template() -> None:
    hook = runpy.run_path(str(CHECKOUT / "hatch_build.py"))
    assert hook["TEMPLATES"] == TEMPLATES


def test_plots_are_set_up_in_a_project_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WordgazeError, match="is not the root of a project with DVC; change to it"):
        project.set_up_plots()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(WordgazeError, match=r"is not an empty folder; give a new or an empty one"):
            create_project(path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_without_git_or_dvc_the_way_out_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WordgazeError, match=r'dvc is not installed; pip install "wordgaze\[pipeline\]"'):
        create_project(tmp_path / "project")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WordgazeError, match="git is not on the PATH; install it"):
        create_project(tmp_path / "project")
    assert list(tmp_path.iterdir()) == []


def test_what_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "project"):
        with pytest.raises(WordgazeError, match="false -m dvc init --quiet failed"):
            create_project(path)
    with pytest.raises(DataError, match=r"there is no folder .*new; make it"):
        create_project(tmp_path / "new" / "project")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert list((tmp_path / "empty").iterdir()) == []


def test_without_an_author_the_project_is_there_but_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "")  # git refuses an empty name
    project.init(tmp_path)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"{tmp_path} is a wordgaze project; next: cd {tmp_path} && dvc repro"
    assert "git commit" in shown[1]
    assert "A  params.yaml" in git(tmp_path, "status", "--porcelain")
