"""Names what an image shows with the classifiers of the pretrained networks.

An encoder uses its networks without their classifiers. Where the classifier is a linear layer after the mean over the
grid (EfficientNet, ResNet, MobileNet), it can be applied to the stored features, so the class probabilities cost
nothing. A captioner may use them to name things that its training captions lack (constrained beam search, Anderson et
al. 2017, "Guided Open Vocabulary Image Captioning with Constrained Beam Search").
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wordgaze.core.errors import ModelError
from wordgaze.core.stored_tensors import checked_tensors
from wordgaze.vision.class_words import Phrase, imagenet_words
from wordgaze.vision.efficientnet_lite import NUM_CLASSES
from wordgaze.vision.encoders import EncoderSpec, NetworkSpec
from wordgaze.vision.networks import build_network, feature_maps, nearly_equal, truncate

TEMPERATURE = 0.5
"""Minimises the cross entropy of the joint probabilities of EfficientNet-Lite2 and -Lite0: the product of two networks
that agree would otherwise be too unsure. ``benchmarks/tagging.py`` measures it, and the constants below."""
THRESHOLD = 0.5
_SALIENCE = (0.62, 0.1, -2.53, 0.6, 1.94)
_ROUNDING = 1e-4  # keeps the log-odds of a probability finite
ABSENT_GROUPS = ("animal", "vehicle")
ABSENT = 0.01
"""Below this probability an image shows nothing of a group: of 239 captions of Flickr8k's dev split that have an animal
where the references have one, 2 are below it, and all 46 of photographs of other things are."""

_MAX_CLASSES = 3  # classes named in an explanation


@dataclass(frozen=True)
class Tag:
    """A word that names what an image shows.

    ``word`` and ``plural`` are tokens. ``article`` is ``a`` or ``an``, or empty for a word without singular or plural.
    ``probability`` is the sum over the classes that the word names; ``classes`` are the most probable of them, each
    with the most specific word and the probability. ``salience`` estimates the probability that a person who describes
    the image names the thing: a classifier that must choose finds a ``football helmet`` in any picture of a match.
    ``accepted`` are the names that make a caption agree with the tag:
    synonyms and more specific words. ``rivals`` are names of other things of the same ``group``, which a caption
    should not give to this one.
    """

    word: Phrase
    plural: Phrase
    article: str
    probability: float
    salience: float
    classes: tuple[tuple[Phrase, float], ...]
    group: str
    accepted: frozenset[Phrase]
    rivals: frozenset[Phrase]


class Head(NamedTuple):
    """A linear classifier: ``weight`` (K, C), ``bias`` (K), for the channels from ``start`` on."""

    weight: Tensor
    bias: Tensor
    start: int

    def logits(self, means: Tensor) -> Tensor:
        """means (B, D) → (B, K)."""
        channels = means[:, self.start : self.start + self.weight.shape[1]]
        return channels @ self.weight.float().T + self.bias.float()


class Tagger:
    """The classifiers of an encoder's networks; ``temperature`` calibrates their joint probabilities."""

    def __init__(self, heads: Sequence[Head], channels: int, temperature: float = TEMPERATURE) -> None:
        self.heads, self.channels, self.temperature = tuple(heads), channels, temperature

    @classmethod
    def from_networks(
        cls, spec: EncoderSpec, weights: str = "default", temperature: float = TEMPERATURE
    ) -> "Tagger | None":
        """The classifiers of the pretrained networks of an encoder; None if none of them is linear after the mean over
        the grid. ``weights`` as in :func:`wordgaze.vision.encoders.build_encoder`; random ones classify nothing.

        Raises ModelError if the weights of a network cannot be loaded."""
        if weights == "random":
            return None
        heads, start = [], 0
        for network in spec.networks:
            if linear := _classifier(network, weights):
                heads.append(Head(linear.weight.detach(), linear.bias.detach(), start))
            start += network.channels
        return cls(heads, start, temperature) if heads else None

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor]) -> "Tagger | None":
        """From what :meth:`tensors` returned; None if ``tensors`` is empty.

        Raises KeyError if a tensor is missing, and ValueError for one that does not fit the others.
        """
        if not tensors:
            return None
        starts, channels, temperature = checked_tensors(tensors, {"starts": "N", "channels": "", "temperature": ""})
        heads = []
        for i, start in enumerate(starts.tolist()):
            shapes = {f"weight.{i}": f"{NUM_CLASSES} C", f"bias.{i}": f"{NUM_CLASSES}"}
            weight, bias = checked_tensors(tensors, shapes)
            if start < 0 or start + weight.shape[1] > int(channels):
                raise ValueError(f"weight.{i} is for other channels than the {int(channels)} of the encoder")
            heads.append(Head(weight, bias, start))
        if not heads or float(temperature) <= 0:
            raise ValueError("starts and temperature are not those of classifiers")
        return cls(heads, int(channels), float(temperature))

    def tensors(self) -> dict[str, Tensor]:
        """The tensors to be stored, the weights in fp16: 2.6 MB for each network with 1,280 channels."""
        tensors = {
            "starts": torch.tensor([head.start for head in self.heads]),
            "channels": torch.tensor(self.channels),
            "temperature": torch.tensor(self.temperature),
        }
        for i, head in enumerate(self.heads):
            tensors |= {f"weight.{i}": head.weight.half().contiguous(), f"bias.{i}": head.bias.half()}
        return tensors

    def probabilities(self, features: Tensor) -> Tensor:
        """The class probabilities (B, K) of features (B, L, D): the normalised geometric mean over the networks.

        Raises ModelError if the features have another number of channels.
        """
        if features.shape[2] != self.channels:
            raise ModelError(
                f"features of {features.shape[2]} channels do not fit classifiers for {self.channels};"
                " use the encoder of the captioner"
            )
        return self.from_means(features.float().mean(1).cpu())

    def from_means(self, means: Tensor) -> Tensor:
        """The class probabilities (B, K) of features that have been averaged over the grid, (B, D)."""
        # The softmax of the mean log-probability is that of the mean logit.
        logits = torch.stack([head.logits(means) for head in self.heads]).mean(0)
        return (logits / self.temperature).softmax(1)


