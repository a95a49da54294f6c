"""The speed of captioning photographs, from JPEG files of 2 megapixels to a table of captions.

    python benchmarks/end_to_end.py [--photos FOLDER] [--images 64] [--strategies greedy beam photos]

Compares in one run, taking turns, with the packaged captioner ``photos``:

- ``wordgaze``: :func:`wordgaze.inference.encode_ahead.caption_ahead`, with which ``wordgaze caption`` captions files;
- ``plain loop``: one image and one hypothesis at a time, the unmodified networks in fp32, images resized by Pillow;
- ``ONNX Runtime`` and ``OpenVINO`` where they are installed: the encoder in that library, everything else as wordgaze
  has it but in turn. They need ``pip install onnx onnxscript onnxruntime openvino``.

Without ``--photos`` the photographs are generated. The floor is the time of the encoder's floating-point operations at
the speed of a large convolution, measured in the same run.
"""

import argparse
import csv
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import decoding

from wordgaze.core.parallel import available_cpus, map_ahead
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.captioner_folder import encoder_state, read_captioner
from wordgaze.inference.encode_ahead import caption_ahead
from wordgaze.inference.packaged import PHOTOS, packaged_captioner
from wordgaze.inference.table import FILE_COLUMNS, Row, write_table
from wordgaze.vision.encoders import CPU_BATCH, Encoder, encoder_from_spec
from wordgaze.vision.images import load_image
from wordgaze.vision.networks import feature_maps

MEGAPIXELS = 2.0
BATCH = 16
ROUNDS = 3
Encode = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of photographs, which are enlarged")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--strategies", nargs="+", default=["greedy", "beam", "photos"])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--profile", type=Path, help="a JSON file for the seconds of the stages of a picture")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = photographs(Path(folder) / "photos", args.images, args.photos)
        measure(files, Path(folder) / "captions.csv", args.strategies, args.rounds, args.profile)


def measure(files: Sequence[Path], table: Path, strategies: Sequence[str], rounds: int, profile: Path | None) -> None:
    folder = packaged_captioner(PHOTOS)
    assert folder is not None
    captioner, plain = Captioner.load(folder, "cpu"), plain_encoder(folder)
    peers = {name: encode for name, load in (("ONNX Runtime", onnx_runtime), ("OpenVINO", openvino))
             if (encode := load(plain))}  # fmt: skip
    print(f"{len(files)} photographs of {MEGAPIXELS:g} megapixels, {available_cpus()} cores, "
          f"PyTorch's kernels: {torch.backends.cpu.get_cpu_capability()}")  # fmt: skip
    for strategy in strategies:
        config = settings(captioner, strategy)
        ways: dict[str, Callable[[], list[str]]] = {
            "plain loop": lambda config=config: plain_loop(captioner, plain, files, config),
            **{name: lambda config=config, encode=encode: with_encoder(captioner, encode, files, config)
               for name, encode in peers.items()},
            "wordgaze": lambda config=config: with_wordgaze(captioner, files, table, config),
        }  # fmt: skip
        compare(strategy, ways, len(files), rounds)
    seconds = stages(captioner, files, table)
    print("one core, ms per picture: " + ", ".join(f"{name} {1000 * each:.1f}" for name, each in seconds.items()))
    if profile:
        profile.write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
    print_floor(plain)


def settings(captioner: Captioner, strategy: str) -> GenerationConfig:
    """The captioner's own, or those of textbook search, which names no objects."""
    own = captioner.generation_config
    if strategy == "photos":
        return own
    return own.model_copy(update={"strategy": strategy, "num_beams": 5, "name_objects": False})


def compare(strategy: str, ways: dict[str, Callable[[], list[str]]], count: int, rounds: int) -> None:
    """Every way once in each round, after a round that is not counted."""
    expected = {name: way() for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    slow = statistics.median(seconds["plain loop"])
    for name in ways:
        median = statistics.median(seconds[name])
        equal = statistics.mean(a == b for a, b in zip(expected[name], expected["plain loop"], strict=True))
        print(f"{strategy:7} {name:13} {count / median:6.1f} pictures/s {slow / median:5.1f} times   "
              f"{equal:.0%} of the captions are the plain loop's", flush=True)  # fmt: skip


def photographs(folder: Path, count: int, source: Path | None) -> list[Path]:
    """JPEG files of 2 megapixels: random smooth pictures, or those of ``source`` enlarged."""
    folder.mkdir()
    found = sorted(source.rglob("*.jpg"))[:count] if source else [None] * count
    rng, files = np.random.default_rng(1), []
    for number, path in enumerate(found):
        coarse = load_image(path) if path else Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8))
        scale = (MEGAPIXELS * 1e6 / (coarse.width * coarse.height)) ** 0.5
        size = (round(coarse.width * scale), round(coarse.height * scale))
        files.append(folder / f"{number:04}.jpg")
        coarse.resize(size, Image.Resampling.BICUBIC).save(files[-1], quality=90)
    return files


def plain_encoder(folder: Path) -> Encoder:
    """The networks as they are stored: nothing is folded."""
    card, state = read_captioner(folder)
    return encoder_from_spec(card.encoder, encoder_state(folder, card, state))


@torch.inference_mode()
def plain_loop(captioner: Captioner, encoder: Encoder, files: Sequence[Path], config: GenerationConfig) -> list[str]:
    captions = []
    side = (encoder.spec.image_size,) * 2
    resample = Image.Resampling[encoder.spec.interpolation.upper()]
    for path in files:
        array = np.array(load_image(path).resize(side, resample))
        features = encoder(torch.from_numpy(array).permute(2, 0, 1).unsqueeze(0))
        if config.strategy == "neighbours":
            captions.append(captioner.generate(features, config, [""], 0)[0][0].text)
        else:
            words = decoding.plain(captioner.decoder, features, config)
            captions.append(" ".join(captioner.vocabulary.words[i] for i in words))
    return captions


