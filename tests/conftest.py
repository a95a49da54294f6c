"""A tiny captioner of real parts, and a real project in miniature that ``dvc repro`` has run through once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: the workers share the cores
    _workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _workers)))

if TYPE_CHECKING:
    from wordgaze.generation.confidence import ConfidenceModel
    from wordgaze.inference.captioner import Captioner
    from wordgaze.vision.encoders import Encoder

# Tests run beside each other: with a thread per core in each, OpenMP's workers wait for one another (ten times slower).
os.environ.setdefault("OMP_NUM_THREADS", "1")

CHECKOUT = Path(__file__).parents[1]
SOURCE = ("src", "pipeline", "dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", ".gitattributes")
AUTHOR = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
MINIATURE: dict[str, Any] = {
    "reproducible": "same_machine",  # any_cpu would give each process two threads
    "dataset": {"scenes": {"num_images": 60, "image_size": 64, "seed": 1, "language": "en"}},
    "prepare": {"min_count": 2},
    "features": {"image_size": 64, "batch_size": 4, "shard_size": 4, "device": "cpu"},
    "model": {"embedding_size": 16, "hidden_size": 24, "attention_size": 16, "feature_size": 32},
    "train_stage1": {
        "max_train_images": 30, "epochs": 6, "patience": 6, "batch_size": 2, "warmup_steps": 4, "learning_rate": 0.003,
        "checkpoint_seconds": 0.0, "device": "cpu",
    },
    "train_stage2": {"epochs": 2, "batch_size": 8, "warmup_steps": 2, "device": "cpu"},
    "evaluate": {"num_attention_images": 2},
}  # fmt: skip


# The time of an example depends on the load of the machine.
settings.register_profile("wordgaze", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wordgaze")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: runs stages of the pipeline as processes; leave out with -m 'not slow'")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow modules first, so that no worker is left with one at the end.

    Of these, the ones that do not need the finished project come before the others: while a worker makes it, another
    would wait for it.
    """
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, "finished" in _fixtures(item)))


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