def choose_tag(
    probabilities: Tensor, known: Callable[[Phrase], bool] = lambda word: True, threshold: float = THRESHOLD
) -> Tag | None:
    """The most specific word that is ``known`` and has at least the probability ``threshold``; None if there is none.

    ``probabilities`` (K) are those of one image. A word has the probability of all classes that it names, and is the
    more specific, the fewer these are. ``known`` tells whether the captioner can say a word.
    """
    names = imagenet_words()
    of_words = probabilities @ names.membership
    sizes = names.membership.sum(0)
    candidates = [i for i in (of_words >= threshold).nonzero().flatten().tolist() if known(names.words[i])]
    if not candidates:
        return None
    best = min(candidates, key=lambda i: (float(sizes[i]), -float(of_words[i])))
    return _tag(probabilities, best, float(of_words[best]))


def absent_names(probabilities: Tensor) -> frozenset[Phrase]:
    """The names of animals if the classes of animals have less than ABSENT of the ``probabilities`` (K) together;
    likewise for vehicles."""
    names = imagenet_words()
    absent: frozenset[Phrase] = frozenset()
    for group in ABSENT_GROUPS:
        classes = [number for number, of in enumerate(names.groups) if of == group]
        if float(probabilities[classes].sum()) < ABSENT:
            absent |= names.members(group)
    return absent


def _tag(probabilities: Tensor, number: int, probability: float) -> Tag:
    names = imagenet_words()
    word = names.words[number]
    values, classes = (probabilities * names.membership[:, number]).topk(_MAX_CLASSES)
    behind = [(k, p) for k, p in zip(classes.tolist(), values.tolist(), strict=True) if p > 0]
    group = names.groups[behind[0][0]]
    return Tag(
        word=word,
        plural=names.plural(word),
        article=names.article(word),
        probability=min(probability, 1.0),  # a sum of rounded numbers
        salience=salience(probabilities, probability),
        classes=tuple((names.chains[k][0], p) for k, p in behind),
        group=group,
        accepted=names.accepted(word) | names.general(word),
        rivals=names.rivals(word, group),
    )


def salience(probabilities: Tensor, probability: float) -> float:
    """The probability that a caption names what a word of this ``probability`` means, for class probabilities (K).

    A logistic regression that was fitted to the captions of Flickr8k's training images and to the names of photographs
    of single things, each with half of the weight.
    """
    values = salience_features(probabilities, probability)
    return 1 / (1 + math.exp(-sum(w * x for w, x in zip(_SALIENCE, values, strict=True))))


def salience_features(probabilities: Tensor, probability: float) -> tuple[float, ...]:
    """What the salience depends on: the log-odds of the word; the height of the greatest log-probability of a class
    above the mean, the standard deviation and the entropy of all of them; 1."""
    log = probabilities.clamp(min=1e-30).log()
    bounded = min(max(probability, _ROUNDING), 1 - _ROUNDING)
    odds = math.log(bounded / (1 - bounded))
    return odds, float(log.max() - log.mean()), float(log.std()), -float(probabilities @ log), 1.0


def _classifier(spec: NetworkSpec, weights: str) -> nn.Linear | None:
    """The classifier of a pretrained network for ImageNet's classes, if it is a linear layer on the mean over the grid
    of the network's first layer in ``spec``; this is tried on noise, since no library states it."""
    body, meta = build_network(spec.name, weights)
    linear = [m for m in body.modules() if isinstance(m, nn.Linear) and m.out_features == NUM_CLASSES]
    if not linear:
        return None
    noise = torch.randn(2, 3, meta.image_size, meta.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = body(noise)
        truncated = truncate(copy.deepcopy(body), spec.layers)
        means = feature_maps(truncated, spec.layers, noise)[0].mean((2, 3))  # (2, C)
        fits = means.shape[1] == linear[-1].in_features and nearly_equal(linear[-1](means), expected)
    return linear[-1] if fits else None
