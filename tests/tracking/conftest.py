"""A project with an MLflow store of its own, a tiny captioner in it, and MLflow's server."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from wordgaze.vision.encoders import Encoder

MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID")
PATIENCE = 180  # seconds; the server imports all of MLflow


@pytest.fixture
def fresh_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit and params.yaml, as a stage that DVC runs sees it."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in (*MLFLOW, "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    author = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "start"], check=True)
    return tmp_path


@pytest.fixture
def project(fresh_project: Path, empty_database: Path) -> Path:
    """As ``fresh_project``, with a database that has its tables and nothing in them."""
    shutil.copy(empty_database, fresh_project / "mlflow.db")
    return fresh_project


@pytest.fixture(scope="session")
def shared_server(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that tests share; each takes names of its own for experiment and model."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    with mlflow_server(folder) as address:
        yield address


@pytest.fixture
def captioner(project: Path, write_captioner: Callable[..., Path]) -> Path:
    """A captioner folder, models/stage2."""
    return write_captioner(project / "models" / "stage2")


@pytest.fixture
def white_picture(project: Path) -> Path:
    path = project / "white.png"
    Image.new("RGB", (8, 8), "white").save(path)
    return path


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """``mlflow server`` on a free port of this machine, over ``folder/mlflow.db``; it keeps the artifacts itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {name: value for name, value in os.environ.items() if name not in MLFLOW}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"],
            cwd=folder, stdout=log, stderr=log, env=environment | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            start_new_session=True,
        )  # fmt: skip
        try:
            _wait_for(f"http://127.0.0.1:{port}", process, folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"no answer from {address}: {log.read_text()}")


COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (30, 40, 210), "yellow": (220, 210, 40)}


@dataclass(frozen=True)
class ColourCaptioners:
    """A folder of 32 coloured pictures with captions, an easier one, and captioners that name all colours (``good``),
    or all but one (``fair``), two (``poor``) or three of the four (``worst``)."""

    root: Path

    @property
    def pictures(self) -> Path:
        return self.root / "pictures"

    @property
    def easier(self) -> Path:
        return self.root / "easier"

    def __getitem__(self, name: str) -> Path:
        return self.root / "captioners" / name


@pytest.fixture(scope="session")
def colours(
    shared: Callable[[str, Callable[[Path], None]], Path], tiny_encoder: "Encoder", write_captioner: Callable[..., Path]
) -> ColourCaptioners:
    """Made once; nobody changes it."""

    def make(root: Path) -> None:
        write_colours(root / "pictures", list(COLOURS))
        write_colours(root / "easier", ["red"])
        write_colour_captioners(root / "pictures", root / "captioners", tiny_encoder)

    return ColourCaptioners(shared("colours", make))


def write_colours(folder: Path, names: list[str], num_images: int = 32) -> None:
    """Pictures of one colour each, in shades, and ``captions.csv`` with two captions for each."""
    folder.mkdir(parents=True)
    rows = ["image,caption"]
    for number in range(num_images):
        name = names[number % len(names)]
        shade = 0.7 + 0.3 * number / num_images
        Image.new("RGB", (8, 8), tuple(int(value * shade) for value in COLOURS[name])).save(folder / f"{number}.png")
        rows += [f"{number}.png,a {name} square", f"{number}.png,the {name} square is plain"]
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")


def write_colour_captioners(pictures: Path, folder: Path, encoder: "Encoder") -> None:
    """Trains a decoder for seconds, and makes the others of it by the biases of the words that they cannot say."""
    import torch

    from wordgaze.inference.captioner_folder import save_captioner
    from wordgaze.models.config import DecoderConfig
    from wordgaze.models.decoder import Decoder
    from wordgaze.text.vocabulary import END, SPECIAL, Vocabulary
    from wordgaze.vision.images import load_image

    vocabulary = Vocabulary((*SPECIAL, "a", "square", *COLOURS))
    words = {word: number for number, word in enumerate(vocabulary.words)}
    images = [load_image(pictures / f"{number}.png") for number in range(32)]
    names = [list(COLOURS)[number % len(COLOURS)] for number in range(32)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        features = encoder(encoder.pixels(images)).detach()
        config = DecoderConfig(embedding_size=8, hidden_size=16, attention_size=8, feature_size=16)
        decoder = Decoder(config, encoder.spec.channels, len(vocabulary))
        decoder.standardise(features)
        tokens = torch.tensor([[[words["a"], words[name], words["square"], END]] for name in names])
        optimizer = torch.optim.Adam(decoder.parameters(), lr=0.02)
        for _ in range(120):
            optimizer.zero_grad()
            output = decoder(features, tokens)
            torch.nn.functional.cross_entropy(output.logits, output.targets).backward()
            optimizer.step()
    unsaid = {"good": (), "fair": ("blue",), "poor": ("blue", "green"), "worst": ("blue", "green", "yellow")}
    for name, silent in unsaid.items():
        with torch.no_grad():
            decoder.lm_head.bias[[words[word] for word in silent]] = -100.0
        save_captioner(folder / name, decoder.eval(), vocabulary, encoder.spec, encoder.state_dict())
