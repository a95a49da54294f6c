"""Two ``dvc repro`` in one project at once, the second at a random moment of the first.

    python -m tests.chaos.repro --tries 10 [--project PROJECT]

Each try changes a parameter of stage 2 and starts both. One of them at least must end well, the other well or with
DVC's message that the first one holds its lock; a last ``dvc repro`` must find nothing to do, and the results must be
those of an undisturbed one, byte for byte.
"""

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.campaign import comparable
from tests.chaos.miniature import miniature
from tests.conftest import Project, change_params

RESULTS = ("models/stage2", "reports/train_stage2.csv", "reports/evaluation.json", "reports/captions.csv")
RATES = (0.002, 0.004)
"""The learning rates of stage 2, in turn: each try computes two stages."""

Bytes = dict[str, dict[str, bytes]]


def start(project: Project) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=project.root, env=project.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def use(project: Project, rate: float) -> None:
    """Another learning rate, and nothing of the results of this one in the cache of DVC."""
    change_params(project.root / "params.yaml", {"train_stage2": {"learning_rate": rate}})


def results(project: Project) -> Bytes:
    return {name: comparable(project.root / name) for name in RESULTS}


def faults(project: Project, expected: Bytes, delay: float) -> list[str]:
    """Two runs, the second after ``delay`` seconds, and what was wrong."""
    first = start(project)
    time.sleep(delay)
    second = start(project)
    ended = [(process.communicate()[0], process.returncode) for process in (first, second)]
    found = [text[-500:] for text, code in ended if code and "lock" not in text]
    if all(code for _, code in ended):
        found.append("both failed")
    again = project.run("-m", "dvc", "repro")
    if again.returncode or "Running stage" in again.stdout:
        found.append(f"a third one ends with {again.returncode}: {again.stdout[-300:]}{again.stderr[-300:]}")
    if results(project) != expected:
        found.append("the results have other bytes than those of an undisturbed run")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.repro", description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="the random seed of the moments")
    parser.add_argument("--project", type=Path, help="a finished project to copy; by default one is made")
    given = parser.parse_args()
    draw, failures = random.Random(given.seed), 0
    with miniature(given.project) as project:
        expected, seconds = {}, 0.0
        for rate in RATES:
            use(project, rate)
            started = time.monotonic()
            project.dvc("repro", "--force", "train_stage2", "evaluate")
            seconds = time.monotonic() - started
            expected[rate] = results(project)
        for number in range(given.tries):
            rate, delay = RATES[number % 2], draw.uniform(0, seconds)
            use(project, rate)
            (
                project.root / "models/stage2/weights.safetensors"
            ).unlink()  # DVC has to make it again, or to check it out
            found = faults(project, expected[rate], delay)
            failures += bool(found)
            print(
                f"{number + 1} of {given.tries}, after {delay:.1f} s: {'; '.join(found) or 'nothing lost'}", flush=True
            )
    print(f"{given.tries} tries, {failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
