"""The bytes of features, weights and reports under several settings of the processor's libraries, with and without
``reproducible: any_cpu``.

    python benchmarks/same_bytes.py [--images 60] [--epochs 2] [--threads 1 2 4] [--seconds]

Each setting is a process of its own, which draws a small data set of scenes, encodes it, trains, and evaluates. One
line per output shows its checksum under each setting. With the option (columns marked ``any_cpu``) all columns must be
equal, and must equal those of another processor with the same versions. Without it they show which outputs depend on
the kernels and on the number of threads. The operations below the outputs show where a difference comes from.

It needs neither DVC, MLflow nor great-expectations, nor the network; the encoder has random weights unless
``--weights default`` is given. An x86-64 processor with AVX2 is needed.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))

if TYPE_CHECKING:
    from wordgaze.config.params import Params

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def settings(threads: list[int]) -> Iterator[tuple[str, bool, dict[str, str]]]:
    """The name of each setting, whether it is ``reproducible: any_cpu``, and the environment that it starts in."""
    for fixed in (False, True):
        mark = "any_cpu" if fixed else "same_machine"
        for count in threads:
            yield f"{mark}, {count} threads", fixed, {"OMP_NUM_THREADS": str(count)}
        yield f"{mark}, limited to AVX2", fixed, AVX2


def main() -> int:
    """Runs every setting and prints the table. Returns 1 if any_cpu gave different bytes."""
    options = _parser().parse_args()
    if options.worker:
        print(json.dumps(measure(options)))
        return 0
    columns: dict[str, dict[str, Any]] = {}
    for name, fixed, environment in settings(options.threads):
        columns[name] = _run_worker(fixed, environment)
        print(f"{name}: {columns[name].pop('machine')}", file=sys.stderr)
    _print_table(columns, options.seconds)
    fixed_columns = [column["outputs"] for name, column in columns.items() if name.startswith("any_cpu")]
    equal = all(column == fixed_columns[0] for column in fixed_columns)
    print(f"\nany_cpu: {'the same bytes' if equal else 'DIFFERENT BYTES'} under {len(fixed_columns)} settings")
    return 0 if equal else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=60, help="scenes that are drawn")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the training")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads to compare")
    parser.add_argument("--weights", default="random", help="weights of the encoder: random | default")
    parser.add_argument("--seconds", action="store_true", help="print the seconds of each output too")
    parser.add_argument("--worker", choices=("any_cpu", "same_machine"), help=argparse.SUPPRESS)
    return parser


def _run_worker(fixed: bool, environment: dict[str, str]) -> dict[str, Any]:
    arguments = [*sys.argv[1:], "--worker", "any_cpu" if fixed else "same_machine"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), *arguments],
            cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _print_table(columns: dict[str, dict[str, Any]], seconds: bool) -> None:
    import torch

    print(f"{platform.machine()}, Python {platform.python_version()}, PyTorch {torch.__version__}")
    for number, name in enumerate(columns):
        print(f"  ({number + 1}) {name}")
    parts = ("outputs", "operations")
    width = max(len(name) for column in columns.values() for part in parts for name in column[part])
    for part in parts:
        print(f"\n{part:{width}}  " + "  ".join(f"({number + 1})     "[:8] for number in range(len(columns))))
        for name in next(iter(columns.values()))[part]:
            print(f"{name:{width}}  " + "  ".join(column[part][name] for column in columns.values()))
    if seconds:
        print(f"\n{'seconds':{width}}  " + "  ".join(f"({number + 1})     "[:8] for number in range(len(columns))))
        for name in next(iter(columns.values()))["seconds"]:
            print(f"{name:{width}}  " + "  ".join(f"{column['seconds'][name]:8.2f}" for column in columns.values()))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The checksums of the outputs and of single operations, and the seconds of each output, in this process."""
    from wordgaze.core.reproducibility import fix_cpu_kernels

    if options.worker == "any_cpu":
        fix_cpu_kernels()
    import torch

    outputs: dict[str, str] = {}
    seconds: dict[str, float] = {}
    params = _params(options)
    for name, work in (("images", draw), ("features", encode), ("training", train), ("reports", evaluate)):
        started = time.perf_counter()
        outputs |= work(params)
        seconds[name] = time.perf_counter() - started
    machine = f"{torch.cpu.get_capabilities()['cpu_name']}, {torch.backends.cpu.get_cpu_capability()} kernels"
    machine += f", {torch.get_num_threads()} threads"
    return {"outputs": outputs, "operations": operations(), "seconds": seconds, "machine": machine}


