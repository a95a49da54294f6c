"""A search over parameters that ends in time: a grid in DVC's queue, and a table of what each setting gave.

    python benchmarks/search.py --minutes 90 -S seed=1,2 -S train_stage1.learning_rate=1e-3,2e-3

Run it in a project whose ``params.yaml`` has everything that does not vary. Values are DVC's: lists and ranges, each
combination an experiment. The first -S varies slowest: with ``seed`` in front every setting is tried once before any
is tried again. When the minutes are over the running experiment is ended and the rest forgotten; what is finished
stays, in ``dvc exp show`` and in MLflow. The score is that of the dev split; test is for the setting that won.
"""

import argparse
import io
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import pandas as pd
from scipy import stats

SCORE = "reports/train_stage2.json:dev_cider"
PAUSE = 5.0  # seconds between two looks at the queue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "-S", dest="settings", action="append", force_words=True, help="KEY=VALUE,VALUE as dvc exp run has it"
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--score", default=SCORE, help="the metric, FILE:NAME")
    given = parser.parse_args()
    before = set(experiments()["Experiment"])
    dvc("exp", "run", "--queue", *itertools.chain.from_iterable(("-S", setting) for setting in given.settings))
    dvc("queue", "start")
    wait(given.minutes)
    found = experiments()
    found = found[~found["Experiment"].isin(before)]
    print(table(found, [setting.partition("=")[0] for setting in given.settings], given.score))


def wait(minutes: float) -> None:
    """Until the queue is done or the time is over; then it is emptied."""
    until = time.monotonic() + 60 * minutes
    while unfinished := waiting():
        if time.monotonic() > until:
            print(f"{unfinished} of the experiments were not finished in {minutes:g} minutes", file=sys.stderr)
            dvc("queue", "stop", "--kill")
            dvc("queue", "remove", "--queued")
            return
        time.sleep(PAUSE)


def waiting() -> int:
    """How many experiments are queued or running."""
    return sum(("Queued" in line) or ("Running" in line) for line in dvc("queue", "status").splitlines()[1:])


def experiments() -> pd.DataFrame:
    """The finished experiments on this commit, a row each, with metrics and parameters as columns."""
    shown = pd.read_csv(
        io.StringIO(
            dvc("exp", "show", "--csv", "--hide-workspace", "--hide-queued", "--hide-failed", "--precision", "12")
        )
    )
    return shown[shown["Experiment"].notna()]


def table(found: pd.DataFrame, varied: Sequence[str], score: str) -> str:
    """Markdown: a row a setting, the best first, with the mean over seeds and its 95 % interval (Student 1908)."""
    keys = [key for key in varied if key != "seed"]
    columns = [column(found, key) for key in keys]
    found = found.dropna(subset=[column(found, score)])
    rows = []
    for values, group in found.groupby(columns, dropna=False) if columns else [((), found)]:
        scores = group[column(found, score)]
        rows.append((scores.mean(), *values, f"{scores.mean():.3f}", spread(scores), str(len(scores))))
    head = [*keys, "dev score", "95 %", "runs"]
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row[1:]] for row in sorted(rows, reverse=True))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def column(found: pd.DataFrame, name: str) -> str:
    """The column of a parameter or metric: DVC names the file too where two have the same name."""
    short = name.partition(":")[2] or name
    for candidate in (name, short, f"params.yaml:{name}"):
        if candidate in found.columns:
            return candidate
    raise SystemExit(f"dvc exp show has no {name}; it has {', '.join(map(str, found.columns))}")


def spread(scores: pd.Series) -> str:
    if len(scores) < 2:
        return "–"
    low, high = stats.t.interval(0.95, len(scores) - 1, scores.mean(), stats.sem(scores))
    return f"{low:.3f}–{high:.3f}"


def dvc(*command: str) -> str:
    # To files: the queue's worker would keep a pipe open for as long as it works.
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as wrong:
        done = subprocess.run([sys.executable, "-m", "dvc", *command], check=False, stdout=told, stderr=wrong)
        told.seek(0)
        wrong.seek(0)
        if done.returncode:
            raise SystemExit(f"dvc {' '.join(command)} failed: {wrong.read().strip()}")
        return told.read()


if __name__ == "__main__":
    main()
