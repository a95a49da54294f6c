"""What a word depends on in the image, measured by covering parts of it, and how faithful attention is to that.

Attention shows which features were weighted; covering shows what the word's probability depends on. A covered part has
the mean colour of the image. Covering is done on the pixels and not on the features, because a feature of a
convolutional network has seen much more of the image than its own cell.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wordgaze.generation.generate import encode_words
from wordgaze.text.vocabulary import END

if TYPE_CHECKING:
    from wordgaze.inference.captioner import Captioner

Maps = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
"""(rows, columns) of the grid: True where the image is covered."""

COVERED_SHARE = 0.25  # of the side of the image: the side of the square that is moved over it
SHARES = (0.05, 0.1, 0.2, 0.35, 0.6)
"""The shares of the cells that are covered, or uncovered, at the points of a curve, besides none and all."""
_BATCH = 32  # covered images that are encoded at once


class CoveredImage:
    """An image of which cells can be covered, and the caption of T words whose probability is measured."""

    def __init__(self, captioner: "Captioner", pixels: Tensor, tokens: Sequence[str]) -> None:
        """``pixels`` (1, 3, S, S) are the result of ``encoder.pixels``; there is at least one token.

        Raises ModelError for a token that is not in the vocabulary.
        """
        self.captioner, self.pixels = captioner, pixels
        self.grid = captioner.encoder.spec.grid
        self._tokens = torch.tensor([[[*encode_words(captioner.vocabulary, tokens), END]]], device=captioner.device)
        self._stops = list(accumulate(span.num_tokens for span in captioner.vocabulary.tokenizer.spans(tokens)))
        mean = pixels.float().mean(dim=(2, 3), keepdim=True).round()
        self._colour = mean.to(pixels.dtype)  # (1, 3, 1, 1)

    @cached_property
    def ends(self) -> Maps:
        """(2, T): the log-probabilities with nothing covered, and with all of the image."""
        return self.log_probs([np.zeros(self.grid, bool), np.ones(self.grid, bool)])

    def log_probs(self, masks: Iterable[Mask]) -> Maps:
        """(N, T): the log-probability of each word, given those before it, with the cells of each mask covered.

        There are N masks.
        """
        parts = [self._log_probs(np.stack(batch)) for batch in _batches(masks)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self._stops)), np.float32)

    def _log_probs(self, masks: Mask) -> Maps:
        size = self.pixels.shape[2]
        lines = [np.arange(size) * cells // size for cells in self.grid]  # the row and the column of each pixel
        covered = torch.from_numpy(masks[:, lines[0]][:, :, lines[1]]).unsqueeze(1)  # (N, 1, S, S)
        features = self.captioner.encode(torch.where(covered, self._colour, self.pixels))
        tokens = self._tokens.expand(len(masks), -1, -1)
        with torch.inference_mode():
            output = self.captioner.decoder(features, tokens)
            found = torch.log_softmax(output.logits.float(), 1).gather(1, output.targets.unsqueeze(1)).squeeze(1)
            log_probs = torch.zeros(tokens.numel()).index_put((output.positions.cpu(),), found.cpu())
        starts = [0, *self._stops[:-1]]  # of the tokens of each word; behind the last word comes the end
        of_tokens = log_probs.reshape(len(masks), -1)[:, :-1].numpy()
        of_words: Maps = np.add.reduceat(of_tokens, starts, axis=1).astype(np.float32)
        return of_words


def occlusion_maps(image: CoveredImage) -> Maps:
    """(T, rows, columns): by how much the log-probability of each word falls when a cell and cells beside it are
    covered, in nats; negative where covering makes the word more probable.

    A square of a quarter of the image's side is moved over the image a cell at a time (Zeiler and Fergus 2014, section
    4.2), also across its edges; a cell has the mean of all squares that cover it.
    """
    rows, columns = image.grid
    side = (max(1, round(rows * COVERED_SHARE)), max(1, round(columns * COVERED_SHARE)))
    masks = [_square(image.grid, r, c, side) for r in range(1 - side[0], rows) for c in range(1 - side[1], columns)]
    falls = image.ends[:1] - image.log_probs(masks)  # (N, T)
    covered = np.stack(masks).astype(np.float32)  # (N, rows, columns)
    means: Maps = np.einsum("nt,nrc->trc", falls, covered) / covered.sum(axis=0)
    return means


class Curves(NamedTuple):
    """The areas under the deletion and the insertion curve of W words (Petsiuk et al. 2018, section 3.2).

    ``deletion`` (W,) is the mean probability of a word while the cells are covered, those of the greatest weight first:
    the lower, the more the word depends on these cells. ``insertion`` (W,) is its mean probability while they are
    uncovered in the same order: the higher, the more they suffice.
    """

    deletion: Maps
    insertion: Maps


def deletion_insertion(image: CoveredImage, weights: Maps, words: Sequence[int]) -> Curves:
    """The curves of ``weights`` (T, rows, columns) for the words of these indices.

    Cells of equal weight are taken in reading order.
    """
    order = np.argsort(-weights.reshape(len(weights), -1), axis=1, kind="stable")  # (T, L), the greatest first
    rank = np.argsort(order, axis=1, kind="stable").reshape(weights.shape)  # (T, rows, columns)
    limits = [round(share * rank[0].size) for share in SHARES]
    masks = [rank[word] < limit for word in words for limit in limits]
    deleted, inserted = (_probabilities(image, of, words) for of in (masks, [~mask for mask in masks]))
    whole, covered = np.exp(image.ends[:, words])[:, :, None]  # (W, 1) each
    shares = [0.0, *SHARES, 1.0]
    deletion = np.trapezoid(np.hstack([whole, deleted, covered]), shares, axis=1)
    insertion = np.trapezoid(np.hstack([covered, inserted, whole]), shares, axis=1)
    return Curves(deletion.astype(np.float32), insertion.astype(np.float32))


def _probabilities(image: CoveredImage, masks: Sequence[Mask], words: Sequence[int]) -> Maps:
    """(W, shares): the probability of each word with its own masks."""
    log_probs = image.log_probs(masks).reshape(len(words), len(SHARES), -1)
    return np.exp(log_probs[np.arange(len(words)), :, words])


def _square(grid: tuple[int, int], row: int, column: int, side: tuple[int, int]) -> Mask:
    """The mask of a rectangle whose first corner may lie outside the grid."""
    mask = np.zeros(grid, dtype=bool)
    mask[max(0, row) : row + side[0], max(0, column) : column + side[1]] = True
    return mask


def _batches(masks: Iterable[Mask]) -> Iterator[list[Mask]]:
    batch: list[Mask] = []
    for mask in masks:
        batch.append(mask)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
