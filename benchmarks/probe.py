"""A linear probe of the stored features, for each network and number of feature maps: can words be predicted?

    python benchmarks/probe.py [--root .]

Needs a project in which stage ``features`` has run. The probe is a logistic regression from the mean features of all
cells and of the central cells to the fraction of an image's captions that contain a word, for the 300 most frequent
words that occur in at most half of the images. It is trained on train. The weight decay is chosen on dev, where it is
also evaluated: cross entropy per word, and mean average precision over the words, where an image is relevant if at
least two of five captions contain the word.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.data.prepared import Prepared
from wordgaze.vision.feature_store import FeatureStore
from wordgaze.vision.networks import build_network, feature_maps, truncate

COLOURS = ("black", "white", "red", "blue", "brown", "yellow", "green", "orange", "pink", "blond", "blonde")
DECAYS = (3e-5, 1e-4, 3e-4, 1e-3)
Parts = dict[str, slice]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path())
    args = parser.parse_args()
    prepared, store = Prepared.load(args.root / "data/prepared"), FeatureStore(args.root / "data/features")
    words = frequent_words(prepared)
    colours = [words.index(word) for word in COLOURS if word in words]
    features = {split: pooled(store, prepared.references(split)[0]) for split in ("train", "dev")}
    targets = {split: fractions(prepared.references(split)[1], words) for split in ("train", "dev")}
    print(f"{len(words)} words, {len(features['train'])} and {len(features['dev'])} images")
    for name, slices in subsets(parts_of(store)):
        selected = [torch.cat([features[split][:, :, s] for s in slices], 2) for split in ("train", "dev")]
        train, dev = standardised(*selected)
        candidates = [probe(train, targets["train"], dev, decay) for decay in DECAYS]
        logits = min(candidates, key=lambda logits: loss(logits, targets["dev"]))
        precision = average_precision(logits, targets["dev"] >= 0.4)
        channels = train.shape[1] // 2
        print(
            f"{name:60} {channels:5} channels   cross entropy {loss(logits, targets['dev']):.5f}"
            f"   precision {precision.nanmean():.3f}   of colours {precision[colours].nanmean():.3f}",
            flush=True,
        )


def frequent_words(prepared: Prepared, count: int = 300) -> list[str]:
    """The most frequent words of the training captions, without those that occur in half of the images."""
    images = prepared.captions["train"].values()
    images_with = Counter(word for captions in images for word in {word for words in captions for word in words})
    return [word for word, n in images_with.most_common() if n < len(images) / 2][:count]


def fractions(captions: list[list[list[str]]], words: list[str]) -> Tensor:
    """(N, W): the fraction of the captions of an image that contain a word."""
    index = {word: i for i, word in enumerate(words)}
    table = torch.zeros(len(captions), len(words))
    for row, of_image in zip(table, captions, strict=True):
        for caption in of_image:
            row[[index[word] for word in set(caption) if word in index]] += 1 / len(of_image)
    return table


def pooled(store: FeatureStore, images: list[str]) -> Tensor:
    """(N, 2, D): the mean over all cells, and over those that are not near an edge."""
    rows, columns = store.spec.grid
    top, left = rows // 4, columns // 4
    parts = []
    for start in range(0, len(images), 250):
        cells = store.read(images[start : start + 250]).float().unflatten(1, (rows, columns))
        center = cells[:, top : rows - top, left : columns - left]
        parts.append(torch.stack([cells.mean((1, 2)), center.mean((1, 2))], 1))
    return torch.cat(parts)


def parts_of(store: FeatureStore) -> dict[str, Parts]:
    """The channels of each layer of each network, as slices."""
    parts: dict[str, Parts] = {}
    start = 0
    for spec in store.spec.networks:
        body = truncate(build_network(spec.name, "random")[0], spec.layers)
        noise = torch.randn(1, 3, store.spec.image_size, store.spec.image_size)
        with torch.no_grad():
            maps = feature_maps(body, spec.layers, noise)
        parts[spec.name] = {}
        for layer, each in zip(spec.layers, maps, strict=True):
            parts[spec.name][layer or "output"] = slice(start, start + each.shape[1])
            start += each.shape[1]
    assert start == store.spec.channels
    return parts


def subsets(parts: dict[str, Parts]) -> Iterator[tuple[str, list[slice]]]:
    """For each network its last feature map, then one more at a time; then the same for all networks together."""
    depths = max(len(layers) for layers in parts.values())
    combined = {"all networks": parts} if len(parts) > 1 else {}
    for name, selected in {**{name: {name: layers} for name, layers in parts.items()}, **combined}.items():
        for depth in range(1, depths + 1):
            slices = [s for layers in selected.values() for s in list(layers.values())[:depth]]
            yield f"{name}, {depth} maps", slices


def standardised(train: Tensor, dev: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D) with mean 0 and a norm of about 1."""
    train, dev = train.flatten(1), dev.flatten(1)
    deviation, mean = torch.std_mean(train, dim=0)
    scale = 1 / ((deviation + 1e-5) * train.shape[1] ** 0.5)
    return (train - mean) * scale, (dev - mean) * scale


def probe(train: Tensor, targets: Tensor, dev: Tensor, decay: float) -> Tensor:
    """The logits (N, W) on dev."""
    weights = torch.zeros(train.shape[1], targets.shape[1], requires_grad=True)
    biases = torch.full((targets.shape[1],), -3.0, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, biases], max_iter=60, history_size=8)

    def step() -> float:
        optimizer.zero_grad()
        total = binary_cross_entropy_with_logits(train @ weights + biases, targets)
        total = total + decay / targets.shape[1] * weights.square().sum()
        total.backward()
        return float(total.detach())

    optimizer.step(step)
    return (dev @ weights + biases).detach()


def loss(logits: Tensor, targets: Tensor) -> float:
    return float(binary_cross_entropy_with_logits(logits, targets))


def average_precision(logits: Tensor, relevant: Tensor) -> Tensor:
    """(W,): the average precision of each word; NaN if no image is relevant."""
    ranked = relevant.gather(0, logits.argsort(0, descending=True)).double()
    precision = ranked.cumsum(0) / torch.arange(1, len(ranked) + 1).unsqueeze(1)
    return (precision * ranked).sum(0) / ranked.sum(0)


if __name__ == "__main__":
    main()
