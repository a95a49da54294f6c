"""Pictures as sources of features, where these are not stored: because the encoder is trained along, or was."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from wordgaze.vision.encoders import Encoder
from wordgaze.vision.images import load_image


class ImagePixels:
    """The pictures of a folder as ``encoder`` takes them; ``read`` gives (B, 3, S, S) in uint8."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self.folder, self.encoder = folder, encoder

    def read(self, images: Sequence[str]) -> Tensor:
        """These pictures, in their order. Raises ImageError for one that cannot be read."""
        return self.encoder.pixels([load_image(self.folder / image) for image in images])


class ImageFeatures(ImagePixels):
    """The features of the pictures of a folder, computed when they are asked for; ``read`` gives (B, L, D)."""

    batch = 8  # pictures at once: more do not stay in the cache of a CPU

    @torch.inference_mode()
    def read(self, images: Sequence[str]) -> Tensor:
        """The features of these pictures, in their order. Raises ImageError for one that cannot be read."""
        device = next(self.encoder.parameters()).device
        starts = range(0, len(images), self.batch)
        return torch.cat(
            [self.encoder(super(ImageFeatures, self).read(images[i : i + self.batch]).to(device)) for i in starts]
        )
