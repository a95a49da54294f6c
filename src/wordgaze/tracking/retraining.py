"""``wordgaze retrain``: from corrections to a challenger that the gate judges, by the commands a person would type."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.errors import ParamsError, WordgazeError
from wordgaze.core.files import fingerprint, read_json, write_json

EXPORTS = Path("data/corrections")
"""The folder of the exported corrections, one folder for each state of them."""


@dataclass(frozen=True)
class RetrainStep:
    """One command: ``program`` is the module that runs it, ``shown`` what a person would type."""

    title: str
    module: str
    arguments: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The command as a person would type it."""
        program = "dvc" if self.module == "dvc" else "wordgaze"
        return shlex.join([program, *self.arguments])

    @property
    def command(self) -> list[str]:
        """The command for this Python."""
        return [sys.executable, "-m", self.module, *self.arguments]


@dataclass(frozen=True)
class Retraining:
    """The steps for one state of corrections and parameters, and the file that remembers which of them are done."""

    steps: tuple[RetrainStep, ...]
    export: Path
    done: Path

    def remaining(self) -> list[RetrainStep]:
        """The steps that are left. Those that an interrupted call has finished are not repeated."""
        finished = set(read_json(self.done, f"delete {self.done}")) if self.done.is_file() else set()
        return [step for step in self.steps if step.shown not in finished]

    def finish(self, step: RetrainStep) -> None:
        """Remembers that a step has succeeded."""
        left = {each.shown for each in self.remaining()} - {step.shown}
        write_json(self.done, [each.shown for each in self.steps if each.shown not in left])


def plan_retraining(
    params: Params, corrections: Sequence[tuple[str, str]], settings: Sequence[str], promote: bool
) -> Retraining:
    """The steps for ``corrections``, pairs of an image's checksum and its caption; ``settings`` are further KEY=VALUE.

    Raises ParamsError for a setting without a value, and where there are no corrections.
    """
    if not corrections:
        raise ParamsError(
            f"{paths.CORRECTIONS} has no corrections to learn from; save some on the page of wordgaze app"
        )
    if wrong := [each for each in settings if "=" not in each]:
        raise ParamsError(f"-S {wrong[0]}: give KEY=VALUE, such as -S train_stage1.epochs=20")
    export = EXPORTS / fingerprint(sorted(corrections))
    changes = [f"dataset.corrections={export.as_posix()}", *settings]
    given = [part for each in changes for part in ("-S", each)]
    steps = [
        RetrainStep("export the corrections", "wordgaze", ("corrections", "export", export.as_posix())),
        RetrainStep("train and evaluate", "dvc", ("exp", "run", *given)),
        RetrainStep("register the challenger", "wordgaze", ("register",)),
    ]
    if promote:
        steps.append(RetrainStep("compare it with the champion", "wordgaze", ("promote",)))
    key = fingerprint(export.name, _unchanged(params, changes), list(settings))
    return Retraining(tuple(steps), export, paths.scratch("retrain") / f"{key}.json")


def _unchanged(params: Params, changes: Sequence[str]) -> dict[str, Any]:
    """The parameters without those that the experiment changes: afterwards params.yaml has them."""
    values: dict[str, Any] = params.model_dump(mode="json")
    for change in changes:
        *sections, name = change.partition("=")[0].lstrip("+~").split(".")
        inner: Any = values
        for section in sections:
            inner = inner.get(section, {}) if isinstance(inner, dict) else {}
        if isinstance(inner, dict):
            inner.pop(name, None)
    return values


def run_retraining(retraining: Retraining, announce: Callable[[int, RetrainStep], None]) -> None:
    """Runs the remaining steps in order; their output goes to the terminal.

    ``announce`` is called with the number of each step before it. Raises WordgazeError for a step that fails: the
    steps before it are kept, and the same call continues with it.
    """
    remaining = retraining.remaining()
    for number, step in enumerate(retraining.steps, start=1):
        if step not in remaining:
            continue
        announce(number, step)
        if not _is_done_already(retraining, step):
            code = subprocess.run(step.command, cwd=paths.home(), check=False).returncode
            if code:
                raise WordgazeError(
                    f"step {number} of {len(retraining.steps)} ended with exit code {code}: {step.shown}; what its"
                    " message says, then wordgaze retrain again, which continues there"
                )
        retraining.finish(step)


def _is_done_already(retraining: Retraining, step: RetrainStep) -> bool:
    """Whether the export is there; it is written whole or not at all, and its name says what it has."""
    return step.arguments[:2] == ("corrections", "export") and (paths.home() / retraining.export).is_dir()
