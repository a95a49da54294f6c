"""The speed of the metrics, compared with the COCO evaluation toolkit in the same run.

    python benchmarks/metrics.py [--images 5000] [--seed 0]

Captions are random: 5,000 images with five references each; all captions of an image mention the same objects. Only the
Python code of the toolkit is measured, not its Java tokenizer. The ratios also hold on a busy machine.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pycocoevalcap.bleu.bleu import Bleu as ToolkitBleu
from pycocoevalcap.cider.cider import Cider as ToolkitCider
from pycocoevalcap.rouge.rouge import Rouge as ToolkitRouge

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.metrics.base import Metric
from wordgaze.metrics.bleu import Bleu
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.document_frequencies import document_frequencies
from wordgaze.metrics.rouge import RougeL
from wordgaze.text.tokenizers.ptb import tokenize

T = TypeVar("T")
REFERENCES = 5
NOUNS = [f"noun{i}" for i in range(800)]
OTHERS = [f"word{i}" for i in range(3000)]
FUNCTION_WORDS = "a the in on of with and is are to his her at two".split()
METRICS = {"bleu_1…4": (Bleu, ToolkitBleu(4)), "rouge_l": (RougeL, ToolkitRouge()), "cider": (Cider, ToolkitCider())}


def caption(rng: random.Random, objects: Sequence[str]) -> list[str]:
    """Seven to sixteen words: half function words, a quarter objects of the image, a quarter others by frequency."""
    kinds = (FUNCTION_WORDS, FUNCTION_WORDS, objects, OTHERS)
    chosen = (rng.choice(kinds) for _ in range(rng.randint(7, 16)))
    return [kind[int(len(kind) * rng.random() ** 3)] for kind in chosen]


def random_captions(num_images: int, seed: int) -> tuple[list[list[str]], list[list[list[str]]]]:
    rng = random.Random(seed)
    objects = [[NOUNS[int(len(NOUNS) * rng.random() ** 2)] for _ in range(4)] for _ in range(num_images)]
    candidates = [caption(rng, of_image) for of_image in objects]
    return candidates, [[caption(rng, of_image) for _ in range(REFERENCES)] for of_image in objects]


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def corpus(metric: type[Metric], candidates: list[list[str]], references: list[list[list[str]]]) -> list[float]:
    scorer = metric(references)  # type: ignore[call-arg]
    return [float(score) for score in scorer.scores(scorer.statistics(candidates).sum(axis=0)).values()]


def compare(candidates: list[list[str]], references: list[list[list[str]]]) -> None:
    captions = {i: [" ".join(words)] for i, words in enumerate(candidates)}
    gold = {i: [" ".join(words) for words in of_image] for i, of_image in enumerate(references)}
    total, toolkit_total = 0.0, 0.0
    for name, (ours, toolkit) in METRICS.items():
        seconds, scores = timed(lambda ours=ours: corpus(ours, candidates, references))
        quiet = {"verbose": 0} if name.startswith("bleu") else {}
        toolkit_seconds, (expected, _) = timed(lambda t=toolkit, quiet=quiet: t.compute_score(gold, captions, **quiet))
        difference = max(abs(a - b) for a, b in zip(scores, expected if quiet else [expected], strict=True))
        print(f"{name:<10} {seconds:6.2f} s   toolkit {toolkit_seconds:6.2f} s   {toolkit_seconds / seconds:5.1f} times"
              f"   difference {difference:.0e}")  # fmt: skip
        total, toolkit_total = total + seconds, toolkit_total + toolkit_seconds
    print(f"{'together':<10} {total:6.2f} s   toolkit {toolkit_total:6.2f} s   {toolkit_total / total:5.1f} times")


def reward(references: list[list[list[str]]], seed: int) -> None:
    """500 candidates, five per image, as in one step of self-critical training."""
    rng = random.Random(seed)
    build_seconds, cider = timed(lambda: Cider(references, document_frequencies(references)))
    indices = [index for index in rng.sample(range(len(references)), 100) for _ in range(5)]
    captions = [caption(rng, references[index][0]) for index in indices]
    median = sorted(timed(lambda: cider.reward(indices, captions))[0] for _ in range(9))[4]
    print(f"reward     {1000 * median:6.1f} ms for {len(captions)} candidates (built once in {build_seconds:.2f} s)")


def tokenizer(references: list[list[list[str]]]) -> None:
    texts = [" ".join(words).capitalize() + " ." for of_image in references for words in of_image]
    seconds, _ = timed(lambda: [tokenize(text) for text in texts])
    print(f"tokenizer  {len(texts) / seconds:,.0f} captions/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    candidates, references = random_captions(args.images, args.seed)
    compare(candidates, references)
    reward(references, args.seed)
    tokenizer(references)


if __name__ == "__main__":
    main()