def with_wordgaze(captioner: Captioner, files: Sequence[Path], table: Path, config: GenerationConfig) -> list[str]:
    results = caption_ahead([captioner], [partial(load_image, path) for path in files], config)
    captions = [result.captions[0] for result in results]
    write_table(rows_of(files, captions), table, FILE_COLUMNS)
    with table.open(encoding="utf-8", newline="") as file:
        return [row["caption"] for row in csv.DictReader(file)]


def rows_of(files: Sequence[Path], captions: Sequence[Caption]) -> list[Row]:
    return [Row(path.name, c.text, c.log_prob, c.probability) for path, c in zip(files, captions, strict=True)]


def with_encoder(captioner: Captioner, encode: Encode, files: Sequence[Path], config: GenerationConfig) -> list[str]:
    """Another library's encoder; images are opened in threads."""
    opened = map_ahead(lambda path: captioner.encoder.pixels([load_image(path)]), files, available_cpus(), BATCH)
    pixels, captions = list(opened), []
    for first in range(0, len(pixels), BATCH):
        features = encode(torch.cat(pixels[first : first + BATCH]))
        captions += [of[0].text for of in captioner.generate(features, config, [""] * len(features), 0)]
    return captions


class FeatureMaps(nn.Module):
    """The feature maps of all networks from normalised images, which other libraries compute."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.bodies, self.specs = encoder.bodies, encoder.spec.networks

    def forward(self, normal: Tensor) -> tuple[Tensor, ...]:
        pairs = zip(self.bodies, self.specs, strict=True)
        return tuple(each for body, spec in pairs for each in feature_maps(body, spec.layers, normal))


def around(encoder: Encoder, run: Callable[[np.ndarray], Sequence[np.ndarray]]) -> Encode:
    """Normalisation and pooling around the networks; the packaged networks have one normalisation."""
    mean, std = (
        torch.tensor(x).view(1, 3, 1, 1) for x in (encoder.spec.networks[0].mean, encoder.spec.networks[0].std)
    )

    def encode(pixels: Tensor) -> Tensor:
        parts = []
        for part in torch.split(pixels, CPU_BATCH):
            maps = [torch.from_numpy(x) for x in run(((part.float() / 255 - mean) / std).contiguous().numpy())]
            pooled = [adaptive_avg_pool2d(x, encoder.spec.grid).flatten(2).transpose(1, 2) for x in maps]
            parts.append(torch.cat(pooled, dim=2))
        return torch.cat(parts)

    return encode


def onnx_runtime(encoder: Encoder) -> Encode | None:
    if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
        print("ONNX Runtime is skipped: pip install onnx onnxscript onnxruntime")
        return None
    import onnxruntime

    example = torch.zeros(CPU_BATCH, 3, encoder.spec.image_size, encoder.spec.image_size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.onnx"
        torch.onnx.export(FeatureMaps(encoder).eval(), (example,), path, input_names=["pixels"], dynamo=True,
                          verbose=False, dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))  # fmt: skip
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return around(encoder, lambda normal: session.run(None, {"pixels": normal}))


def openvino(encoder: Encoder) -> Encode | None:
    if importlib.util.find_spec("openvino") is None:
        print("OpenVINO is skipped: pip install openvino")
        return None
    import openvino as library

    side = encoder.spec.image_size
    converted = library.convert_model(FeatureMaps(encoder).eval(), example_input=torch.zeros(1, 3, side, side))
    compiled = library.compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return around(encoder, lambda normal: [compiled(normal)[i].copy() for i in range(len(compiled.outputs))])


def stages(captioner: Captioner, files: Sequence[Path], table: Path) -> dict[str, float]:
    """The seconds per picture of the stages, one after the other, each with one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = {}

    def timed(name: str, work: Callable[[], list]) -> list:
        began = time.perf_counter()
        done = work()
        seconds[name] = time.perf_counter() - began
        return done

    images = timed("decode", lambda: [load_image(path) for path in files])
    pixels = timed("resize", lambda: [captioner.encoder.pixels([image]) for image in images])
    inputs = torch.split(torch.cat(pixels), BATCH)
    features = timed("encode", lambda: [captioner.encode(part) for part in inputs])
    for strategy in ("greedy", "beam", "photos"):
        config = settings(captioner, strategy)
        captions = timed(f"generate ({strategy})", lambda config=config: [
            of[0] for part in features for of in captioner.generate(part, config, [""] * len(part), 0)])  # fmt: skip
    rows = rows_of(files, captions)
    timed("write", lambda: [write_table(rows, table, FILE_COLUMNS)])
    torch.set_num_threads(threads)
    return {name: each / len(files) for name, each in seconds.items()}


@torch.inference_mode()
def print_floor(encoder: Encoder) -> None:
    side = encoder.spec.image_size
    with FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(1, 3, side, side, dtype=torch.uint8))
    flops = counter.get_total_flops()
    image = torch.randn(CPU_BATCH, 1024, 32, 32).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(1024, 1024, 1, 1)
    times = []
    for _ in range(8):
        began = time.perf_counter()
        conv2d(image, weight)
        times.append(time.perf_counter() - began)
    peak = 2 * CPU_BATCH * 1024**3 / min(times)
    print(f"encoder {flops / 1e9:.2f} GFLOP per picture; a large product {peak / 1e9:.0f} GFLOP/s: "
          f"at most {peak / flops:.0f} pictures/s in fp32")  # fmt: skip


if __name__ == "__main__":
    main()
