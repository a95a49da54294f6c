"""Which words of a batch of captions are computed at which step of teacher forcing.

Captions have different lengths. The fast path sorts the captions of each image by length and computes the real words
alone: the rows of a step are the captions that have a word there, and a caption that has ended leaves the batch. The
plain twin keeps the captions in the given order, computes all rows at every step, and drops the padding afterwards.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from wordgaze.models.attention import RowIndex
from wordgaze.models.kernels import use_fast
from wordgaze.models.kernels.dropout import BatchRows
from wordgaze.text.vocabulary import PAD, START


class StepRows(NamedTuple):
    """The rows of one step.

    ``keep`` (N,) selects them from the rows of the step before, None for all; ``row_index`` assigns them to the
    images, None where every image has the same number of rows."""

    keep: Tensor | None
    row_index: RowIndex | None


class BatchPart(NamedTuple):
    """The place of a part in the batch that processes divide among them: ``first``, the index of its first image, and
    the ``captions`` (B, R, T) of the whole batch."""

    first: int
    captions: Tensor


class PartRows(NamedTuple):
    """The rows of a part in its whole batch: its ``images``, the ``inputs`` and the ``words`` of its :class:`Packing`.
    None for a batch that is whole."""

    images: BatchRows | None = None
    inputs: BatchRows | None = None
    words: BatchRows | None = None


class Packing(NamedTuple):
    """A batch of captions (B, R, T) as the M rows that are computed, ordered by step, then image, then caption.

    ``order`` (B, R): the caption ``order[b, r]`` of image b is computed as its r-th; ``inputs`` (M,): the words that
    are read; ``counts``: the number of rows of each step, ``steps`` what else is to be known of them; ``rows`` assigns
    the rows of all steps to the images; ``real`` (N,): the rows that are real words, None for all; of the real words
    alone ``targets`` (N,), the words to be predicted, and ``positions`` (N,), (b · R + r) · T + t, where T is the
    length of the longest caption."""

    order: Tensor
    inputs: Tensor
    counts: list[int]
    steps: list[StepRows]
    rows: RowIndex
    real: Tensor | None
    targets: Tensor
    positions: Tensor

    def words_only(self, rows: Tensor) -> Tensor:
        """rows (M, …) → those of the real words (N, …)."""
        return rows if self.real is None else rows[self.real]

    def unpack(self, words: Tensor) -> Tensor:
        """words (N, …) → (B · R, T, …), zeros after the end of a caption."""
        captions, length = self.order.numel(), len(self.counts)
        flat = words.new_zeros(captions * length, *words.shape[1:]).index_copy(0, self.positions, words)
        return flat.view(captions, length, *words.shape[1:])


def pack_captions(captions: Tensor) -> Packing:
    """captions (B, R, T), padded behind END with PAD."""
    return _packed(captions) if use_fast(captions.device) else _padded(captions)


def part_rows(part: BatchPart, captions: Tensor) -> PartRows:
    """Where the rows of :func:`pack_captions` for ``captions`` (B', R, T), those of the part, are among the rows for
    the whole batch: those of images are in the same order."""
    whole, first, end = part.captions, part.first, part.first + len(captions)
    lengths = (whole != PAD).sum(2)  # (B, R)
    images = BatchRows(torch.arange(first, end, device=whole.device), len(whole))
    is_fast = use_fast(whole.device)
    lengths = lengths.sort(dim=1, descending=True).values if is_fast else lengths
    steps = torch.arange(int(lengths.max()), device=whole.device)[:, None, None]
    image = (steps < lengths).nonzero()[:, 1]  # of each word, ordered by step, image, caption
    words = BatchRows(((image >= first) & (image < end)).nonzero().squeeze(1), len(image))
    if is_fast:
        return PartRows(images, words, words)
    rows = torch.arange(len(steps) * lengths.numel(), device=whole.device).view(len(steps), *lengths.shape)
    own_length = int(lengths[first:end].max())
    return PartRows(images, BatchRows(rows[:own_length, first:end].flatten(), rows.numel()), words)


def _packed(captions: Tensor) -> Packing:
    batch_size, num_captions, _ = captions.shape
    order = (captions != PAD).sum(2).argsort(dim=1, descending=True, stable=True)
    captions = captions.gather(1, order.unsqueeze(2).expand_as(captions))
    real = (captions != PAD).permute(2, 0, 1)  # (T, B, R)
    step, image, rank = real.nonzero().unbind(1)
    counts = [count for count in real.sum((1, 2)).tolist() if count]
    widths = real.any(1).sum(1).tolist()  # the largest number of captions that an image still has at step t
    caption = image * num_captions + rank
    previous = torch.arange(batch_size * num_captions, device=captions.device)
    steps = []
    by_step = (torch.split(part, counts) for part in (image, rank, caption))
    for images, ranks, rows, width in zip(*by_step, widths[: len(counts)], strict=True):
        keep = torch.searchsorted(previous, rows) if len(rows) < len(previous) else None
        row_index = RowIndex(images * width + ranks, width) if len(rows) < batch_size * width else None
        steps.append(StepRows(keep, row_index))
        previous = rows
    inputs, targets = _shifted(captions)[image, rank, step], captions[image, rank, step]
    rows_of_all = _row_index(image, batch_size)
    return Packing(order, inputs, counts, steps, rows_of_all, None, targets, caption * len(counts) + step)


def _padded(captions: Tensor) -> Packing:
    batch_size, num_captions, _ = captions.shape
    length = int((captions != PAD).sum(2).max())
    captions = captions[:, :, :length].permute(2, 0, 1).flatten(1)  # (T, B·R)
    step, caption = (captions != PAD).nonzero().unbind(1)
    rows = captions.shape[1]
    order = torch.arange(num_captions, device=captions.device).expand(batch_size, -1)
    inputs = _shifted(captions.T).T.flatten()
    steps = [StepRows(None, None)] * length
    image = torch.arange(batch_size, device=captions.device).repeat_interleave(num_captions).repeat(length)
    row_index, real = _row_index(image, batch_size), step * rows + caption
    return Packing(
        order, inputs, [rows] * length, steps, row_index, real, captions.flatten()[real], caption * length + step
    )


def _row_index(image: Tensor, batch_size: int) -> RowIndex:
    """image (M,), of each row → the index that assigns the rows to the images."""
    counts, order = torch.bincount(image, minlength=batch_size), image.argsort(stable=True)
    rank = torch.arange(len(image), device=image.device) - (counts.cumsum(0) - counts)[image[order]]
    width = int(counts.max())
    return RowIndex((image * width).index_add(0, order, rank), width)


def _shifted(captions: Tensor) -> Tensor:
    """captions (…, T) → the words that are read before them: START first, the last one left out."""
    return pad(captions[..., :-1], (1, 0), value=START)
