"""Draws the curves of both training stages from the reports of the last pipeline run.

python docs/scripts/training_curves.py [--reports reports] [--output docs/images/training-curves.png]
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import pandas as pd

mpl.use("agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

ROOT = Path(__file__).parents[2]
BLUE, ORANGE = "#1f6feb", "#d9730d"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", type=Path, default=ROOT / "reports")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/images/training-curves.png")
    args = parser.parse_args()
    stage1, stage2 = (pd.read_csv(args.reports / f"train_stage{n}.csv") for n in (1, 2))
    stage2["epoch"] += stage1["epoch"].max()  # one axis for both stages
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    plot_training(left, stage1, stage2)
    plot_dev(right, stage1, stage2)
    figure.savefig(args.output, dpi=110)


def plot_training(axes: Axes, stage1: pd.DataFrame, stage2: pd.DataFrame) -> None:
    """The training loss; the reward of a self-critical second stage has an axis of its own."""
    axes.plot(stage1["epoch"], stage1["train_loss"], "o-", color=BLUE)
    axes.set(xlabel="epoch", ylabel="cross entropy, nats per word", title="Training")
    axes.yaxis.label.set_color(BLUE)
    if "train_reward" not in stage2:
        axes.plot(stage2["epoch"], stage2["train_loss"], "o-", color=ORANGE)
        return
    rewards = axes.twinx()
    rewards.plot(stage2["epoch"], stage2["train_reward"], "o-", color=ORANGE)
    rewards.set_ylabel("CIDEr of sampled captions", color=ORANGE)


def plot_dev(axes: Axes, stage1: pd.DataFrame, stage2: pd.DataFrame) -> None:
    """The dev score, which early stopping uses."""
    axes.plot(stage1["epoch"], stage1["dev_cider"], "o-", color=BLUE, label="stage 1")
    axes.plot(stage2["epoch"], stage2["dev_cider"], "o-", color=ORANGE, label="stage 2")
    axes.set(xlabel="epoch", ylabel="CIDEr", title="Dev split, greedy")
    axes.legend()
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
