"""Random crops and mirror images: what stays in the picture, and that ranks draw what one process draws."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.vision.augmentation import Augmentation

PIXELS = torch.randint(256, (6, 3, 20, 20), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def changed(augmentation: Augmentation, first: int = 0, end: int = len(PIXELS), seed: int = 3) -> torch.Tensor:
    torch.manual_seed(seed)
    return augmentation(PIXELS[first:end], first, len(PIXELS))


def test_without_crops_and_mirror_images_nothing_changes() -> None:
    torch.testing.assert_close(changed(Augmentation(1.0, False)), PIXELS.float(), rtol=0, atol=1e-2)


def test_half_of_the_images_are_mirrored() -> None:
    numbers = [changed(Augmentation(1.0, True), seed=seed) for seed in range(20)]
    mirrored = 0
    for pixels in numbers:
        for new, old in zip(pixels, PIXELS.float(), strict=True):
            kept, turned = (torch.allclose(new, wanted, atol=1e-2) for wanted in (old, old.flip(2)))
            assert kept != turned
            mirrored += turned
    assert 40 <= mirrored <= 80  # of 120


@given(st.floats(0.05, 1.0), st.integers(0, 10**6))
def test_a_crop_is_a_part_of_the_image_with_the_wanted_area(min_crop: float, seed: int) -> None:
    """Of a picture whose value is the place of a pixel, the value of a crop is the place that it shows."""
    side = 64
    places = torch.linspace(0, 255, side).expand(1, 3, side, side)
    across, down = places.to(torch.uint8), places.transpose(2, 3).to(torch.uint8)
    shares = []
    for pixels in (across, down):
        torch.manual_seed(seed)
        crop = Augmentation(min_crop, True)(pixels, 0, 1)
        assert crop.min() >= 0 and crop.max() <= 255
        shares.append(float(crop.max() - crop.min()) / 255)
    assert min_crop - 0.06 <= shares[0] * shares[1] <= 1.0
    assert 1 / 1.35 <= shares[0] / shares[1] <= 1.35


@pytest.mark.parametrize("cut", range(1, len(PIXELS)))
def test_the_parts_of_a_batch_are_changed_as_the_whole(cut: int) -> None:
    augmentation = Augmentation()
    parts = torch.cat([changed(augmentation, 0, cut), changed(augmentation, cut)])
    assert torch.equal(parts, changed(augmentation))
    assert not torch.equal(parts, changed(augmentation, seed=4))
