"""The explanation of a caption: the attention of each word, its probability, and the most probable alternatives."""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from wordgaze.generation.outputs import Caption
from wordgaze.inference.attention_maps import attention_sheet, comparison_sheet
from wordgaze.inference.film import save_gif
from wordgaze.text.vocabulary import END, PAD, START, UNK, Vocabulary

ENDED = "(end)"
"""How the end of a caption is shown among the words that could come next."""
ALTERNATIVES = 5  # the number of words that are listed for each step


@dataclass(frozen=True)
class ModelVersion:
    """The name under which a captioner was loaded, and its version in the registry or the checksum of its weights."""

    name: str
    version: str

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class WordProbability:
    """A word and its probability given the image and the words before it."""

    text: str
    probability: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where the captioner attends for each word of a caption, and which other words it considers.

    Made by :meth:`wordgaze.Captioner.explain`. ``image`` is the RGB image and ``caption`` the explained caption of T
    words. ``likeliest`` holds the most probable words of each of T + 1 steps, best first; the last step is what follows
    the last word. ``end_probability`` is the probability that the caption ends there. ``occlusion`` (T, rows, columns),
    if it was asked for, is by how much the log-probability of each word falls when that part of the image is covered,
    in nats; negative where covering makes the word more probable.
    """

    image: Image.Image
    caption: Caption
    likeliest: tuple[tuple[WordProbability, ...], ...]
    end_probability: float
    model: ModelVersion | None = None
    occlusion: npt.NDArray[np.float32] | None = None

    @property
    def attention(self) -> npt.NDArray[np.float32]:
        """(T, rows, columns): the attention of each word over the grid; at most 1 in sum per word."""
        return self.caption.attention

    @property
    def words(self) -> tuple[WordProbability, ...]:
        """Each word of the caption with its probability."""
        return word_probabilities(self.caption)

    @property
    def elsewhere(self) -> tuple[float, ...]:
        """The share of each word's attention that lies outside the grid: on the sentinel, or cut off by local
        attention."""
        return tuple(max(0.0, 1 - float(attention.sum())) for attention in self.attention)

    def draw(self) -> Image.Image:
        """The image, then one panel per word that is lit by the attention, with the word's probability beneath.

        With ``occlusion`` a second row is lit where covering the image makes the word less probable.
        """
        if self.occlusion is None:
            return attention_sheet(self.image, self.caption)
        falls = np.maximum(self.occlusion, 0)
        covered = replace(self.caption, attention=falls / np.maximum(falls.sum(axis=(1, 2), keepdims=True), 1e-12))
        return comparison_sheet(self.image, [("attention", self.caption), ("occlusion", covered)])

    def save_gif(self, path: str | Path) -> None:
        """Writes the caption as an animation, one frame per word. Raises OSError when the file cannot be written."""
        save_gif(Path(path), self.image, self.caption)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON values.

        ``weights`` is a list of rows per word, rounded to six digits, and so is ``occlusion`` where it was asked for;
        ``size`` is the image's (width, height); ``log_prob`` is natural; ``confidence``, ``is_outlier`` and ``naming``
        are there where they are known.
        """
        known = self.caption.confidence is not None or self.caption.is_outlier
        judged = {"confidence": self.caption.confidence, "is_outlier": self.caption.is_outlier} if known else {}
        return {
            **judged,
            **({"naming": self.caption.naming} if self.caption.naming else {}),
            "model": self.model and self.model.to_dict(),
            "caption": self.caption.text,
            "probability": math.exp(self.caption.log_prob),
            "log_prob": self.caption.log_prob,
            "grid": list(self.caption.grid),
            "size": list(self.image.size),
            "words": self._words_to_dict(),
            "end": {"probability": self.end_probability, "likeliest": [asdict(w) for w in self.likeliest[-1]]},
        }

    def _words_to_dict(self) -> list[dict[str, Any]]:
        weights = self.attention.astype(float).round(6).tolist()
        steps = zip(self.words, self.elsewhere, weights, self.likeliest[:-1], strict=True)
        of_words = [
            {**asdict(word), "elsewhere": elsewhere, "weights": grid, "likeliest": [asdict(w) for w in likeliest]}
            for word, elsewhere, grid, likeliest in steps
        ]
        if self.occlusion is not None:
            for word, falls in zip(of_words, self.occlusion.astype(float).round(6).tolist(), strict=True):
                word["occlusion"] = falls
        return of_words


def word_probabilities(caption: Caption) -> tuple[WordProbability, ...]:
    """Each word of a caption with its probability."""
    pairs = zip(caption.words, caption.word_log_probs, strict=True)
    return tuple(WordProbability(word, math.exp(log_prob)) for word, log_prob in pairs)


def likeliest_words(log_probs: Tensor, vocabulary: Vocabulary) -> tuple[tuple[WordProbability, ...], ...]:
    """The most probable words of each row of log_probs (T, V), best first, without the special ones except the end; of
    a vocabulary of pieces of words, the text of the most probable pieces."""
    log_probs = log_probs.index_fill(1, torch.tensor([PAD, START, UNK]), -torch.inf)
    best = log_probs.topk(min(ALTERNATIVES, len(vocabulary) - 3), dim=1)
    return tuple(
        tuple(WordProbability(_shown(i, vocabulary), math.exp(value)) for i, value in zip(row, values, strict=True))
        for row, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )


def _shown(token_id: int, vocabulary: Vocabulary) -> str:
    """How a token is shown: without the mark of a blank."""
    token = vocabulary.words[token_id]
    return ENDED if token_id == END else vocabulary.tokenizer.join([token]) or token
