"""Draws where the time goes, from files that benchmarks/training.py or benchmarks/end_to_end.py wrote with --profile.

python benchmarks/profile_picture.py profile.svg before=before.json after=after.json [--per "training step"]
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, help="the picture, .svg or .png")
    parser.add_argument("profiles", nargs="+", metavar="LABEL=FILE", help="one bar each")
    parser.add_argument("--per", default="training step", help="what the seconds of the files are for")
    args = parser.parse_args()
    bars = [profile.split("=", 1) for profile in args.profiles]
    profiles = [json.loads(Path(file).read_text())["seconds"] for _, file in bars]
    parts = sorted({part for profile in profiles for part in profile}, key=lambda part: -profiles[0].get(part, 0.0))
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.6 * len(bars)), layout="constrained")
    left = [0.0] * len(bars)
    for color, part in zip(plt.get_cmap("tab10").colors, parts, strict=False):
        widths = [1e3 * profile.get(part, 0.0) for profile in profiles]
        axes.barh([label for label, _ in bars], widths, left=left, label=part, color=color)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for number, total in enumerate(left):
        axes.text(total, number, f" {total:.0f} ms", va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1 * max(left))
    axes.set_xlabel(f"milliseconds per {args.per}")
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.35), frameon=False)
    figure.savefig(args.picture, metadata={"Date": None} if args.picture.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
