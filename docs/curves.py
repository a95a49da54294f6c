"""The curves of both stages of training as one picture, from the last run of the pipeline.

python docs/curves.py [--reports reports] [--output docs/curves.png]
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import pandas as pd

mpl.use("agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

HERE = Path(__file__).parent
BLUE, ORANGE = "#1f6feb", "#d9730d"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", type=Path, default=HERE.parent / "reports")
    parser.add_argument("--output", type=Path, default=HERE / "curves.png")
    given = parser.parse_args()
    first, second = (pd.read_csv(given.reports / f"train_stage{n}.csv") for n in (1, 2))
    second["epoch"] += first["epoch"].max()  # of both stages, one after the other
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    draw_training(left, first, second)
    draw_dev(right, first, second)
    figure.savefig(given.output, dpi=110)


def draw_training(axes: Axes, first: pd.DataFrame, second: pd.DataFrame) -> None:
    """What is minimised in stage 1, and in stage 2 or, where captions are drawn, their reward on an axis of its own."""
    axes.plot(first["epoch"], first["train_loss"], "o-", color=BLUE)
    axes.set(xlabel="epoch", ylabel="cross entropy, nats a word", title="Training")
    axes.yaxis.label.set_color(BLUE)
    if "train_reward" not in second:
        axes.plot(second["epoch"], second["train_loss"], "o-", color=ORANGE)
        return
    rewards = axes.twinx()
    rewards.plot(second["epoch"], second["train_reward"], "o-", color=ORANGE)
    rewards.set_ylabel("CIDEr of drawn captions", color=ORANGE)


def draw_dev(axes: Axes, first: pd.DataFrame, second: pd.DataFrame) -> None:
    """The score that early stopping goes by."""
    axes.plot(first["epoch"], first["dev_cider"], "o-", color=BLUE, label="stage 1")
    axes.plot(second["epoch"], second["dev_cider"], "o-", color=ORANGE, label="stage 2")
    axes.set(xlabel="epoch", ylabel="CIDEr", title="Dev split, greedy")
    axes.legend()
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
