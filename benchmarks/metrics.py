"""The speed of the metrics and of the COCO evaluation toolkit in the same run: ``python benchmarks/metrics.py``.

Captions are random: 5,000 images with five references each, all sentences of an image about the same objects. Of the
toolkit only the Python code is measured, not its Java tokenizer. Ratios also hold on a busy machine.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from pycocoevalcap.bleu.bleu import Bleu as ToolkitBleu
from pycocoevalcap.cider.cider import Cider as ToolkitCider
from pycocoevalcap.rouge.rouge import Rouge as ToolkitRouge

from wordgaze.metrics.base import Metric
from wordgaze.metrics.bleu import Bleu
from wordgaze.metrics.cider import Cider, document_frequencies
from wordgaze.metrics.rouge import RougeL
from wordgaze.text.tokenizer import tokenize

T = TypeVar("T")
REFERENCES = 5
NOUNS = [f"noun{i}" for i in range(800)]
OTHERS = [f"word{i}" for i in range(3000)]
SMALL = "a the in on of with and is are to his her at two".split()
TOGETHER = {"bleu_1…4": (Bleu, ToolkitBleu(4)), "rouge_l": (RougeL, ToolkitRouge()), "cider": (Cider, ToolkitCider())}


def caption(draw: random.Random, things: Sequence[str]) -> list[str]:
    """Seven to sixteen words: half function words, a quarter objects of the image, a quarter others by frequency."""
    kinds = (SMALL, SMALL, things, OTHERS)
    chosen = (draw.choice(kinds) for _ in range(draw.randint(7, 16)))
    return [kind[int(len(kind) * draw.random() ** 3)] for kind in chosen]


def images(number: int, seed: int) -> tuple[list[list[str]], list[list[list[str]]]]:
    draw = random.Random(seed)
    things = [[NOUNS[int(len(NOUNS) * draw.random() ** 2)] for _ in range(4)] for _ in range(number)]
    return [caption(draw, of) for of in things], [[caption(draw, of) for _ in range(REFERENCES)] for of in things]


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def corpus(metric: type[Metric], candidates: list[list[str]], references: list[list[list[str]]]) -> list[float]:
    made = metric(references)  # type: ignore[call-arg]
    return [float(score) for score in made.scores(made.statistics(candidates).sum(axis=0)).values()]


def compare(candidates: list[list[str]], references: list[list[list[str]]]) -> None:
    captions = {i: [" ".join(words)] for i, words in enumerate(candidates)}
    truths = {i: [" ".join(words) for words in of_image] for i, of_image in enumerate(references)}
    sums = [0.0, 0.0]
    for name, (ours, toolkit) in TOGETHER.items():
        mine, found = timed(lambda ours=ours: corpus(ours, candidates, references))
        quiet = {"verbose": 0} if name.startswith("bleu") else {}
        theirs, (expected, _) = timed(lambda t=toolkit, quiet=quiet: t.compute_score(truths, captions, **quiet))
        worst = max(abs(a - b) for a, b in zip(found, expected if quiet else [expected], strict=True))
        print(f"{name:<10} {mine:6.2f} s   toolkit {theirs:6.2f} s   {theirs / mine:5.1f} times   apart {worst:.0e}")
        sums = [sums[0] + mine, sums[1] + theirs]
    print(f"{'together':<10} {sums[0]:6.2f} s   toolkit {sums[1]:6.2f} s   {sums[1] / sums[0]:5.1f} times")


def reward(references: list[list[list[str]]], seed: int) -> None:
    """500 candidates, five per image, as in one step of self-critical training."""
    draw = random.Random(seed)
    build, cider = timed(lambda: Cider(references, document_frequencies(references)))
    indices = [index for index in draw.sample(range(len(references)), 100) for _ in range(5)]
    captions = [caption(draw, references[index][0]) for index in indices]
    middle = sorted(timed(lambda: cider.reward(indices, captions))[0] for _ in range(9))[4]
    print(f"reward     {1000 * middle:6.1f} ms for {len(captions)} candidates (built once in {build:.2f} s)")


def tokenizer(references: list[list[list[str]]]) -> None:
    texts = [" ".join(words).capitalize() + " ." for of_one in references for words in of_one]
    seconds, _ = timed(lambda: [tokenize(text) for text in texts])
    print(f"tokenizer  {len(texts) / seconds:,.0f} captions a second")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    candidates, references = images(given.images, given.seed)
    compare(candidates, references)
    reward(references, given.seed)
    tokenizer(references)
