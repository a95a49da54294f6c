"""Every generation strategy on a split: scores of the best caption, diversity of five captions, speed.

    python benchmarks/strategies.py [--root .] [--split test] [--only beam mbr]

Needs a project in which ``dvc repro`` has run. Captions are generated from stored features. Scores, lengths, distinct-n
and the number of words used are those of each image's first caption; self-BLEU compares the five captions of an image
with each other.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.data.prepared import Prepared
from wordgaze.evaluation.comparison import Comparison, diversity
from wordgaze.evaluation.results import Diversity, ScoreIntervals, Scores
from wordgaze.generation.config import parse_generation_config
from wordgaze.generation.outputs import Caption
from wordgaze.generation.presets import PRESETS
from wordgaze.inference.caption_features import caption_features
from wordgaze.inference.captioner import Captioner
from wordgaze.vision.feature_store import FeatureStore

NUM_CAPTIONS = 5
COLUMNS = ("BLEU-4", "CIDEr", "95 %", "METEOR", "distinct-1", "distinct-2", "words used", "self-BLEU", "length", "new",
           "images/s")  # fmt: skip
RULES: dict[str, object] = {"no_dangling_end": True, "no_repeat_ngram_size": 2}
"""No function word at the end, no repeated bigram."""
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


def main() -> None:
    presets = PRESETS | MORE
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the project")
    parser.add_argument("--split", choices=["dev", "test"], default="test")
    parser.add_argument("--only", nargs="+", choices=presets, default=list(presets), metavar="STRATEGY")
    parser.add_argument("--batch", type=int, default=128, help="images per batch")
    args = parser.parse_args()
    prepared, store = Prepared.load(args.root / "data/prepared"), FeatureStore(args.root / "data/features")
    captioner = Captioner.load(args.root / "models/stage2")
    images, references = prepared.references(args.split)
    captions: dict[str, list[list[Caption]]] = {}
    speeds: dict[str, float] = {}
    for name in args.only:
        if presets[name]["strategy"] == "neighbours" and not captioner.parts.reranker:
            continue
        config = parse_generation_config(**{"num_return_sequences": NUM_CAPTIONS, **presets[name]})
        started = time.perf_counter()
        captions[name] = list(
            caption_features(
                captioner.decoder, captioner.vocabulary, store, images, config, args.batch, 1, captioner.parts
            )
        )
        speeds[name] = len(images) / (time.perf_counter() - started)
        print(f"{name}: {speeds[name]:.0f} images/s", file=sys.stderr)
    train = [words for of_image in prepared.captions["train"].values() for words in of_image]
    best = {name: [of_image[0].words for of_image in candidates] for name, candidates in captions.items()}
    comparison = Comparison(best, references)
    scores, intervals = comparison.scores(), comparison.intervals()
    table = Table("strategy", title=f"{args.split} split, {len(images)} images", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name, candidates in captions.items():
        varied = diversity([[caption.words for caption in of_image] for of_image in candidates], train)
        table.add_row(name, *cells(scores[name], intervals[name], varied), f"{speeds[name]:.0f}")
    Console(width=150).print(table)
    if "beam" in best:
        print_differences(comparison, list(best))


def cells(scores: Scores, intervals: ScoreIntervals, varied: Diversity) -> Sequence[str]:
    """The cells of a strategy's row, without its speed; – where a value is not defined."""
    return (
        decimals(scores.bleu_4), decimals(scores.cider),
        f"{decimals(intervals.cider.low)}–{decimals(intervals.cider.high)}", decimals(scores.meteor),
        decimals(varied.distinct_1), decimals(varied.distinct_2), str(varied.vocabulary_size),
        decimals(varied.self_bleu, 2), decimals(varied.mean_length, 1), decimals(varied.novelty, 2),
    )  # fmt: skip


def decimals(value: float | None, places: int = 3) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def print_differences(comparison: Comparison, strategies: Sequence[str]) -> None:
    """Prints the difference in CIDEr of each strategy to beam search, by a paired bootstrap over the images."""
    for pair in comparison.differences("beam", strategies):
        cider = pair.differences.cider
        print(f"{pair.system} against {pair.base}: CIDEr {cider.value:+.4f} [{cider.low:+.4f}, {cider.high:+.4f}], "
              f"p = {decimals(cider.p)}")  # fmt: skip


if __name__ == "__main__":
    main()
