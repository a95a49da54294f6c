"""Every decoding strategy on a split: scores of the first caption, variety of five, speed from cached features.

    python benchmarks/strategies.py [--root .] [--split test] [--only beam consensus]

Needs a project that ``dvc repro`` has run through. Scores and lengths are of each picture's first caption; self-BLEU
compares the five captions of a picture with each other; distinct-n and the words used count the first captions.
"""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.data.prepared import Prepared
from wordgaze.evaluation.comparison import Comparison, diversity
from wordgaze.generation.config import parse_generation_config
from wordgaze.generation.presets import PRESETS
from wordgaze.inference.caption_features import caption_features
from wordgaze.inference.captioner import Captioner
from wordgaze.vision.feature_store import FeatureStore

NUM = 5
COLUMNS = ("BLEU-4", "CIDEr", "95 %", "METEOR", "distinct-1", "distinct-2", "words used", "self-BLEU", "length", "new",
           "images/s")  # fmt: skip
RULES: dict[str, object] = {"no_dangling_end": True, "no_repeat_ngram_size": 2}
CONSENSUS: dict[str, object] = {"strategy": "mbr", "num_beams": 20, "mbr_samples": 0}
MORE: dict[str, dict[str, object]] = {
    "beam + rules": {"strategy": "beam", **RULES},
    "beam, Wu's penalty": {"strategy": "beam", "length_normalisation": "wu"},
    "beam 10": {"strategy": "beam", "num_beams": 10},
    "consensus of 20 beams": CONSENSUS,
    "… + rules": {**CONSENSUS, **RULES},
    "consensus by BLEU": {**CONSENSUS, "mbr_utility": "bleu"},
    "consensus of samples": {"strategy": "mbr", "num_beams": 1, "mbr_samples": 40, "temperature": 0.5},
    "neighbours, of 40": {"strategy": "neighbours", "num_beams": 40},
}
"""Rules: no ending on a function word, no two words in a row twice."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--split", choices=["dev", "test"], default="test")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--batch", type=int, default=128)
    given = parser.parse_args()
    prepared, store = Prepared.load(given.root / "data/prepared"), FeatureStore(given.root / "data/features")
    captioner = Captioner.load(given.root / "models/stage2")
    images, references = prepared.references(given.split)
    train = [words for captions in prepared.captions["train"].values() for words in captions]
    found, speed = {}, {}
    for name, preset in (PRESETS | MORE).items():
        if (given.only and name not in given.only) or (preset["strategy"] == "neighbours" and not captioner.neighbours):
            continue
        decode = parse_generation_config(**{"num_return_sequences": NUM, **preset})
        started = time.perf_counter()
        found[name] = caption_features(
            captioner.decoder, captioner.vocabulary, store, images, decode, given.batch, 1, captioner.neighbours
        )
        speed[name] = len(images) / (time.perf_counter() - started)
        print(f"{name}: {speed[name]:.0f} images/s", file=sys.stderr)
    said = {name: [of_one[0].words for of_one in captions] for name, captions in found.items()}
    comparison = Comparison(said, references)
    scores, intervals = comparison.scores(), comparison.intervals()
    table = Table(title=f"{given.split} split, {len(images)} images", title_justify="left")
    table.add_column("strategy")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name, captions in found.items():
        of_one, varied = scores[name], diversity(said[name], [[c.words for c in of] for of in captions], train)
        low, high = intervals[name]["cider"]
        alike = varied["self_bleu"]
        table.add_row(
            name, f"{of_one['bleu_4']:.3f}", f"{of_one['cider']:.3f}", f"{low:.3f}–{high:.3f}",
            f"{of_one['meteor']:.3f}",
            f"{varied['distinct_1']:.3f}", f"{varied['distinct_2']:.3f}", str(varied["vocabulary"]),
            "–" if alike is None else f"{alike:.2f}", f"{varied['mean_length']:.1f}", f"{varied['novelty']:.2f}",
            f"{speed[name]:.0f}",
        )  # fmt: skip
    Console(width=150).print(table)
    for name, of_one in (comparison.differences("beam") if "beam" in said else {}).items():
        gap = of_one["cider"]
        print(f"{name}: CIDEr {gap['value']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}], p = {gap['p']:.3f}")


if __name__ == "__main__":
    main()
