"""Attention that is taught where to look: words that name an object are to attend inside its boxes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wordgaze.data.object_boxes import NounBox
from wordgaze.metrics.grounding import cells_covered
from wordgaze.models.decoder import DecoderOutput
from wordgaze.text.objects import Lexicon, lexicon_of
from wordgaze.text.vocabulary import END, PAD, Vocabulary
from wordgaze.training.batches import Batch

MIN_SHARE = 1e-6  # is added to the attention inside the boxes, whose logarithm is taken


class Target(NamedTuple):
    """A word that names an object with boxes: its image, caption and step in a batch (B, R, T), and (L,) the share of
    each cell that lies in the boxes, relative to the cell with the greatest share."""

    image: int
    caption: int
    step: int
    cover: Tensor


class AttentionSupervision:
    """The term −log Σ_i α_ti c_i for each word t that names an object, c_i the share of cell i inside its boxes.

    Liu et al. 2017 ("Attention Correctness in Neural Image Captioning") take the cross entropy with a distribution over
    the region, which asks for all of it; here attention to any part of the object is right.
    """

    def __init__(
        self, vocabulary: Vocabulary, boxes: Mapping[str, Sequence[NounBox]], grid: tuple[int, int], weight: float
    ) -> None:
        """``boxes`` are those of each image, ``grid`` are the encoder's rows and columns."""
        self.words, self.boxes, self.grid, self.weight = vocabulary.words, boxes, grid, weight
        self.lexicon: Lexicon = lexicon_of(box.noun for of_image in boxes.values() for box in of_image)

    def targets(self, batch: Batch) -> Iterator[Target]:
        """The words of a batch whose object has boxes in their image."""
        for b, (image, captions) in enumerate(zip(batch.images, batch.captions.tolist(), strict=True)):
            covers = self._covers(image)
            for r, caption in enumerate(captions if covers else ()):
                words = [self.words[token] for token in caption if token not in (PAD, END)]
                for name, start, stop in self.lexicon.mentions(words):
                    if name in covers:
                        yield from (Target(b, r, step, covers[name]) for step in range(start, stop))

    def loss(self, output: DecoderOutput, batch: Batch) -> Tensor:
        """The scalar term of a batch, or of a part of one: a mean over all words, of which most have no object."""
        targets = list(self.targets(batch))
        if not targets:
            return output.distribution.new_zeros((), dtype=torch.float32)
        num_captions, device = output.order.shape[1], output.distribution.device
        place = output.order.argsort(1).cpu()  # (B, R): where a caption of the batch is in the output
        rows = torch.tensor([t.image * num_captions + int(place[t.image, t.caption]) for t in targets], device=device)
        steps = torch.tensor([t.step for t in targets], device=device)
        cover = torch.stack([t.cover for t in targets]).to(device)  # (M, L)
        inside = (output.distribution[rows, steps].float() * cover).sum(1)  # (M,)
        shares = batch.shares()
        return -self.weight * (inside + MIN_SHARE).log().sum() / len(output.targets) * shares.words

    def _covers(self, image: str) -> dict[str, Tensor]:
        """(L,) of each noun with boxes in an image."""
        boxes: dict[str, list[tuple[float, ...]]] = {}
        for noun, *corners in self.boxes.get(image, ()):
            boxes.setdefault(noun, []).append(tuple(corners))
        covers = {noun: cells_covered(np.array(corners), (1, 1), self.grid) for noun, corners in boxes.items()}
        # A box that is smaller than a cell is as good a place to attend to as a large one.
        return {noun: torch.from_numpy(cover / cover.max()).float() for noun, cover in covers.items() if cover.any()}
