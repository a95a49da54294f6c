"""The confidence of captions: risk–coverage and calibration on the test split, and photographs from elsewhere.

    python benchmarks/confidence.py [--root .] [--model models/stage2] [--photographs a.zip b.zip]

Needs a project in which ``dvc repro`` has run. The captions are generated from stored features, with the decoding
settings of the captioner. ``--photographs`` are folders or zip files of photographs unlike those of the data set; for
each, the area under ROC says how well the outlier score tells them from the test images. They are also squashed to
224 × 224 pixels and compressed again, as the images of some copies of Flickr8k are: what the area loses by that was a
difference of format.
"""

import argparse
import io
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.core.errors import ImageError
from wordgaze.data.prepared import Prepared
from wordgaze.evaluation.confidence import ConfidenceEvaluation
from wordgaze.generation.confidence import OUTLIERS, ConfidenceModel
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.caption_features import caption_features
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.inputs import image_key
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.selective import auroc
from wordgaze.vision.feature_store import FeatureStore
from wordgaze.vision.images import load_image

BATCH_SIZE = 32
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
SQUASHED = (224, 224)


@dataclass(frozen=True)
class Captioned:
    """The best captions of some images, and their outlier scores."""

    captions: list[Caption]
    outliers: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the project")
    parser.add_argument("--model", type=Path, help="captioner folder; by default models/stage2 of the project")
    parser.add_argument("--photographs", type=Path, nargs="*", default=[], help="folders or zip files")
    args = parser.parse_args()
    prepared, store = Prepared.load(args.root / "data/prepared"), FeatureStore(args.root / "data/features")
    captioner = Captioner.load(args.model or args.root / "models/stage2")
    if captioner.tuned:
        sys.exit(
            f"{args.model} has an encoder of its own, which the stored features do not fit; give another captioner"
        )
    confidence, config = captioner.parts.confidence, captioner.generation_config
    if confidence is None:
        sys.exit(f"{args.model} has no confidence; train it again")
    images, references = prepared.references("test")
    test = from_features(captioner, store, images, config)
    print_scores(test.captions, references)
    flagged(f"test split, {len(images)} images", test, test, confidence)
    if not args.photographs:
        print("no photographs from elsewhere: give --photographs folders or zip files")
    for path in args.photographs:
        if not path.exists():
            print(f"{path.name}: skipped, the file does not exist")
            continue
        for label, squash in (("", False), (", squashed", True)):
            found = from_images(captioner, opened(path, squash), config)
            flagged(f"{path.stem}{label}, {len(found.captions)} photographs", found, test, confidence)


def from_features(
    captioner: Captioner, store: FeatureStore, images: Sequence[str], config: GenerationConfig
) -> Captioned:
    """Captions images whose features are stored, and prints what the confidence costs."""
    confidence = captioner.parts.confidence
    assert confidence
    unsure, grid = replace(captioner.parts, confidence=None), captioner.encoder.spec.grid
    captions: list[Caption] = []
    outliers: list[float] = []
    seconds = 0.0
    started = time.perf_counter()
    for i in range(0, len(images), BATCH_SIZE):
        names = images[i : i + BATCH_SIZE]
        found = list(
            caption_features(
                captioner.decoder, captioner.vocabulary, store, names, config, BATCH_SIZE, parts=unsure, grid=grid
            )
        )
        features = store.read(names)
        before = time.perf_counter()
        captions += [best for best, *_ in confidence.assign(found, features)]
        seconds += time.perf_counter() - before
        outliers += confidence.outlier_scores([best for best, *_ in found], features)
    whole = time.perf_counter() - started
    print(
        f"{1000 * whole / len(images):.1f} ms per image without encoding, confidence {1000 * seconds / len(images):.1f}"
    )
    return Captioned(captions, outliers)


def from_images(captioner: Captioner, images: Iterator[Image.Image], config: GenerationConfig) -> Captioned:
    """Captions photographs."""
    confidence = captioner.parts.confidence
    assert confidence
    captions: list[Caption] = []
    outliers: list[float] = []
    for image in images:
        features = captioner.features([image])
        [[best, *_]] = captioner.generate(features, config, [image_key(image)], 0)
        captions.append(best)
        outliers += confidence.outlier_scores([best], features)
    return Captioned(captions, outliers)


def opened(path: Path, squash: bool) -> Iterator[Image.Image]:
    """The photographs of a folder or a zip file; those that cannot be read are left out, and named."""
    for name, content in contents(path):
        try:
            image = load_image(content)
        except ImageError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        if squash:
            buffer = io.BytesIO()
            image.resize(SQUASHED, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
            image = load_image(buffer.getvalue())
        yield image


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the picture files, sorted by name."""
    if path.is_dir():
        yield from ((file.name, file.read_bytes()) for file in sorted(path.rglob("*")) if is_picture(file.name))
        return
    with zipfile.ZipFile(path) as archive:
        yield from ((name, archive.read(name)) for name in sorted(archive.namelist()) if is_picture(name))


def is_picture(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def print_scores(captions: Sequence[Caption], references: Sequence[Sequence[Sequence[str]]]) -> None:
    cider = np.array(Cider(references).per_image([caption.words for caption in captions]))
    evaluation = ConfidenceEvaluation(captions, references, cider)
    scores, curve = evaluation.scores(), {point.coverage: point for point in evaluation.details().curve}
    print("coverage    confidence from    wrong    CIDEr")
    for coverage in (1.0, 0.75, 0.5, 0.25):
        point = curve[coverage]
        print(f"{coverage:7.0%}     {point.confidence:14.2f} {point.risk:8.1%} {point.cider:8.3f}")
    print(f"AURC {scores.aurc:.3f} (random {scores.aurc_random:.3f}, oracle {scores.aurc_oracle:.3f})")
    print(f"ECE {scores.ece:.3f}, Brier score {scores.brier:.3f}")


def flagged(label: str, found: Captioned, test: Captioned, model: ConfidenceModel) -> None:
    """Prints the mean confidence, how many are outliers, and the area under ROC against the test images."""
    confidence = np.mean([caption.confidence for caption in found.captions])
    outliers = np.mean(np.array(found.outliers) > model.outlier_threshold)
    against = "" if found is test else f", AUROC {auroc(test.outliers, found.outliers):.3f}"
    print(f"{label}: mean confidence {confidence:.2f}, {outliers:.0%} outliers ({OUTLIERS:.0%} of dev){against}")


if __name__ == "__main__":
    main()
