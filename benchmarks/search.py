"""A grid search over parameters with a time limit, as experiments in DVC's queue.

    python benchmarks/search.py --minutes 90 -S seed=1,2 -S train_stage1.learning_rate=1e-3,2e-3

Run it in a project whose ``params.yaml`` sets everything that does not vary. Values are lists and ranges as in DVC;
each combination is an experiment. The first -S varies slowest: with ``seed`` first, every setting is tried once before
any is tried again. When the time is over, the running experiment is stopped and the others are removed from the queue;
finished ones stay in ``dvc exp show`` and in MLflow. It prints a table of dev scores;
evaluate the best setting on the test split afterwards.
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
POLL_SECONDS = 5.0  # between two requests of the status of the queue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "-S", dest="settings", action="append", required=True, help="KEY=VALUE,VALUE as dvc exp run has it"
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--score", default=SCORE, help="the metric, FILE:NAME")
    args = parser.parse_args()
    before = set(experiments()["Experiment"])
    dvc("exp", "run", "--queue", *itertools.chain.from_iterable(("-S", setting) for setting in args.settings))
    dvc("queue", "start")
    wait(args.minutes)
    results = experiments()
    results = results[~results["Experiment"].isin(before)]
    print(table(results, [setting.partition("=")[0] for setting in args.settings], args.score))


def wait(minutes: float) -> None:
    """Waits until the queue is done or the time is over; then the queue is emptied."""
    deadline = time.monotonic() + 60 * minutes
    while unfinished := num_unfinished():
        if time.monotonic() > deadline:
            print(f"{unfinished} of the experiments were not finished in {minutes:g} minutes", file=sys.stderr)
            dvc("queue", "stop", "--kill")
            dvc("queue", "remove", "--queued")
            return
        time.sleep(POLL_SECONDS)


def num_unfinished() -> int:
    """The number of experiments that are queued or running."""
    return sum(("Queued" in line) or ("Running" in line) for line in dvc("queue", "status").splitlines()[1:])


def experiments() -> pd.DataFrame:
    """The finished experiments on this commit, one per row, with metrics and parameters as columns."""
    frame = pd.read_csv(
        io.StringIO(
            dvc("exp", "show", "--csv", "--hide-workspace", "--hide-queued", "--hide-failed", "--precision", "12")
        )
    )
    return frame[frame["Experiment"].notna()]


def table(experiments: pd.DataFrame, varied: Sequence[str], score: str) -> str:
    """Markdown: one row per setting, the best first, with the mean over seeds and its 95 % interval (Student 1908)."""
    keys = [key for key in varied if key != "seed"]
    columns = [column(experiments, key) for key in keys]
    experiments = experiments.dropna(subset=[column(experiments, score)])
    rows = []
    for values, group in experiments.groupby(columns, dropna=False) if columns else [((), experiments)]:
        scores = group[column(experiments, score)]
        rows.append((scores.mean(), *values, f"{scores.mean():.3f}", spread(scores), str(len(scores))))
    head = [*keys, "dev score", "95 %", "runs"]
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row[1:]] for row in sorted(rows, reverse=True))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def column(experiments: pd.DataFrame, name: str) -> str:
    """The column of a parameter or metric; DVC adds the file name if two have the same name."""
    short = name.partition(":")[2] or name
    for candidate in (name, short, f"params.yaml:{name}"):
        if candidate in experiments.columns:
            return candidate
    raise SystemExit(f"dvc exp show has no {name}; it has {', '.join(map(str, experiments.columns))}")


def spread(scores: pd.Series) -> str:
    if len(scores) < 2:
        return "–"
    low, high = stats.t.interval(0.95, len(scores) - 1, scores.mean(), stats.sem(scores))
    return f"{low:.3f}–{high:.3f}"


def dvc(*command: str) -> str:
    # Output goes to files, because the worker of the queue would keep a pipe open.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.run([sys.executable, "-m", "dvc", *command], check=False, stdout=output, stderr=errors)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(f"dvc {' '.join(command)} failed: {errors.read().strip()}")
        return output.read()


if __name__ == "__main__":
    main()