@dataclass(frozen=True)
class Project:
    """A checkout of its own, and the commands that a person types there."""

    root: Path

    def dvc(self, *arguments: str) -> str:
        """What ``dvc`` prints; it must succeed."""
        done = self.run("-m", "dvc", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``python -m pipeline``."""
        return self.run("-m", "pipeline", *arguments)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=self.root, env=self.environment(), capture_output=True, text=True, check=False
        )

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """``python -m pipeline``, left to run."""
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *AUTHOR, *arguments], cwd=self.root, env=self.environment(), check=True)

    def changed_files(self) -> str:
        """What ``git status`` lists; "" for a clean working tree."""
        command = ["git", "status", "--porcelain"]
        done = subprocess.run(
            command, cwd=self.root, env=self.environment(), capture_output=True, text=True, check=True
        )
        return done.stdout

    def environment(self) -> dict[str, str]:
        """Nothing of this machine's settings, one thread, this Python first, and a network that ends at once."""
        aside = ("DVC_", "MLFLOW_", "GIT_", "PYTEST_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(aside)}
        own = self.root.parent / f"{self.root.name}-dvc"
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_TEST": "1",  # DVC looks for no newer version
            "DVC_GLOBAL_CONFIG_DIR": str(own / "global"),
            "DVC_SYSTEM_CONFIG_DIR": str(own / "system"),
            "DVC_SITE_CACHE_DIR": str(own / "cache"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "HF_HUB_OFFLINE": "1",
            "http_proxy": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",
        }


@pytest.fixture(autouse=True)
def _own_import_path() -> Iterator[None]:
    """Restores ``sys.path``: MLflow puts the code of a model that it loads first on it, and processes that a later test
    starts would import that."""
    before = sys.path.copy()
    yield
    sys.path[:] = before


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """``shared(name, make)``: a folder that one worker of pytest-xdist makes, by ``make(folder)``, and all read."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def get(name: str, make: Callable[[Path], None]) -> Path:
        folder, complete = root / name, root / f"{name}.complete"
        with FileLock(root / f"{name}.lock"):
            if not complete.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                complete.touch()
        return folder

    return get


def write_project(root: Path) -> Project:
    """Copies this checkout's source and writes miniature parameters into ``root``, and commits them."""
    project = Project(root)
    for name in SOURCE:
        path = CHECKOUT / name
        if path.is_dir():
            shutil.copytree(path, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, root / name)
    (root / ".dvc").mkdir()
    shutil.copy(CHECKOUT / ".dvc" / "config", root / ".dvc" / "config")
    change_params(root / "params.yaml", MINIATURE)
    project.git("init", "-q", "-b", "main")
    project.git("config", "user.name", "someone")
    project.git("config", "user.email", "someone@example.org")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "start")
    return project


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    """Makes a fresh project of this checkout's source and miniature parameters, committed, with nothing run."""
    return lambda: write_project(tmp_path_factory.mktemp("project"))


def change_params(path: Path, changes: dict[str, Any]) -> None:
    """Changes some keys of a params.yaml, given as in the file, and leaves the rest as it is."""
    from ruamel.yaml import YAML

    yaml = YAML()
    values = yaml.load(path.read_text(encoding="utf-8"))
    for name, change in changes.items():
        if isinstance(change, dict):
            values[name].update(change)
        else:
            values[name] = change
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(values, file)


@pytest.fixture(scope="session")
def finished(shared: Callable[[str, Callable[[Path], None]], Path]) -> Project:
    """A project after one ``dvc repro``, committed. All workers read it; what changes it works on a copy."""

    def make(root: Path) -> None:
        project = write_project(root)
        project.dvc("repro")
        project.git("add", "-A")
        project.git("commit", "-q", "-m", "run")

    return Project(shared("finished", make))


@pytest.fixture(scope="session")
def copied(finished: Project, empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    """Makes a copy of the finished project with an MLflow store of its own, which has nothing in it."""

    def make() -> Project:
        root = tmp_path_factory.mktemp("copy") / "project"
        aside = shutil.ignore_patterns("__pycache__", "mlflow.db*", "mlartifacts", ".scratch", "tmp")
        shutil.copytree(finished.root, root, ignore=aside)
        shutil.copy(empty_database, root / "mlflow.db")
        return Project(root)

    return make


@pytest.fixture(scope="session")
def empty_database(shared: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """An MLflow database with its tables. Making one takes seconds, so it is made once and copied."""

    def make(folder: Path) -> None:
        from wordgaze.tracking.store import configure_mlflow, translate_errors

        configure_mlflow()
        from mlflow import MlflowClient

        with translate_errors("make an empty database"):
            MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()

    return shared("empty", make) / "mlflow.db"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 server on this machine, which has the bucket ``team``."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    import boto3

    from wordgaze.core import storage

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    storage._system.cache_clear()  # clients of the server of another test
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="team")
        yield address
    finally:
        server.stop()


@pytest.fixture(scope="session")
def tiny_encoder() -> "Encoder":
    """A CNN of timm with random weights: 64 pixels, a grid of 2 by 2."""
    from wordgaze.vision.encoders import build_encoder

    return build_encoder("timm/test_efficientnet", "random", image_size=64)


@pytest.fixture(scope="session")
def write_captioner(tiny_encoder: "Encoder") -> Callable[..., Path]:
    """``write_captioner(folder, seed, known)`` writes a captioner folder; the seed makes its decoder, and ``known`` says
    whether it has training pictures to compare with."""
    import torch

    from wordgaze.generation.neighbours import NeighbourReranker
    from wordgaze.inference.captioner_folder import CaptionerParts, save_captioner
    from wordgaze.models.config import DecoderConfig
    from wordgaze.models.decoder import Decoder
    from wordgaze.text.vocabulary import SPECIAL, Vocabulary

    def write(folder: Path, seed: int = 10, known: bool = True) -> Path:
        vocabulary = Vocabulary((*SPECIAL, "a", "dog", "cat", "runs", "sleeps", "outside"))
        sizes = DecoderConfig(embedding_size=8, hidden_size=8, attention_size=8, feature_size=8)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            decoder = Decoder(sizes, tiny_encoder.spec.channels, len(vocabulary))
            means = torch.rand(3, tiny_encoder.spec.channels)
        captions = [["a dog runs".split()], ["a cat sleeps".split()], ["a dog outside".split()]]
        parts = CaptionerParts(NeighbourReranker.fit(means, captions, vocabulary) if known else None)
        save_captioner(folder, decoder, vocabulary, tiny_encoder.spec, tiny_encoder.state_dict(), parts=parts)
        return folder

    return write


@pytest.fixture(scope="session")
def exported(shared: Callable[[str, Callable[[Path], None]], Path], write_captioner: Callable[..., Path]) -> Path:
    """A tiny captioner, ``captioner``, and what ``wordgaze export`` makes of it, ``onnx``. Nobody changes them."""
    pytest.importorskip("onnxscript", reason='the extra "export" is not installed')
    pytest.importorskip("onnxruntime", reason='the extra "export" is not installed')

    def make(folder: Path) -> None:
        from PIL import Image

        from wordgaze.export.onnx_export import ExportSettings, export_onnx

        source = write_captioner(folder / "captioner")
        images = []
        for number in range(3):
            gradient = Image.radial_gradient("L").rotate(40 * number).resize((90 + 60 * number, 80))
            image = Image.merge(
                "RGB", [gradient, gradient.rotate(90), Image.linear_gradient("L").resize(gradient.size)]
            )
            images.append(folder / f"image{number}.png")
            image.save(images[-1])
        export_onnx(source, folder / "onnx", ExportSettings(conformance=images))

    return shared("exported", make)


@pytest.fixture
def tiny_confidence(tiny_captioner: "Captioner") -> "ConfidenceModel":
    """The confidence of captions of the tiny captioner, fitted to random images."""
    import torch

    from wordgaze.training.confidence import fit_confidence

    class Store:
        def read(self, images: Sequence[str]) -> torch.Tensor:
            seeds = (torch.Generator().manual_seed(int(image)) for image in images)
            shape = tiny_captioner.encoder.spec.grid[0] * tiny_captioner.encoder.spec.grid[1]
            return torch.stack([torch.rand(shape, tiny_captioner.encoder.spec.channels, generator=g) for g in seeds])

    store, captions = Store(), [[["a", "dog", "runs"]], [["a", "cat", "sleeps", "outside"]]] * 15
    means = store.read([str(i) for i in range(30)]).mean(1)
    dev = [str(i) for i in range(100, 120)], captions[:20]
    return fit_confidence(tiny_captioner.decoder, tiny_captioner.vocabulary, store, means, captions, dev, 6)


@pytest.fixture
def captioner_folder(tmp_path: Path, write_captioner: Callable[..., Path]) -> Path:
    """The folder of a tiny captioner."""
    return write_captioner(tmp_path / "models" / "stage2")


@pytest.fixture
def tiny_captioner(captioner_folder: Path) -> "Captioner":
    """A tiny captioner on the CPU."""
    from wordgaze.inference.captioner import Captioner

    return Captioner.load(captioner_folder, "cpu")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture file, wider than high."""
    from PIL import Image

    path = tmp_path / "pictures" / "slope.png"
    path.parent.mkdir()
    Image.linear_gradient("L").resize((48, 32)).convert("RGB").save(path)
    return path
