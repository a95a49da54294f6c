"""How good are the names of the classifiers, and the constants of ``wordgaze.vision.tagger``.

    python benchmarks/tagging.py --data imagenet_names.zip [--root .]

``--data`` as in naming.py; half a is for fitting, half b for reporting. ``--root`` is a project in which stage
``features`` has run; its encoder is used. Printed are the accuracy of each network and of all together, with images
resized to a square as the encoder does, cropped, or padded; the temperature; coverage and precision of the word that
``choose_tag`` chooses, by threshold; and, from the captions of the project's training images, the coefficients of the
salience, its effect on dev, and the words that people rarely say although the classifiers see the thing.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).parent))

from naming import Photograph, contains, load

from wordgaze.data.prepared import Prepared
from wordgaze.vision.class_words import imagenet_words
from wordgaze.vision.encoders import Encoder, encoder_from_spec
from wordgaze.vision.feature_store import FeatureStore
from wordgaze.vision.tagger import Tag, Tagger, choose_tag, salience_features

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CANDIDATE = 0.4  # the least probability of a word whose salience is estimated
MIN_SEEN = 10  # images of a word that is listed
Names = Callable[[Tag], bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--root", type=Path, default=Path())
    args = parser.parse_args()
    missing = [str(path) for path in (args.data, args.root / "data/features/manifest.json") if not path.exists()]
    if missing:
        print(f"skipped: {', '.join(missing)} is not there")
        return
    store = FeatureStore(args.root / "data/features")
    tagger = Tagger.from_networks(store.spec)
    if tagger is None:
        print(f"skipped: no network of {store.spec.name} has a linear classifier for ImageNet")
        return
    encoder = encoder_from_spec(store.spec, store.encoder_state())
    halves = {half: load(args.data, half) for half in "ab"}
    means = accuracy(encoder, tagger, halves)
    chosen = {half: [choose_tag(row, threshold=CANDIDATE) for row in tagger.from_means(means[half])] for half in "ab"}
    thresholds(tagger, means["b"], halves["b"])
    salient(tagger, store, Prepared.load(args.root / "data/prepared"), means, halves, chosen)


def squeezed(image: Image.Image) -> Image.Image:
    return image


def cropped(image: Image.Image) -> Image.Image:
    return ImageOps.fit(image, (min(image.size),) * 2)


def padded(image: Image.Image) -> Image.Image:
    return ImageOps.pad(image, (max(image.size),) * 2, color=(128, 128, 128))


@torch.inference_mode()
def encode(encoder: Encoder, images: Sequence[Image.Image]) -> Tensor:
    """The features of images, averaged over the grid: (N, D)."""
    batches = [images[i : i + 20] for i in range(0, len(images), 20)]
    return torch.cat([encoder(encoder.pixels(batch)).float().mean(1) for batch in batches])


def accuracy(encoder: Encoder, tagger: Tagger, halves: dict[str, list[Photograph]]) -> dict[str, Tensor]:
    """Prints top-1 accuracies and the temperature; returns the mean features of both halves, resized to a square."""
    found: dict[str, Tensor] = {}
    classes = {half: torch.tensor([p.index for p in of_half]) for half, of_half in halves.items()}
    networks = [*((head,) for head in tagger.heads), tagger.heads]
    for change in (cropped, padded, squeezed):
        found = {half: encode(encoder, [change(p.image) for p in ps]) for half, ps in halves.items()}
        means, truth = torch.cat(list(found.values())), torch.cat(list(classes.values()))
        parts = [Tagger(heads, tagger.channels).from_means(means).argmax(1) == truth for heads in networks]
        print(
            f"{change.__name__:9} top-1 of each network and of all: "
            + " ".join(f"{p.float().mean():.3f}" for p in parts)
        )
    log = Tagger(tagger.heads, tagger.channels, 1.0).from_means(found["a"]).clamp(min=1e-30).log()
    losses = {i / 20: float(cross_entropy(log / (i / 20), classes["a"])) for i in range(4, 41)}
    print(f"temperature with the least cross entropy on half a: {min(losses, key=losses.__getitem__)}")
    return found


def right(tag: Tag, photograph: Photograph) -> bool:
    """Whether a word is one of the names of the class."""
    return contains(tag.word, photograph.names) or contains(tag.plural, photograph.names)


def thresholds(tagger: Tagger, means: Tensor, photographs: Sequence[Photograph]) -> None:
    probabilities = tagger.from_means(means)
    for threshold in THRESHOLDS:
        tags = [choose_tag(row, threshold=threshold) for row in probabilities]
        given = [right(tag, p) for tag, p in zip(tags, photographs, strict=True) if tag]
        print(f"threshold {threshold}: coverage {len(given) / len(tags):.3f}, precision {sum(given) / len(given):.3f}")


def salient(
    tagger: Tagger,
    store: FeatureStore,
    prepared: Prepared,
    means: dict[str, Tensor],
    halves: dict[str, list[Photograph]],
    chosen: dict[str, list[Tag | None]],
) -> None:
    """Fits the salience to the training images and half a; prints it, and its effect on dev and half b."""
    x: dict[str, Tensor] = {}
    y: dict[str, Tensor] = {}
    for half in "ab":
        pairs = list(zip(tagger.from_means(means[half]), chosen[half], halves[half], strict=True))
        x[half], y[half] = examples([(row, tag, right(tag, p)) for row, tag, p in pairs if tag])
    seen: Counter[str] = Counter()
    said: Counter[str] = Counter()
    sizes = {}
    for split in ("train", "dev"):
        images, references = prepared.references(split)
        rows = tagger.from_means(
            torch.cat([store.read(images[i : i + 100]).float().mean(1) for i in range(0, len(images), 100)])
        )
        tags = [
            (row, choose_tag(row, threshold=CANDIDATE), captions)
            for row, captions in zip(rows, references, strict=True)
        ]
        judged = [(row, tag, mentioned(tag, captions)) for row, tag, captions in tags if tag]
        x[split], y[split] = examples(judged)
        sizes[split] = len(images)
        if split == "train":
            seen.update(" ".join(tag.word) for _, tag, _ in judged)
            said.update(" ".join(tag.word) for _, tag, is_said in judged if is_said)
    weights = fit(x["train"], y["train"], x["a"], y["a"])
    print("salience:", [round(value, 2) for value in weights.tolist()])
    for threshold in THRESHOLDS:
        dev, b = (((x[name] @ weights).sigmoid() >= threshold) for name in ("dev", "b"))
        wrong, named = float((1 - y["dev"])[dev].sum()) / sizes["dev"], float(y["b"][b].sum()) / len(halves["b"])
        print(f"salience {threshold}: {wrong:.3f} of dev get an unsaid word, {named:.3f} of half b a right one")
    unsaid = sorted(word for word, count in seen.items() if count >= MIN_SEEN and said[word] < 0.1 * count)
    print(f"in fewer than a tenth of the captions of at least {MIN_SEEN} training images: {', '.join(unsaid)}")


def examples(judged: Sequence[tuple[Tensor, Tag, bool]]) -> tuple[Tensor, Tensor]:
    """The features of the salience, and whether the word was right."""
    x = torch.tensor([salience_features(row, tag.probability) for row, tag, _ in judged])
    return x, torch.tensor([float(is_right) for _, _, is_right in judged])


def mentioned(tag: Tag, captions: Sequence[Sequence[str]]) -> bool:
    """Whether a caption has the word, a more specific or a more general one."""
    words = imagenet_words()
    general = {name for chain in words.chains if tag.word in chain for name in chain[chain.index(tag.word) :]}
    names = tag.accepted.union(general, map(words.plural, general))
    return any(contains(tuple(caption), names) for caption in captions)


def fit(x: Tensor, y: Tensor, more_x: Tensor, more_y: Tensor) -> Tensor:
    """Logistic regression on two sets of examples with the same weight; the last column of x is 1."""
    inputs, targets = torch.cat([x, more_x]), torch.cat([y, more_y])
    weight = torch.cat([torch.ones(len(x)), torch.full((len(more_x),), len(x) / len(more_x))])
    scale = inputs.std(0) + (inputs.std(0) == 0)
    solution = torch.zeros(x.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([solution], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = (
            binary_cross_entropy_with_logits(inputs / scale @ solution, targets, weight)
            + 1e-4 * solution.square().sum()
        )
        loss.backward()
        return loss

    optimiser.step(closure)
    return (solution / scale).detach()


if __name__ == "__main__":
    main()
