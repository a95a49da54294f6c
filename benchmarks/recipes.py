"""Runs every recipe end to end at a small scale: random encoder weights, and scenes in place of the data set.

    python benchmarks/recipes.py [--only resnet50_glove …] [--keep FOLDER]

Each recipe runs by ``wordgaze recipe use NAME --set … && dvc repro`` in a clone of this project as it is committed.
Encoder, image size, grid, the sizes of the decoder and the objective are those of the recipe; only the data and the
number of epochs are reduced.
"""

import argparse
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from safetensors import safe_open

ROOT = Path(__file__).parents[1]
SMALL = (
    "dataset.name=scenes", "dataset.scenes.num_images=60", "dataset.max_train_images=24", "dataset.max_dev_images=8",
    "dataset.max_test_images=8", "features.weights=random", "features.shard_size=16",
    "train_stage1.epochs=3", "train_stage1.max_train_images=16", "train_stage2.epochs=1",
    "evaluate.num_attention_images=2", "evaluate.bootstrap_resamples=100",
)  # fmt: skip
COLUMNS = ("recipe", "features", "encoder", "decoder", "words", "steps/s", "BLEU-1", "minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", default=sorted(p.stem for p in (ROOT / "src/wordgaze/config/recipes").glob("*.yaml"))
    )
    parser.add_argument("--keep", type=Path, help="leave the projects in this folder")
    args = parser.parse_args()
    print("scaled down by", *(f"--set {change}" for change in SMALL))
    table = Table(*COLUMNS)
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.only:
            table.add_row(name, *run(name, (args.keep or Path(temporary)) / name))
    Console(width=140).print(table)


def run(name: str, project: Path) -> tuple[str, ...]:
    """A row of the table, from a project that is created at ``project``."""
    started = time.perf_counter()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    changes = [part for setting in SMALL for part in ("--set", setting)]
    with (project / "log.txt").open("w") as log:
        for command in (["wordgaze", "recipe", "use", name, *changes], ["dvc", "repro"]):
            subprocess.run(command, cwd=project, env=environment, check=True, stdout=log, stderr=log)
    minutes = (time.perf_counter() - started) / 60
    manifest = json.loads((project / "data/features/manifest.json").read_text())
    _, cells, channels = manifest["shape"]
    sizes = num_parameters(project / "models/stage2/weights.safetensors")
    words = len(json.loads((project / "models/stage2/captioner.json").read_text())["vocabulary"])
    report = json.loads((project / "reports/evaluation.json").read_text())
    best = report["scores"][report["system"]]
    side = math.isqrt(cells)
    shutil.rmtree(project / "data")
    return (
        f"{side}x{side}x{channels}", f"{sizes['encoder'] / 1e6:.1f} M", f"{sizes['decoder'] / 1e6:.1f} M", str(words),
        f"{steps_per_second(project / 'mlflow.db'):.2f}", f"{best['bleu_1']:.3f}", f"{minutes:.1f}",
    )  # fmt: skip


def num_parameters(weights: Path) -> Counter[str]:
    """The number of parameters of the parts of a captioner, which are encoder, decoder and reranker."""
    counts: Counter[str] = Counter()
    with safe_open(weights, framework="numpy") as file:
        for key in file.keys():  # noqa: SIM118 (a handle, not a mapping)
            counts[key.split(".")[0]] += math.prod(file.get_slice(key).get_shape())
    return counts


def steps_per_second(store: Path) -> float:
    """The speed of stage 1 as logged to MLflow, including the evaluation on dev after each epoch."""
    with sqlite3.connect(store) as database:
        rows = database.execute(
            "select value from metrics where key = 'speed/steps_per_second' order by timestamp"
        ).fetchall()
    return float(rows[0][0])


if __name__ == "__main__":
    main()
