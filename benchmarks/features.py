"""The speed of feature extraction: the project's encoder compared with a plain loop and with the peak of the hardware.

The plain loop runs the unmodified networks in fp32, one image at a time. The project folds batch normalisation, uses
channels_last and batches, and computes in bf16 where the hardware supports it. The outputs of both are compared first.
The peak is the speed of one large matrix product in the same dtype, measured in the same run.

    python benchmarks/features.py [--encoder timm/tf_efficientnet_lite0] [--device cuda] [--batches 1 8 128]
"""

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.core.device import pick_device, pick_dtype
from wordgaze.vision.encoders import Encoder, build_encoder

PLAIN_IMAGES = 8
SQUARE = {"cpu": 2048, "cuda": 8192}  # size of the matrices that measure the peak
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 1e-1}  # relative to the norm of the features


def seconds(work: Callable[[], object], device: torch.device, min_seconds: float = 2.0) -> float:
    """The median seconds per call after a warm-up, from at least three calls and at least ``min_seconds`` in total."""
    work()
    times: list[float] = []
    while len(times) < 3 or sum(times) < min_seconds:
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def photographs(count: int) -> list[bytes]:
    """JPEG files of 500 x 375 pixels with a random smooth content."""
    rng, files = np.random.default_rng(1), []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8))
        file = io.BytesIO()
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def read(encoder: Encoder, files: list[bytes]) -> Tensor:
    return encoder.pixels([Image.open(io.BytesIO(file)).convert("RGB") for file in files])


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="timm/tf_efficientnet_lite0")
    parser.add_argument("--depths", type=int, default=1)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 128])
    args = parser.parse_args()
    device = pick_device(args.device)
    dtype = pick_dtype("auto", device)
    plain = build_encoder(args.encoder, "random", depths=args.depths).to(device)
    fast = plain.optimised(device, dtype)
    files = photographs(PLAIN_IMAGES)
    pixels = read(plain, files)
    first = pixels[:1].to(device)
    with FlopCounterMode(display=False) as counter:
        plain(first)
    flops = counter.get_total_flops()
    square = torch.randn(SQUARE[device.type], SQUARE[device.type], device=device, dtype=dtype)
    peak = 2 * len(square) ** 3 / seconds(lambda: square @ square, device)
    print(f"{args.encoder}, {fast.spec.image_size} pixels, {flops / 1e9:.2f} GFLOP per image; {device}, "
          f"{str(dtype).removeprefix('torch.')}, {peak / 1e9:,.0f} GFLOP/s peak")  # fmt: skip
    expected, actual = plain(pixels.to(device)), fast(pixels.to(device)).float()
    difference = float((expected - actual).norm() / expected.norm())
    if not difference < TOLERANCE[dtype]:
        raise SystemExit(f"the plain loop and the project differ by {difference:.0e} of the features' norm")
    print(f"the features differ by {difference:.0e} of their norm")
    slow = seconds(lambda: [plain(pixels[i : i + 1].to(device)) for i in range(len(pixels))], device) / len(pixels)
    print(f"plain loop    {1 / slow:9.1f} images/s")
    for batch in args.batches:
        images = pixels.repeat(-(-batch // len(pixels)), 1, 1, 1)[:batch].to(device)
        per_image = seconds(lambda images=images: fast(images), device) / batch
        print(f"batch {batch:4}    {1 / per_image:9.1f} images/s {slow / per_image:6.1f} times   "
              f"{flops / per_image / 1e9:9,.0f} GFLOP/s, {flops / per_image / peak:.0%} of the peak")  # fmt: skip
    reading = seconds(lambda: read(plain, files), torch.device("cpu")) / len(files)
    print(f"reading       {1 / reading:9.1f} images/s per thread, from JPEG to pixels")


if __name__ == "__main__":
    main()
