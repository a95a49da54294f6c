"""Ends the commands of wordgaze at random moments, and checks what the next run makes of what is left.

    python -m tests.chaos.campaign --tries 1000 --stage all --signal all --seed 1

Of each try, the command is started, ended by a signal at a random moment, and run again. The second run must end well
and with the same bytes as an undisturbed one; afterwards there is no unfinished file, no temporary folder, no scratch
folder and no run of MLflow that is RUNNING. ``power`` is SIGKILL with a loss of power: whatever was written and not
flushed to the disk until then is cut off or zeroed at random. ``full`` is a disk that fills up, on a file system that
only root can mount: the message must name a file. Prints one line per failure, and a table at the end;
the exit code is 1 if anything failed. Only processes that the campaign itself has started are ended.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import forks
from tests.chaos.forks import Ended, Moment
from tests.disk import resize, small_disk

SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT, "power": signal.SIGKILL}
KINDS = [*SIGNALS, "full"]
LARGE, MARGIN = 1 << 30, 1 << 20  # bytes: a disk that holds everything; what a command writes beside its outputs
STAGES = {
    "download": ["data/raw"],
    "prepare": ["data/prepared"],
    "finetune": ["models/encoder"],
    "features": ["data/features"],
    "train_stage1": ["models/stage1", "reports/train_stage1.csv", "reports/train_stage1.json"],
    "train_stage2": ["models/stage2", "reports/train_stage2.csv", "reports/train_stage2.json"],
    "evaluate": ["reports/evaluation.json", "reports/details.json", "reports/captions.csv", "reports/attention"],
}
"""The stages, and what each writes."""

CAPTION = (
    "caption data/raw/images --model models/stage2 --output captions.csv --output captions.jsonl --embed copies"
    " --attention sheets --sidecar txt"
).split()
COMMANDS: dict[str, list[str]] = {stage: [stage] for stage in STAGES} | {
    "register": ["register"],
    "promote": ["promote"],
    "caption": CAPTION,
}
OUTPUTS = STAGES | {"register": [], "promote": [], "caption": ["captions.csv", "captions.jsonl", "copies", "sheets"]}
KEPT = ("locks", "downloads", "mlflow.lock", "encoder", "gate")
"""What stays in the scratch folder: locks, the caches of downloads and of the captions that the gate compared."""
REPEATED = {"promote": (0, 1)}
"""The exit codes of a second run, where not 0: a promotion that was done already is refused."""


@dataclass
class Campaign:
    """A finished project, and room for copies of it. ``failures`` are sentences."""

    finished: Path
    room: Path
    seed: int
    durations: dict[str, Ended] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def one(self, command: str, kind: str, number: int) -> None:
        """One try: a run that is ended, a loss of power where asked for, and a second run that must end well."""
        draw = random.Random(f"{self.seed} {command} {kind} {number}")
        self.undisturbed(command)
        with small_disk(self.fresh(), LARGE) if kind == "full" else nullcontext():
            self.end_and_repeat(command, kind, number, draw)

    def end_and_repeat(self, command: str, kind: str, number: int, draw: random.Random) -> None:
        reference, project = self.undisturbed(command), self.copy(command)
        if kind == "full":
            used = sum(path.stat().st_blocks * 512 for path in project.rglob("*") if path.is_file())
            resize(project, used + draw.randint(0, 2 * self.written(command) + MARGIN))
            moment = None
        elif draw.random() < 0.5:
            moment = Moment(SIGNALS[kind], seconds=draw.uniform(0, reference.seconds))
        else:
            moment = Moment(SIGNALS[kind], call=draw.randint(1, max(1, reference.calls)))
        ended = self.run(command, project, moment)
        if kind == "power":
            lose_power(project, self.room / "log" / "flushed", self.room / "started", draw)
        self.counts[f"{command} {kind}"] += 1
        what = f"{command} {kind} {number} ({moment}, first exit {ended.code})"
        if kind in ("TERM", "INT") and ended.code not in (0, 128 + SIGNALS[kind], -SIGNALS[kind]):
            self.fail(what, f"the exit code is {ended.code}: {ended.output[-300:]}")
        if kind in ("TERM", "INT") and ended.code == 0 and ended.reached:
            self.fail(what, "the signal was lost")
        if kind == "full":
            self.check_message(what, ended)
            resize(project, LARGE)
        again = self.run(command, project)
        if again.code not in REPEATED.get(command, (0,)) or "Traceback" in again.output:
            self.fail(what, f"the next run ends with {again.code}: {again.output[-400:]}")
            return
        for fault in self.faults(command, project):
            self.fail(what, fault)

    def check_message(self, what: str, ended: Ended) -> None:
        """A full disk is one line that names a file, whatever the command was writing."""
        last = (ended.output.strip().splitlines() or [""])[-1]
        if ended.code == 0:
            return
        if ended.code != 1 or "Traceback" in ended.output or not last.startswith("wordgaze: "):
            self.fail(what, f"a full disk ends with {ended.code}: {ended.output[-400:]}")
        elif "/" not in last or ".new-" in last:
            self.fail(what, f"the message names no file, or a temporary one: {last}")

    def written(self, command: str) -> int:
        """The bytes that the command writes to its outputs."""
        expected = self.room / f"undisturbed-{command}"
        return sum(len(data) for output in OUTPUTS[command] for data in contents(expected / output).values())

    def fail(self, what: str, why: str) -> None:
        self.failures.append(f"{what}: {why}")
        print(self.failures[-1], flush=True)

    def undisturbed(self, command: str) -> Ended:
        """How an undisturbed run ends; its outputs are kept to compare with."""
        if command not in self.durations:
            project = self.copy(command)
            ended = self.run(command, project)
            if ended.code != 0:
                raise SystemExit(f"{command} does not run undisturbed: {ended.output[-2000:]}")
            self.durations[command] = ended
            project.rename(self.room / f"undisturbed-{command}")
        return self.durations[command]

    def copy(self, command: str) -> Path:
        """A copy of the finished project as it is before the command."""
        project = self.room / "project"
        if not project.is_mount():
            self.fresh()
        shutil.rmtree(self.room / "tmp", ignore_errors=True)
        (self.room / "tmp").mkdir()
        aside = shutil.ignore_patterns("__pycache__", ".scratch", ".git", ".dvc", "tests", "mlartifacts")
        shutil.copytree(self.finished, project, ignore=aside, symlinks=True, dirs_exist_ok=True)
        for output in OUTPUTS[command]:
            path = project / output
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        (self.room / "started").touch()
        return project

    def fresh(self) -> Path:
        """The empty folder that the project is copied to."""
        project = self.room / "project"
        shutil.rmtree(project, ignore_errors=True)
        project.mkdir()
        return project

    def run(self, command: str, project: Path, moment: Moment | None = None) -> Ended:
        """Runs the command in the project with a folder for temporary files of its own."""

        def work() -> None:
            tempfile.tempdir = os.environ["TMPDIR"] = str(self.room / "tmp")
            os.environ.pop("DVC_ROOT", None)
            from wordgaze.cli import main

            sys.argv = ["wordgaze", *COMMANDS[command]]
            main()

        return forks.run(work, project, self.room / "log", moment)

    def faults(self, command: str, project: Path) -> Iterator[str]:
        """What is wrong with a project after the second run."""
        expected = self.room / f"undisturbed-{command}"
        for output in OUTPUTS[command]:
            if comparable(project / output) != comparable(expected / output):
                yield f"{output} has other bytes than after an undisturbed run"
        yield from (f"{path.relative_to(project)} is left" for path in project.rglob(".*.*-*-*-*"))
        yield from (f"a temporary folder {path.name} is left" for path in (self.room / "tmp").glob("wordgaze.*"))
        scratch = project / ".scratch"
        if scratch.is_dir():
            left = [path for path in scratch.iterdir() if path.name not in KEPT]
            left += list((scratch / "encoder").glob("*"))
            yield from (f".scratch/{path.relative_to(scratch)} is left" for path in left)
        if command == "promote" and not has_champion(project / "mlflow.db"):
            yield "there is no champion"
        running = statuses(project / "mlflow.db").get("RUNNING", 0)
        if running:
            yield f"{running} runs of MLflow are RUNNING"


_DIGITS = re.compile(rb"-?[0-9]+\.[0-9]{6,}(e-?[0-9]+)?")


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of all files below a folder."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    return {str(each.relative_to(path)): each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file()}


def comparable(path: Path) -> dict[str, bytes]:
    """The contents, with the numbers of a table of captions to five digits.

    A continued run makes other batches of the images that are left, and the kernels of PyTorch add up in another order
    for another size of a batch: the last digit of a log-probability may differ, and no word.
    """
    if path.suffix not in (".csv", ".jsonl") or not path.name.startswith("captions"):
        return contents(path)
    return {name: _DIGITS.sub(lambda number: b"%.5g" % float(number[0]), data) for name, data in contents(path).items()}


def has_champion(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT 1 FROM registered_model_aliases WHERE alias = 'champion'"
        return connection.execute(query).fetchone() is not None


def statuses(database: Path) -> Counter[str]:
    """How many runs of MLflow have each status."""
    if not database.is_file():
        return Counter()
    with closing(sqlite3.connect(database)) as connection:
        return Counter(row[0] for row in connection.execute("SELECT status FROM runs"))


def lose_power(project: Path, flushed: Path, started: Path, draw: random.Random) -> None:
    """Cuts off or zeroes what was written since ``started`` and not flushed. SQLite flushes its own files."""
    sizes = {int(inode): int(size) for inode, size in (line.split() for line in flushed.read_text().splitlines())}
    begin = started.stat().st_mtime_ns
    for path in sorted(project.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.name.startswith("mlflow.db"):
            continue
        status = path.stat()
        safe = sizes.get(status.st_ino, 0)
        if status.st_mtime_ns < begin or status.st_size <= safe or draw.random() < 0.3:
            continue
        end = draw.randint(safe, status.st_size)
        with path.open("r+b") as file:
            file.truncate(end)
            if draw.random() < 0.5:  # the size was written, and the data was not
                file.truncate(status.st_size)


def finish(root: Path, room: Path) -> None:
    """A project of this checkout with tiny parameters, in which every stage has run once."""
    from tests.conftest import change_params, write_project

    root.mkdir(parents=True)
    write_project(root)
    change_params(root / "params.yaml", {"finetune": {"blocks": 1, "epochs": 2, "checkpoint_seconds": 0.0}})
    campaign = Campaign(root, room, 0)
    (room / "tmp").mkdir(exist_ok=True)
    for command in [*STAGES, "register"]:
        ended = campaign.run(command, root)
        if ended.code != 0:
            raise SystemExit(f"{command} does not run: {ended.output[-2000:]}")
    shutil.rmtree(root / ".scratch", ignore_errors=True)


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.campaign", description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=12, help="the number of tries, spread over commands and signals")
    parser.add_argument("--stage", default="all", help=f"all, or some of {','.join(COMMANDS)}, separated by commas")
    parser.add_argument("--signal", default="all", help=f"all, or some of {','.join(KINDS)}, separated by commas")
    parser.add_argument("--seed", type=int, default=1, help="the random seed of the moments")
    parser.add_argument("--project", type=Path, help="a project in which all stages have run; by default one is made")
    parser.add_argument("--room", type=Path, help="a folder to work in, kept afterwards; by default a temporary one")
    return parser.parse_args(arguments)


def chosen(given: str, known: list[str]) -> list[str]:
    names = known if given == "all" else given.split(",")
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"{unknown[0]} is unknown; choose from {', '.join(known)}")
    return names


def main(arguments: list[str], report: Callable[[str], None] = print) -> int:
    """Runs the campaign. Returns 1 if anything was lost."""
    given = options(arguments)
    commands, kinds = chosen(given.stage, list(COMMANDS)), chosen(given.signal, KINDS)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.update({"HF_HUB_OFFLINE": "1", "DVC_NO_ANALYTICS": "1"})
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_ROOT", "DVC_EXP"))]:
        del os.environ[name]
    room = Path(given.room or tempfile.mkdtemp(prefix="wordgaze-campaign-")).resolve()
    room.mkdir(parents=True, exist_ok=True)
    forks.preload()
    try:
        finished = given.project.resolve() if given.project else room / "finished"
        if not finished.exists():
            finish(finished, room)
        campaign = Campaign(finished, room, given.seed)
        pairs = [(command, kind) for kind in kinds for command in commands]
        random.Random(given.seed).shuffle(pairs)
        for number in range(given.tries):
            campaign.one(*pairs[number % len(pairs)], number)
            print(f"{number + 1} of {given.tries}", file=sys.stderr, flush=True)
    finally:
        if given.room is None:
            shutil.rmtree(room, ignore_errors=True)
    for command in commands:
        counted = {kind: campaign.counts[f"{command} {kind}"] for kind in kinds}
        report(f"{command}: {json.dumps(counted)} tries")
    report(f"{sum(campaign.counts.values())} tries, {len(campaign.failures)} failures")
    return int(bool(campaign.failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