def _params(options: argparse.Namespace) -> "Params":
    from wordgaze.config.params import Params

    training = {"epochs": options.epochs, "batch_size": 4, "warmup_steps": 10, "device": "cpu"}
    return Params.model_validate(
        {
            "reproducible": options.worker,
            "dataset": {"scenes": {"num_images": options.images}},
            "prepare": {"min_count": 2},
            "features": {"weights": options.weights, "device": "cpu"},
            "train_stage1": training,
            "train_stage2": training,
            "evaluate": {"num_attention_images": 2},
        }
    )


def draw(params: "Params") -> dict[str, str]:
    """Draws the images and writes them with their captions, as the stage download does."""
    from wordgaze.core import paths
    from wordgaze.data.datasets import open_dataset
    from wordgaze.data.records import write_records

    paths.RAW.mkdir(parents=True)
    records = open_dataset(params.dataset, params.prepare, Path("downloads")).collect(paths.RAW).records
    write_records(paths.RAW / "captions.jsonl", records)
    return {"images": _of_files(sorted((paths.RAW / "images").iterdir()))}


def encode(params: "Params") -> dict[str, str]:
    """Computes the features of all images on the CPU, as the stage features does."""
    from wordgaze.core import paths
    from wordgaze.core.files import write_tensors
    from wordgaze.data.records import read_records
    from wordgaze.vision.feature_extraction import encoder_of, extract_features
    from wordgaze.vision.feature_store import TAGGER, write_manifest
    from wordgaze.vision.picture_keys import PictureKeys, read_keys

    settings = params.features
    encoder = encoder_of(settings)
    images = [record.image for record in read_records(paths.RAW / "captions.jsonl")]
    pictures = PictureKeys.of(images, read_keys(paths.RAW / "images", images), settings.shard_size)
    extract_features(encoder, settings, paths.RAW / "images", pictures, paths.FEATURES)
    write_tensors(paths.FEATURES / "encoder.safetensors", encoder.state_dict())
    write_tensors(paths.FEATURES / TAGGER, {})
    write_manifest(paths.FEATURES, encoder.spec, "", pictures, settings.dtype, {})
    return {
        "encoder": _of_files([paths.FEATURES / "encoder.safetensors"]),
        "features": _of_files(sorted(paths.FEATURES.glob("shard-*"))),
    }


def train(params: "Params") -> dict[str, str]:
    """Trains stage 1 and stage 2."""
    from wordgaze.core import paths
    from wordgaze.stages.training import write_curve
    from wordgaze.training.fit import TrainingTask, fit
    from wordgaze.vision.feature_store import FeatureStore

    prepared, store, outputs = _prepared(params), FeatureStore(paths.FEATURES), {}
    for stage, settings, start, folder in (
        ("stage1", params.train_stage1, None, paths.STAGE1),
        ("stage2", params.train_stage2, paths.STAGE1, paths.STAGE2),
    ):
        task = TrainingTask(prepared, store, params.model, settings, params.prepare.max_words, params.seed, start=start)
        history = fit(task, Path("scratch") / stage, folder, lambda row: None, lambda done, total: None)
        write_curve(paths.REPORTS / f"train_{stage}.csv", history)
        outputs[f"{stage}/weights"] = _of_files([folder / "weights.safetensors"])
        outputs[f"{stage}/curve"] = _of_files([paths.REPORTS / f"train_{stage}.csv"])
    return outputs


def evaluate(params: "Params") -> dict[str, str]:
    """Writes the reports of the test split."""
    from wordgaze.core import paths
    from wordgaze.inference.captioner import Captioner
    from wordgaze.stages import evaluate as stage
    from wordgaze.vision.feature_store import FeatureStore

    captioner = Captioner.load(paths.STAGE2, "cpu")
    evaluation = stage.evaluate(captioner, _prepared(params), FeatureStore(paths.FEATURES), params)
    stage.write_reports(evaluation, params)
    names = ("evaluation.json", "details.json", "captions.csv", "confidence.csv", "evaluation.html")
    outputs = {f"reports/{name}": _of_files([paths.REPORTS / name]) for name in names}
    return outputs | {"reports/attention": _of_files(sorted((paths.REPORTS / "attention").iterdir()))}


