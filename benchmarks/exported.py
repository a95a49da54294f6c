"""Compares exported captioners with the captioner that they come from, on the test images of a data set.

    python benchmarks/exported.py --model photos --data data/raw exports/fp32 exports/int8

``--data`` is what the stage download makes. For greedy search and beam 5 prints of each export how many images have the
same caption as with PyTorch, the largest difference of a log-probability among these, CIDEr, and the size of its
graphs; then images per second from files to captions, of PyTorch and of each export in turn, the best of ``--repeats``.
"""

import argparse
import json
import time
from pathlib import Path

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.caption_files import caption_files
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.onnx_captioner import OnnxCaptioner
from wordgaze.metrics.captions import score_captions
from wordgaze.text.tokenizers import get_tokenizer
from wordgaze.tracking.resolve import resolve_model
from wordgaze.vision.image_files import ImageFiles

SETTINGS = {"greedy": GenerationConfig(strategy="greedy"), "beam 5": GenerationConfig(strategy="beam", num_beams=5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exports", type=Path, nargs="+")
    parser.add_argument("--model", default="photos")
    parser.add_argument("--data", type=Path, default=Path("data/raw"))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--timed", type=int, default=200, help="images of a timing; 0 times nothing")
    parser.add_argument("--repeats", type=int, default=4)
    args = parser.parse_args()
    lines = (args.data / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if record["split"] == "test"][: args.images]
    images = [args.data / "images" / record["image"] for record in records]
    tokenizer = get_tokenizer("ptb")
    references = [[tokenizer.tokenize(text) for text in record["captions"]] for record in records]
    folder = resolve_model(args.model)
    compare(folder, args.exports, images, references)
    if args.timed:
        time_files(folder, args.exports, images[: args.timed], args.repeats)


def compare(folder: Path, exports: list[Path], images: list[Path], references: list[list[list[str]]]) -> None:
    captioner = Captioner.load(folder, "cpu")
    for name, config in SETTINGS.items():
        expected = [found[0] for found in captioner.caption(images, config)]
        print(f"{name:7} {'torch':12} CIDEr {cider(expected, references):.3f}", flush=True)
        for export in exports:
            found = [captions[0] for captions in OnnxCaptioner.load(export).caption(images, config)]
            pairs = [(a, b) for a, b in zip(expected, found, strict=True) if a.words == b.words]
            largest = max(abs(a.log_prob - b.log_prob) for a, b in pairs)
            size = sum(path.stat().st_size for path in export.glob("*.onnx")) / 1e6
            score = cider(found, references)
            print(
                f"{name:7} {export.name:12} CIDEr {score:.3f}  same words {len(pairs)} of {len(images)},"
                f" log-probabilities within {largest:.1e}  {size:.1f} MB",
                flush=True,
            )


def cider(captions: list[Caption], references: list[list[list[str]]]) -> float:
    return score_captions([caption.words for caption in captions], references)["cider"]


def time_files(folder: Path, exports: list[Path], images: list[Path], repeats: int) -> None:
    """The runtimes take turns, so that other work on the machine slows all of them."""
    for name, config in SETTINGS.items():
        seconds: dict[Path, list[float]] = {each: [] for each in (folder, *exports)}
        for _ in range(repeats):
            for each, times in seconds.items():
                began = time.perf_counter()
                assert len(list(caption_files(ImageFiles(tuple(images)), [each], config))) == len(images)
                times.append(time.perf_counter() - began)
        for each, times in seconds.items():
            label = "torch" if each == folder else each.name
            print(f"{name:7} {label:12} {len(images) / min(times):.1f} images/s, loading included", flush=True)


if __name__ == "__main__":
    main()
