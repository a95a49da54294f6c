"""The fingerprint of a stage's code: it changes with every file that dvc.yaml lists for the stage, and with no other."""

from pathlib import Path

import pytest

from wordgaze.core import source
from wordgaze.core.errors import ParamsError
from wordgaze.core.source import code_fingerprint

PIPELINE = """
stages:
  train_stage1:
    cmd: python -m pipeline train_stage1
    deps:
      - data/prepared
      - pipeline/__main__.py
      - src/wordgaze/training
      - src/wordgaze/stages/train_stage1.py:
          cache: false
  features:
    cmd: python -m pipeline features
    deps:
      - src/wordgaze/vision
  installed:
    cmd: wordgaze stage installed
    deps:
      - data/prepared
  download:
    cmd: wordgaze stage download
"""
FILES = (
    "data/prepared/captions.json",
    "pipeline/__main__.py",
    "pipeline/other.py",
    "src/wordgaze/training/losses.py",
    "src/wordgaze/training/data/contract.yaml",
    "src/wordgaze/training/__pycache__/losses.pyc",
    "src/wordgaze/stages/train_stage1.py",
    "src/wordgaze/vision/images.py",
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_it_changes_with_the_files_that_dvc_yaml_lists_and_with_no_others(name: str, project: Path) -> None:
    before = code_fingerprint("train_stage1")
    assert code_fingerprint("train_stage1") == before != code_fingerprint("features")
    (project / name).write_text("2\n")
    listed = not name.startswith(("data/", "src/wordgaze/vision")) and "__pycache__" not in name and "other" not in name
    assert (code_fingerprint("train_stage1") != before) == listed
    (project / name).write_text("1\n")
    assert code_fingerprint("train_stage1") == before


def test_a_file_that_is_added_renamed_or_deleted_changes_it(project: Path) -> None:
    folder = project / "src/wordgaze/training"
    seen = [code_fingerprint("train_stage1")]
    (folder / "added.py").touch()
    seen.append(code_fingerprint("train_stage1"))
    (folder / "added.py").rename(folder / "renamed.py")
    seen.append(code_fingerprint("train_stage1"))
    (folder / "losses.py").unlink()
    seen.append(code_fingerprint("train_stage1"))
    assert len(set(seen)) == 4


@pytest.mark.parametrize("stage", ["installed", "download", "unknown"])
def test_without_listed_code_it_is_that_of_the_installed_package(
    stage: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = project / "site-packages/wordgaze"
    (package / "app").mkdir(parents=True)
    (package / "app/page.py").write_text("1\n")
    monkeypatch.setattr(source, "_PACKAGE", package)
    before = code_fingerprint(stage)
    (project / "src/wordgaze/training/losses.py").write_text("2\n")
    assert code_fingerprint(stage) == before
    (package / "app/page.py").write_text("2\n")
    assert code_fingerprint(stage) != before
    (project / "dvc.yaml").unlink()
    assert code_fingerprint("train_stage1") == code_fingerprint(stage)


def test_a_broken_dvc_yaml_is_named(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: [")
    with pytest.raises(ParamsError, match=r"dvc\.yaml is not YAML: "):
        code_fingerprint("train_stage1")