def _prepared(params: "Params") -> Any:
    """The captions in memory, as the stage prepare would write them."""
    from wordgaze.core import paths
    from wordgaze.data.prepared import Prepared
    from wordgaze.data.records import assign_splits, read_records
    from wordgaze.text.tokenizers.ptb import tokenize
    from wordgaze.text.vocabulary import Vocabulary

    settings = params.prepare
    records = assign_splits(read_records(paths.RAW / "captions.jsonl"), settings.dev_share, settings.test_share)
    captions: dict[Any, dict[str, list[list[str]]]] = {"train": {}, "dev": {}, "test": {}}
    for record in records:
        captions[record.split][record.image] = [tokenize(text) for text in record.captions]
    words = [of_caption for of_image in captions["train"].values() for of_caption in of_image]
    raw = {record.image: list(record.captions) for record in records}
    return Prepared(captions, raw, Vocabulary.count(words, settings.min_count, settings.max_vocabulary))


def operations() -> dict[str, str]:
    """The checksums of single operations on fixed inputs, each by one library."""
    import numpy as np
    import torch
    from torch.nn import functional

    from wordgaze.models import decoder

    rng = np.random.default_rng(1)  # uniform numbers of NumPy do not depend on the processor

    def uniform(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.random(shape, np.float32) - 0.5)

    line, square = uniform(100_003), uniform(300, 300).double()
    symmetric = square @ square.T + torch.eye(300)
    maps = uniform(4, 32, 28, 28).contiguous(memory_format=torch.channels_last)
    narrow, wide, depthwise = uniform(64, 32, 1, 1), uniform(64, 32, 3, 3), uniform(32, 1, 5, 5)
    works: dict[str, Callable[[], Any]] = {
        "MKL: matrix product": lambda: uniform(200, 512) @ uniform(512, 1024),
        "MKL: K = 256": lambda: uniform(784, 256) @ uniform(256, 300),
        "MKL: batched product": lambda: uniform(50, 49, 64) @ uniform(50, 64, 5),
        "MKL: matrix, vector": lambda: uniform(999, 256) @ uniform(256),
        "MKL: exp": line.exp,
        "MKL: tanh": line.tanh,
        "MKL: erf": line.erf,
        "MKL: solve": lambda: torch.linalg.solve(symmetric, square[0]),
        "MKL: eigh": lambda: torch.linalg.eigh(symmetric).eigenvalues,
        "oneDNN: 1 x 1": lambda: functional.conv2d(maps, narrow),
        "oneDNN: 3 x 3": lambda: functional.conv2d(maps, wide),
        "oneDNN: depthwise": lambda: functional.conv2d(maps, depthwise, groups=32),
        "ATen: sigmoid": line.sigmoid,
        "ATen: softmax": lambda: line[:100_000].view(1000, 100).softmax(1),
        "ATen: sum": line.sum,
        "ATen: normal": lambda: torch.randn(1000, generator=torch.Generator().manual_seed(1)),
        "ATen: dropout": lambda: _seeded(functional.dropout),
        "wordgaze: dropout": lambda: _seeded(decoder.dropout),
        "NumPy: exp": lambda: np.exp(line.double().numpy()),
        "NumPy: log": lambda: np.log(1 + np.abs(line.double().numpy())),
        "NumPy: product": lambda: square.numpy() @ square.numpy(),
    }
    return {name: _of_bytes([np.ascontiguousarray(work()).tobytes()]) for name, work in works.items()}


def _seeded(dropout: Any) -> Any:
    import torch

    torch.manual_seed(1)
    return dropout(torch.ones(1000), 0.3, True)


def _of_files(paths: list[Path]) -> str:
    return _of_bytes(path.read_bytes() for path in paths)


def _of_bytes(parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:8]


if __name__ == "__main__":
    sys.exit(main())
