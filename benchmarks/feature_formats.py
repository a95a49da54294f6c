"""What it costs to store features in eight bits: bytes, reading speed, and the scores of a captioner trained on bf16.

    python benchmarks/feature_formats.py [--root .] [--split dev] [--work FOLDER]

Needs a project in which ``dvc repro`` has run with ``features.dtype: bf16``. The features of a split are written in
each format, read in random batches as in training, and captioned by the project's captioner. The differences in CIDEr
are by a paired bootstrap over the images.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from feature_memory import keys_of

from wordgaze.config.params import FeatureDtype
from wordgaze.data.prepared import Prepared
from wordgaze.evaluation.comparison import Comparison
from wordgaze.generation.config import parse_generation_config
from wordgaze.inference.caption_features import caption_features
from wordgaze.inference.captioner import Captioner
from wordgaze.vision.encoders import EncoderSpec
from wordgaze.vision.feature_shards import write_shards
from wordgaze.vision.feature_store import FeatureSource, FeatureStore, write_manifest
from wordgaze.vision.picture_keys import PictureKeys

FORMATS: tuple[FeatureDtype, ...] = ("bf16", "int8", "fp8")
BATCH = 16
STRATEGIES = ("greedy", "beam")


def stored_as(
    dtype: FeatureDtype,
    source: FeatureSource,
    spec: EncoderSpec,
    images: Sequence[str],
    folder: Path,
    shard_size: int = 256,
) -> FeatureStore:
    """Writes the features of some images in a format."""

    def read(names: Sequence[str], keys: Sequence[bytes]) -> Tensor:
        return source.read(names)

    pictures = PictureKeys.of(images, keys_of(images), shard_size)
    write_shards(folder, pictures, dtype, read)
    write_manifest(folder, spec, "", pictures, dtype, {})
    return FeatureStore(folder)


def images_per_second(store: FeatureStore, images: Sequence[str]) -> float:
    """The speed of reading in random batches, after a first pass, which checks the shards and warms the cache."""
    for number in range(2):
        order = np.random.default_rng(number).permutation(len(images))
        started = time.perf_counter()
        for start in range(0, len(order), BATCH):
            store.read([images[i] for i in order[start : start + BATCH]])
    return len(images) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the project")
    parser.add_argument("--split", choices=["dev", "test"], default="dev")
    parser.add_argument("--work", type=Path, help="where the features are written, for a while")
    args = parser.parse_args()
    prepared, source = Prepared.load(args.root / "data/prepared"), FeatureStore(args.root / "data/features")
    captioner = Captioner.load(args.root / "models/stage2")
    images, references = prepared.references(args.split)
    captions: dict[str, list[list[str]]] = {}
    print(f"{len(images)} images of the {args.split} split, {source.shape[1]} cells, {source.shape[2]} channels")
    for dtype in FORMATS:
        with tempfile.TemporaryDirectory(dir=args.work) as folder:
            store = stored_as(dtype, source, source.spec, images, Path(folder))
            size = sum(path.stat().st_size for path in Path(folder).glob("shard-*"))
            speed = images_per_second(store, images)
            print(f"{dtype:5} {size / len(images) / 1e3:8.1f} kB per image {speed:8.0f} images/s", flush=True)
            for strategy in STRATEGIES:
                config = parse_generation_config(strategy=strategy)
                found = caption_features(
                    captioner.decoder, captioner.vocabulary, store, images, config, 64, 1, captioner.parts
                )
                captions[f"{strategy} {dtype}"] = [of_image[0].words for of_image in found]
    comparison = Comparison(captions, references)
    scores = comparison.scores()
    for strategy in STRATEGIES:
        names = [f"{strategy} {dtype}" for dtype in FORMATS]
        changes = {pair.system: pair.differences.cider for pair in comparison.differences(names[0], names)}
        for name in names:
            difference = changes.get(name)
            shown = f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]" if difference else ""
            same = sum(one == other for one, other in zip(captions[names[0]], captions[name], strict=True))
            print(f"{name:12} CIDEr {scores[name].cider:.4f} {shown:28} {same / len(images):.1%} of the captions equal")


if __name__ == "__main__":
    main()
