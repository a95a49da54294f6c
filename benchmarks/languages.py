"""Trains a captioner on 200 pictures with captions in each language, the way a user does, and prints its scores.

    python benchmarks/languages.py [--only de zh/characters …] [--keep FOLDER] [--split test] [--set KEY=VALUE …]

The pictures are scenes with five captions each, written as a folder with a table ``captions.csv``. Each run is
``dvc exp run -S dataset.name=folder …`` in a clone of this project as it is committed. The sheets with the attention of
two pictures each are left in ``FOLDER/sheets``. The last column is the BLEU-4 of references of which one character is
wrong: a score that cannot tell a near miss from nonsense is 0 there.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.data.datasets.scenes import Scenes
from wordgaze.data.records import Record
from wordgaze.metrics.bleu import Bleu
from wordgaze.text.tokenizers import get_tokenizer

ROOT = Path(__file__).parents[1]
RUNS = ("en/ptb", "de/unicode", "de/subwords", "zh/characters", "ar/unicode", "hi/unicode")
NUM_PICTURES, SIZE, SEED = 200, 224, 11
SETTINGS = (
    "dataset.name=folder", "prepare.min_count=1", "prepare.max_words=40", "generation.max_new_tokens=40",
    "train_stage1.max_train_images=0", "train_stage1.epochs=32", "train_stage1.patience=32",
    "train_stage1.ema_decay=0.98", "train_stage2.epochs=4", "train_stage2.ema_decay=0.98",
    "evaluate.num_attention_images=2",
)  # fmt: skip
SUBWORDS = "prepare.max_vocabulary=120"  # with more, each of the few words of the scenes would be one piece
COLUMNS = ("language", "tokenizer", "words", "pictures", "BLEU-4", "CIDEr", "constant", "one off", "minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=RUNS, help="LANGUAGE/TOKENIZER, or LANGUAGE")
    parser.add_argument("--keep", type=Path, help="leave the projects and the sheets in this folder")
    parser.add_argument("--split", choices=["dev", "test"], default="test")
    parser.add_argument("--set", nargs="+", default=(), dest="changes", help="further parameters")
    args = parser.parse_args()
    table = Table(*COLUMNS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        for name in (each if "/" in each else next(run for run in RUNS if run.startswith(each)) for each in args.only):
            language, _, tokenizer = name.partition("/")
            row = train(language, tokenizer, folder, [*args.changes, f"evaluate.split={args.split}"])
            print(*row, flush=True)
            table.add_row(*row)
    Console(width=140).print(table)


def train(language: str, tokenizer: str, folder: Path, changes: Sequence[str]) -> tuple[str, ...]:
    """A row of the table, from a project at ``folder/LANGUAGE-TOKENIZER``."""
    project = folder / f"{language}-{tokenizer}"
    records = write_album(folder / f"album-{language}", language)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
    settings = [*SETTINGS, f"dataset.source={folder / f'album-{language}'}", f"prepare.tokenizer={tokenizer}"]
    settings += [*([SUBWORDS] if tokenizer == "subwords" else []), *changes]
    started = time.perf_counter()
    with (project / "log.txt").open("w") as log:
        command = ["dvc", "exp", "run", *(part for setting in settings for part in ("-S", setting))]
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        subprocess.run(command, cwd=project, env=environment, check=True, stdout=log, stderr=log)
    minutes = (time.perf_counter() - started) / 60
    keep_sheets(project, folder / "sheets")
    report = json.loads((project / "reports/evaluation.json").read_text(encoding="utf-8"))
    words = len(json.loads((project / "models/stage2/captioner.json").read_text(encoding="utf-8"))["vocabulary"])
    best, constant = report["scores"][report["system"]], report["baselines"]["constant"]
    return (
        language, tokenizer, str(words), str(report["num_images"]), f"{best['bleu_4']:.3f}", f"{best['cider']:.3f}",
        f"{constant['bleu_4']:.3f}", f"{one_character_off(records, report['tokenizer']):.3f}", f"{minutes:.1f}",
    )  # fmt: skip


def write_album(folder: Path, language: str) -> list[Record]:
    """Writes pictures and ``captions.csv``, as a user has them, and returns what is in them."""
    if folder.exists():
        shutil.rmtree(folder)
    records = Scenes(NUM_PICTURES, SIZE, SEED, language).collect(folder).records
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption"])
        table.writerows((record.image, caption) for record in records for caption in record.captions)
    return records


def keep_sheets(project: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for sheet in sorted((project / "reports/attention").glob("*.jpg")):
        shutil.copy(sheet, folder / f"{project.name}-{sheet.name}")


def one_character_off(records: Sequence[Record], tokenizer: str) -> float:
    """BLEU-4 of the first caption of each picture with another character in its middle, against all five."""
    tokenize = get_tokenizer(tokenizer).tokenize
    middles = [len(record.captions[0]) // 2 for record in records]
    changed = [
        f"{record.captions[0][:middle]}{record.captions[0][0]}{record.captions[0][middle + 1 :]}"
        for record, middle in zip(records, middles, strict=True)
    ]
    metric = Bleu([[tokenize(caption) for caption in record.captions] for record in records])
    return float(metric.scores(metric.statistics([tokenize(caption) for caption in changed]).sum(0))["bleu_4"])


if __name__ == "__main__":
    main()
