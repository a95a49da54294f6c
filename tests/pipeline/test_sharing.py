"""What others get of a project: its outputs from a remote, its captioner by name, its experiments, its reports."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML

from tests.conftest import CHECKOUT, change_params
from tests.conftest import Project as Checkout

if TYPE_CHECKING:
    from tests.conftest import Project

pytestmark = pytest.mark.slow
WORKFLOW = CHECKOUT / ".github/workflows/experiment.yml"
PICTURE = "data/raw/images/scene-00000.jpg"


@pytest.fixture(scope="module")
def project(copied: "Callable[[], Project]") -> "Project":
    """A finished project whose outputs are in the cache of DVC and in a remote, which is a folder."""
    project = copied()
    project.dvc("remote", "add", "-q", "-d", "storage", str(project.root.parent / "storage"))
    project.git("commit", "-q", "-a", "-m", "remote")
    project.dvc("push", "-q")
    return project


def clone(project: "Project", name: str) -> "Project":
    target = project.root.parent / name
    subprocess.run(["git", "clone", "-q", str(project.root), str(target)], check=True, env=project.environment())
    return Checkout(target)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_clone_pulls_the_captioner_and_captions_with_the_same_bytes(project: "Project") -> None:
    other = clone(project, "clone")
    other.dvc("pull", "-q", "models/stage2", "data/raw")
    assert contents(other.root / "models/stage2") == contents(project.root / "models/stage2")
    ours, theirs = (one.stage("caption", "--model", "models/stage2", PICTURE) for one in (project, other))
    assert (theirs.returncode, theirs.stderr) == (0, "")
    assert theirs.stdout == ours.stdout


def test_an_s3_bucket_is_a_remote(project: "Project", bucket: str) -> None:
    pytest.importorskip("dvc_s3", reason='the extra "remote" is not installed')
    for one in (project, clone(project, "clone-s3")):
        one.dvc("remote", "add", "-q", "cloud", "s3://team/wordgaze")
        one.dvc("remote", "modify", "-q", "cloud", "endpointurl", bucket)
        one.dvc("push" if one is project else "pull", "-q", "-r", "cloud", "models/stage2")
    assert contents(one.root / "models/stage2") == contents(project.root / "models/stage2")
    project.dvc("remote", "remove", "cloud")


def test_the_captioner_is_an_artifact_that_is_got_by_name_and_version(project: "Project", tmp_path: Path) -> None:
    project.git("tag", "-a", "captioner@v1.0.0", "-m", "the first")
    for number, version in enumerate(([], ["--rev", "v1.0.0"])):
        target = tmp_path / str(number)
        where = Checkout(tmp_path).run("-m", "dvc", "artifacts", "get", str(project.root), "captioner", *version,
                                       "-o", str(target))  # fmt: skip
        assert where.returncode == 0, where.stderr
        assert contents(target) == contents(project.root / "models/stage2")


def test_an_experiment_is_shared_through_git(project: "Project", tmp_path: Path) -> None:
    origin = tmp_path / "origin.git"
    subprocess.run(["git", "init", "-q", "--bare", str(origin)], check=True)
    project.git("remote", "add", "team", str(origin))
    project.git("push", "-q", "team", "main")
    change_params(project.root / "params.yaml", {"evaluate": {"num_attention_images": 3}})
    try:
        project.dvc("exp", "save", "-n", "three-pictures")
        project.dvc("exp", "push", "-q", "team", "three-pictures")
    finally:
        project.git("checkout", "-q", "--", "params.yaml", "dvc.lock")  # dvc exp save writes the lock as well
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", "-b", "main", str(origin), str(other)], check=True)
    colleague = Checkout(other)
    assert "three-pictures" in colleague.dvc("exp", "list", "origin")
    colleague.dvc("exp", "pull", "-q", "origin", "three-pictures", "--no-cache")
    shown = json.loads(colleague.dvc("exp", "show", "--json"))
    [experiment] = [one["revs"][0] for row in shown for one in row.get("experiments") or ()]
    assert experiment["name"] == "three-pictures"
    assert experiment["data"]["params"]["params.yaml"]["data"]["evaluate"]["num_attention_images"] == 3


def test_a_pull_request_gets_a_report_of_its_experiment(project: "Project") -> None:
    """The workflow's own commands, on a commit with another parameter and another score."""
    other = clone(project, "request")
    scores = other.root / "reports/scores.json"
    scores.write_text(scores.read_text().replace('"cider": ', '"cider": 1'))
    change_params(other.root / "params.yaml", {"seed": 77})
    other.git("commit", "-q", "-a", "-m", "an experiment")
    workflow = YAML(typ="safe").load(WORKFLOW.read_text(encoding="utf-8"))
    steps = {step.get("name"): step for step in workflow["jobs"]["report"]["steps"]}
    step = steps["Write the report"]
    environment = other.environment() | {
        name: "HEAD~1" if name == "BASE" else value for name, value in step["env"].items()
    }
    assert "${{" not in step["run"]  # what a pull request says is never a part of a command
    subprocess.run(["bash", "-euo", "pipefail", "-c", step["run"]], cwd=other.root, env=environment, check=True)
    written = (other.root / "report.md").read_text()
    assert "cider" in written and "| seed" in written.replace("params.yaml | seed", "| seed")
    assert "77" in written
    assert set(workflow["permissions"].items()) == {("contents", "read"), ("pull-requests", "write")}


def test_a_truncated_lock_file_is_mended(project: "Project") -> None:
    lock = project.root / "dvc.lock"
    whole = lock.read_text()
    lock.write_text(whole[: whole.rindex("hash: md5") + 2])
    refused = project.run("-m", "dvc", "repro")
    assert refused.returncode != 0
    named = project.stage("doctor")
    assert named.returncode == 1 and "run `wordgaze doctor --fix`" in named.stderr
    mended = project.stage("doctor", "--fix")
    assert (mended.returncode, mended.stderr) == (0, "")
    assert lock.read_text() == whole
    assert "Running stage" not in project.dvc("repro")


def test_the_nouns_are_a_confusion_plot(project: "Project") -> None:
    shown = json.loads(project.dvc("plots", "show", "nouns", "--json", "--split"))
    [plot] = shown["data"]["nouns"] if "data" in shown else shown["nouns"]
    assert plot["type"] == "vega"
    assert "Nouns of the references and of the captions" in json.dumps(plot)
    assert "rect" in json.dumps(plot)
