"""Ten queued experiments, of which two are killed and queued again: ten results, none twice, in DVC and in MLflow.

    python -m tests.chaos.experiments [--project PROJECT]

Works in a copy of a finished project, which is committed and small enough for ten evaluations; by default one is made.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.miniature import miniature
from tests.conftest import Project

SETTINGS = [f"evaluate.bootstrap_resamples={100 + number}" for number in range(10)]
KILLED = 2
PATIENCE = 1800  # seconds for the queue


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.experiments", description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, help="a finished project to copy; by default one is made")
    with miniature(parser.parse_args().project) as project:
        root = project.root
        for setting in SETTINGS:
            dvc(root, "exp", "run", "--queue", "-S", setting)
        start_queue(root)
        killed = kill_two(root)
        wait(root)
        failed = len(re.findall(r"\bFailed\b", dvc(root, "queue", "status")))
        print(f"{len(killed)} stages killed, {failed} experiments failed")
        resume(root)
        wait(root)
        report(root)


def dvc(root: Path, *arguments: str) -> str:
    return Project(root).dvc(*arguments)


def start_queue(root: Path) -> None:
    """Starts two workers. They keep what they print to, so a pipe would stay open until the queue is empty."""
    command = [sys.executable, "-m", "dvc", "queue", "start", "-j", "2"]
    subprocess.run(
        command, cwd=root, env=Project(root).environment(), check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def kill_two(root: Path) -> set[int]:
    """Sends SIGKILL to the process of the stage of two experiments, once it has opened its run."""
    killed: set[int] = set()
    end = time.monotonic() + PATIENCE
    while len(killed) < KILLED and time.monotonic() < end:
        for process in psutil.process_iter(["cmdline", "cwd"]):
            info = process.info
            is_here = str(info["cwd"] or "").startswith(str(root / ".dvc/tmp"))
            is_stage = is_here and "pipeline" in (info["cmdline"] or ())
            if is_stage and process.pid not in killed and running(root) > len(killed):
                with suppress(psutil.NoSuchProcess):  # it may have ended meanwhile
                    process.kill()
                    killed.add(process.pid)
                break
        time.sleep(0.2)
    return killed


def running(root: Path) -> int:
    """The number of stage runs in MLflow that began."""
    return sum("stage" in run.data.tags for run in runs(root)) if (root / "mlflow.db").exists() else 0


def runs(root: Path) -> list[Any]:
    os.environ["DVC_ROOT"] = str(root)
    from wordgaze.core.errors import TrackingError
    from wordgaze.tracking.store import open_store

    try:
        store = open_store(create=False)
        return list(store.client.search_runs([store.experiment])) if store.experiment else []
    except TrackingError:  # it is just being made
        return []


def resume(root: Path) -> None:
    """Queues again what has no result."""
    missing = set(SETTINGS) - results(root).keys()
    dvc(root, "queue", "remove", "--failed")
    for setting in sorted(missing):
        dvc(root, "exp", "run", "--queue", "-S", setting)
    start_queue(root)


def wait(root: Path) -> None:
    end = time.monotonic() + PATIENCE
    while re.search(r"\b(Queued|Running)\b", dvc(root, "queue", "status")) and time.monotonic() < end:
        time.sleep(2)


def results(root: Path) -> Counter[str]:
    """The settings of the experiments with a result, as ``dvc exp show`` has them."""
    return Counter(setting for setting, _, _ in shown(root))


def shown(root: Path) -> list[tuple[str, str, float]]:
    """(setting, name of the experiment, BLEU-4) of each experiment with scores."""
    found = []
    for row in json.loads(dvc(root, "exp", "show", "--json")):
        for experiment in row.get("experiments") or ():
            revision = experiment["revs"][0]
            data = revision["data"] or {}
            if data.get("metrics") and (experiment.get("executor") or {"state": "success"})["state"] == "success":
                number = data["params"]["params.yaml"]["data"]["evaluate"]["bootstrap_resamples"]
                score = data["metrics"]["reports/scores.json"]["data"]["bleu_4"]
                found.append((f"evaluate.bootstrap_resamples={number}", revision["name"], score))
    return found


def report(root: Path) -> None:
    in_dvc = shown(root)
    of_mlflow = runs(root)
    parents = {run.info.run_id: run for run in of_mlflow if "mlflow.parentRunId" not in run.data.tags}
    finished = {run.info.run_name: run for run in parents.values() if run.info.status == "FINISHED"}
    print("status of the parents in MLflow:", dict(Counter(run.info.status for run in parents.values())))
    print(
        "status of the stages in MLflow:",
        dict(Counter(r.info.status for r in of_mlflow if r.info.run_id not in parents)),
    )
    agree = sum(abs(finished[name].data.metrics["test/beam/bleu_4"] - score) < 1e-6 for _, name, score in in_dvc)
    counted = results(root)
    print(f"{len(counted)} results, {sum(n > 1 for n in counted.values())} twice; {agree} agree with MLflow")
    sys.exit(0 if len(counted) == len(SETTINGS) == agree == len(finished) == sum(counted.values()) else 1)


if __name__ == "__main__":
    main()
