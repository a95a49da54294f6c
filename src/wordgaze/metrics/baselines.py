"""What a captioner is to be compared with: captions that need no understanding of the picture, and people."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn.functional import normalize

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.bleu import corpus_bleu
from wordgaze.metrics.captions import score_captions
from wordgaze.metrics.cider import DocumentFrequencies, document_frequencies, unit_vector
from wordgaze.metrics.ngrams import Gram

Tokens = Sequence[str]
Floats = npt.NDArray[np.float32]


class Store(Protocol):
    """What is asked of a feature store."""

    def read(self, images: Sequence[str]) -> Tensor:
        """Features (B, L, D) of these pictures, in their order."""
        ...


def constant_caption(train: Sequence[Tokens], references: Sequence[Sequence[Tokens]], tried: int = 50) -> list[str]:
    """The one training caption that scores best (BLEU-4) on these references if it is said of every picture.

    Tried are the commonest captions: what a captioner that never looks would end at.
    """
    common = [list(words) for words, _ in Counter(map(tuple, train)).most_common(tried)]
    return max(common, key=lambda words: corpus_bleu([words] * len(references), references)["bleu_4"])


def random_captions(train: Sequence[Tokens], count: int, seed: int) -> list[list[str]]:
    """``count`` training captions by chance, with repetition. Raises ScoreError if there is none."""
    if not train:
        raise ScoreError("there is no training caption to choose from")
    return [list(train[number]) for number in np.random.default_rng(seed).integers(len(train), size=count)]


def pooled(store: Store, images: Sequence[str], batch: int = 256) -> Floats:
    """(N, D): the mean of each picture's features over the grid, of length 1, ``batch`` pictures at a time."""
    parts = [
        normalize(store.read(images[i : i + batch]).float().mean(1), dim=1).numpy()
        for i in range(0, len(images), batch)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def nearest_captions(
    features: Floats, train_features: Floats, train_captions: Sequence[Sequence[Tokens]], k: int = 1
) -> list[list[str]]:
    """A caption for each picture from the training pictures that look most like it (Devlin et al. 2015).

    ``features`` (N, D) and ``train_features`` (M, D) are pooled, ``train_captions[j]`` are the captions of training
    picture j. With ``k`` = 1 it is the first caption of the nearest picture by cosine, else the consensus of all
    captions of the ``k`` nearest: the one that is most like the others. Raises ScoreError on a misfit.
    """
    _check(features, train_features, train_captions, k)
    nearest = _nearest(features, train_features, min(k, len(train_captions)))
    if k == 1:
        return [list(train_captions[row[0]][0]) for row in nearest.tolist()]
    frequencies = document_frequencies(train_captions)
    return [consensus([words for j in row for words in train_captions[j]], frequencies) for row in nearest.tolist()]


def consensus(candidates: Sequence[Tokens], frequencies: DocumentFrequencies) -> list[str]:
    """The caption with the highest mean similarity to the other ones; of equals the first.

    The similarity is CIDEr's as first defined (Vedantam et al. 2015, equation 2): the cosine between tf-idf vectors,
    averaged over n-grams of 1…4 words. As the vectors have length 1, the sum over the others is one product with the
    sum of all.
    """
    vectors = [unit_vector(words, frequencies) for words in candidates]
    whole: Counter[Gram] = Counter()
    for vector in vectors:
        whole.update(vector)
    alike = [sum(x * (whole[gram] - x) for gram, x in vector.items()) for vector in vectors]
    return list(candidates[int(np.argmax(np.round(alike, 9)))])  # rounded: equals differ in the last bits


def human_scores(references: Sequence[Sequence[Tokens]]) -> dict[str, float] | None:
    """Each reference in turn against the others, averaged; with one reference fewer than a captioner is scored on.

    Pictures with a single reference are left out. None if no picture has two: then people cannot be compared.
    """
    several = [of_one for of_one in references if len(of_one) > 1]
    return _left_out_in_turn(several, lambda i: [of_one[i] for of_one in several])


def fewer_references(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> dict[str, float] | None:
    """A captioner's scores with one reference left out in turn, averaged: to stand beside :func:`human_scores`.

    The same pictures, rounds and number of references as there. None if no picture has two references.
    """
    if len(candidates) != len(references):
        raise ScoreError(f"{len(candidates)} captions for {len(references)} pictures: each picture needs exactly one")
    several = [number for number, of_one in enumerate(references) if len(of_one) > 1]
    said = [candidates[number] for number in several]
    return _left_out_in_turn([references[number] for number in several], lambda _: said)


def _left_out_in_turn(
    references: Sequence[Sequence[Tokens]], said: Callable[[int], Sequence[Tokens]]
) -> dict[str, float] | None:
    """The mean over rounds i of the scores of ``said(i)`` against all references but the i-th of each picture."""
    if not references:
        return None
    rounds = min(map(len, references))
    scores = [
        score_captions(said(i), [[*of_one[:i], *of_one[i + 1 :]] for of_one in references]) for i in range(rounds)
    ]
    return {name: sum(s[name] for s in scores) / rounds for name in scores[0]}


def _check(features: Floats, train_features: Floats, train_captions: Sequence[Sequence[Tokens]], k: int) -> None:
    if k < 1:
        raise ScoreError(f"k is {k}; ask for one nearest picture or more")
    if not len(train_captions) == len(train_features) > 0 or not all(train_captions):
        raise ScoreError(
            f"{len(train_features)} training pictures with captions of {len(train_captions)}: each needs at least one"
        )
    if len(features) and features.shape[1:] != train_features.shape[1:]:
        raise ScoreError(f"features of {features.shape[1:]} and of {train_features.shape[1:]} cannot be compared")
    if not (np.isfinite(features).all() and np.isfinite(train_features).all()):
        raise ScoreError("the features hold NaN or infinity, so that nothing is near; make them anew")


def _nearest(features: Floats, train_features: Floats, k: int, batch: int = 64) -> npt.NDArray[np.int64]:
    """(N, k): the training pictures with the highest cosine, the nearest first; of equals the first."""
    train = _unit_rows(train_features)
    found = np.zeros((len(features), k), np.int64)
    for start in range(0, len(features), batch):
        alike = _unit_rows(features[start : start + batch]) @ train.T
        found[start : start + batch] = np.argsort(-alike, axis=1, kind="stable")[:, :k]
    return found


def _unit_rows(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)
