"""The files for containers and Kubernetes: what they name exists, and their fields are those of the published schemas."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tests.deploy.kserve_schema import INFERENCE_SERVICE
from wordgaze.cli import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
SERVICE: dict[str, Any] = YAML(typ="safe").load((DEPLOY / "kserve.yaml").read_text(encoding="utf-8"))


def options(arguments: list[str]) -> set[str]:
    return {each for each in arguments if each.startswith("--")}


def serve_help() -> str:
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_the_service_is_one_of_kserve() -> None:
    errors = [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(INFERENCE_SERVICE).iter_errors(SERVICE)
    ]
    assert errors == []
    broken = json.loads(json.dumps(SERVICE))
    broken["spec"]["predictor"]["containers"][0]["port"] = 8080
    assert not Draft202012Validator(INFERENCE_SERVICE).is_valid(broken)


def test_the_service_and_the_image_run_the_server_with_options_that_it_has() -> None:
    [container] = SERVICE["spec"]["predictor"]["containers"]
    [entry] = re.findall(r"^ENTRYPOINT (\[.*\])$", DOCKERFILE, re.MULTILINE)
    [command] = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert container["command"] == json.loads(entry)[:2] == ["wordgaze", "serve"]
    given = options(container["args"]) | options(json.loads(entry)) | options(json.loads(command))
    shown = serve_help()
    assert [option for option in given if option not in shown] == []


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_the_probes_ask_routes_that_need_no_password(probe: str) -> None:
    from wordgaze.serving.application import OPEN_PATHS

    [container] = SERVICE["spec"]["predictor"]["containers"]
    assert container[probe]["httpGet"]["path"] in OPEN_PATHS
    assert container[probe]["httpGet"]["port"] == container["ports"][0]["containerPort"]


def test_the_image_runs_as_an_ordinary_user_and_is_watched() -> None:
    stages = DOCKERFILE.split("\nFROM ")
    assert len(stages) == 3
    assert re.search(r"^USER 10001$", stages[-1], re.MULTILINE)
    assert "HEALTHCHECK" in stages[-1] and "/ready" in stages[-1]
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    named = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_lock_is_split_for_the_cpu_builds(tmp_path: Path) -> None:
    command = [sys.executable, DEPLOY / "constraints.py", ROOT / "requirements.lock", "constraints.txt", "torch.txt"]
    subprocess.run(command, cwd=tmp_path, check=True)
    torch = (tmp_path / "torch.txt").read_text().split()
    constraints = (tmp_path / "constraints.txt").read_text()
    assert [line.partition("==")[0] for line in torch] == ["torch", "torchvision"]
    names = re.findall(r"^([\w.-]+)(?:\[.*\])?==", constraints, re.MULTILINE)
    assert {"fastapi", "uvicorn", "numpy", "timm"} <= set(names)
    assert [name for name in names if name.startswith(("torch", "nvidia", "triton")) and name != "torchmetrics"] == []
    assert constraints.count("--hash=sha256:") > len(names)
