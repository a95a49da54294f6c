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

INITIAL = Path("models/initial")
"""The folder of the captioners whose training is continued, each in a folder that is named by its checksum."""

_PROMOTE = ("promote",)
_EXPERIMENT = ("exp", "run")


@dataclass(frozen=True)
class RetrainStep:
    """One command: ``module`` is what runs it, ``shown`` what a person would type."""

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
class InitialCaptioner:
    """A captioner whose training is to continue: its address, and the checksum that names the folder of its copy."""

    address: str
    checksum: str


@dataclass(frozen=True)
class Retraining:
    """The steps for one state of corrections and parameters, and the file that remembers which of them are done."""

    steps: tuple[RetrainStep, ...]
    done: Path

    def remaining(self) -> list[RetrainStep]:
        """The steps that are left. Those that an interrupted call has finished are not repeated."""
        finished = _finished(self.done)
        return [step for step in self.steps if step.shown not in finished]

    def finish(self, step: RetrainStep) -> None:
        """Remembers that a step has succeeded."""
        left = {each.shown for each in self.remaining()} - {step.shown}
        write_json(self.done, [each.shown for each in self.steps if each.shown not in left])


def plan_retraining(
    params: Params,
    corrections: Sequence[tuple[str, str]],
    settings: Sequence[str],
    promote: bool,
    find_initial: Callable[[], InitialCaptioner] | None = None,
) -> Retraining:
    """The steps for ``corrections``, pairs of an image's checksum and its caption; ``settings`` are further KEY=VALUE.

    ``find_initial`` gives the captioner to fine-tune; None trains from scratch. It is not called where an earlier call
    for the same corrections and parameters has begun to fine-tune one: by now another may be the champion. Raises
    ParamsError for a setting without a value, and where there are no corrections.
    """
    if not corrections:
        raise ParamsError(
            f"{paths.CORRECTIONS} has no corrections to learn from; save some on the page of wordgaze app"
        )
    if wrong := [each for each in settings if "=" not in each]:
        raise ParamsError(f"-S {wrong[0]}: give KEY=VALUE, such as -S train_stage1.epochs=20")
    export = EXPORTS / fingerprint(sorted(corrections))
    unchanged = _unchanged(params, ["dataset.corrections=", "train_stage1.initial.captioner=", *settings])
    key = fingerprint(export.name, unchanged, list(settings), find_initial is None)
    done = paths.scratch("retrain") / f"{key}.json"
    if params.dataset.corrections != export.as_posix():
        _forget_experiment(done)  # it has been undone
    steps = [RetrainStep("export the corrections", "wordgaze", ("corrections", "export", export.as_posix()))]
    changes = [f"dataset.corrections={export.as_posix()}"]
    if find_initial is not None:
        copy = _begun(done) or _copy_step(find_initial())
        steps.append(copy)
        changes.append(f"train_stage1.initial.captioner={copy.arguments[2]}")
    elif params.train_stage1.initial.captioner:
        changes.append("train_stage1.initial.captioner=''")
    given = [part for each in [*changes, *settings] for part in ("-S", each)]
    steps.append(RetrainStep("train and evaluate", "dvc", (*_EXPERIMENT, *given)))
    steps.append(RetrainStep("register the challenger", "wordgaze", ("register",)))
    if promote:
        steps.append(RetrainStep("compare it with the champion", "wordgaze", _PROMOTE))
    return Retraining(tuple(steps), done)


def _copy_step(initial: InitialCaptioner) -> RetrainStep:
    folder = (INITIAL / initial.checksum).as_posix()
    # with the captions of the training images, because a summary takes longer and no training reads either
    options = ("--dtype", "fp32", "--keep-neighbours")
    return RetrainStep("copy the captioner to fine-tune", "wordgaze", ("pack", initial.address, folder, *options))


def _finished(done: Path) -> list[str]:
    """The commands that earlier calls have finished."""
    return list(read_json(done, f"delete {done}")) if done.is_file() else []


def _begun(done: Path) -> RetrainStep | None:
    """The copy of the captioner that an earlier call has begun to fine-tune."""
    for shown in _finished(done):
        program, *arguments = shlex.split(shown)
        if (program, arguments[0]) == ("wordgaze", "pack"):
            copy = RetrainStep("copy the captioner to fine-tune", program, tuple(arguments))
            return copy if (paths.home() / arguments[2]).is_dir() else None
    return None


def _forget_experiment(done: Path) -> None:
    """Forgets that the experiment is done where params.yaml is without it: somebody has undone it."""
    finished = _finished(done)
    kept = [shown for shown in finished if shown.startswith(("wordgaze corrections ", "wordgaze pack "))]
    if kept != finished:
        done.unlink()


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


def run_retraining(
    retraining: Retraining, announce: Callable[[int, RetrainStep], None], judge: Callable[[], None]
) -> None:
    """Runs the remaining steps in order; their output goes to the terminal.

    ``announce`` is called with the number of each step before it. ``judge`` lets the gate compare, which is a step that
    a refusal completes. Raises WordgazeError for a step that fails: the steps before it are kept, and the same call
    continues with it.
    """
    remaining = retraining.remaining()
    for number, step in enumerate(retraining.steps, start=1):
        if step not in remaining:
            continue
        announce(number, step)
        if step.arguments == _PROMOTE:
            judge()
        elif not _is_written_already(step):
            if folder := _written_folder(step):  # the command makes no other than this one
                folder.parent.mkdir(parents=True, exist_ok=True)
            code = subprocess.run(step.command, cwd=paths.home(), check=False).returncode
            if code:
                raise WordgazeError(
                    f"step {number} of {len(retraining.steps)} ended with exit code {code}: {step.shown}; what its"
                    " message says, then wordgaze retrain again, which continues there"
                )
        retraining.finish(step)


def _is_written_already(step: RetrainStep) -> bool:
    """Whether the folder of a step is there; it is written whole or not at all, and its name says what it has."""
    folder = _written_folder(step)
    return folder is not None and folder.is_dir()


def _written_folder(step: RetrainStep) -> Path | None:
    """The folder that the command of a step writes, of an export and of a copy."""
    command, *rest = step.arguments
    return paths.home() / rest[1] if command in ("corrections", "pack") else None
