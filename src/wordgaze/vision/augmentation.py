"""Random crops and mirror images, so that an encoder that is trained on few images does not learn them by heart."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

_MAX_RATIO = 1.2  # of the width of a crop to its height, before both are resized to the square input of an encoder


@dataclass(frozen=True)
class Augmentation:
    """Crops a part of each image and resizes it to the size of the image, as in the training of classifiers (Szegedy et
    al. 2015), and mirrors half of the images.

    ``min_crop`` is the least fraction of the area that a crop has. What is above 1/2 keeps most of what the captions
    speak of.
    """

    min_crop: float = 0.7
    horizontal_flip: bool = True

    def __call__(self, pixels: Tensor, first: int, images: int) -> Tensor:
        """Pixels (B, 3, S, S) between 0 and 255 in fp32 for pixels in uint8.

        They are those of the images ``first`` to ``first + B`` of a batch of ``images``: the numbers are drawn for the
        whole batch, so that ranks that divide a batch change each image as one rank would.
        """
        area, shape, x, y, side = torch.rand(5, images)[:, first : first + len(pixels)]
        area = self.min_crop + (1 - self.min_crop) * area
        ratio = torch.exp((2 * shape - 1) * (-area.log()).clamp(max=math.log(_MAX_RATIO)))  # no side is longer than 1
        width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
        mirrored = torch.where(side < 0.5, -1.0, 1.0) if self.horizontal_flip else torch.ones_like(side)
        none = torch.zeros_like(area)
        rows = [
            torch.stack([width * mirrored, none, (2 * x - 1) * (1 - width)], 1),
            torch.stack([none, height, (2 * y - 1) * (1 - height)], 1),
        ]
        places = affine_grid(torch.stack(rows, 1).to(pixels.device), list(pixels.shape), align_corners=False)
        changed = grid_sample(pixels.float(), places, "bicubic", "reflection", align_corners=False)
        return changed.clamp(0, 255)
