"""Images as a source of pixels or features, for an encoder that is being fine-tuned and so has no stored features."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from wordgaze.vision.decoding_process import decode_safely
from wordgaze.vision.encoders import Encoder


class ImagePixels:
    """The images of a folder as the input of ``encoder``; ``read`` returns pixels (B, 3, S, S) in uint8."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self.folder, self.encoder = folder, encoder

    def read(self, images: Sequence[str]) -> Tensor:
        """Pixels (B, 3, S, S) of these images, in their order. Raises ImageError for one that cannot be read."""
        return torch.cat([self.encoder.pixels([decode_safely(self.folder / image)]) for image in images])


class ImageFeatures(ImagePixels):
    """The features of the images of a folder, computed on demand; ``read`` returns (B, L, D)."""

    batch = 8  # images per batch: more do not fit the cache of a CPU

    @torch.inference_mode()
    def read(self, images: Sequence[str]) -> Tensor:
        """Features (B, L, D) of these images, in their order. Raises ImageError for one that cannot be read."""
        device = next(self.encoder.parameters()).device
        starts = range(0, len(images), self.batch)
        return torch.cat(
            [self.encoder(super(ImageFeatures, self).read(images[i : i + self.batch]).to(device)) for i in starts]
        )
