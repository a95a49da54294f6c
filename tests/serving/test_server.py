"""A real server, in a process of its own, asked over HTTP."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from wordgaze.core.errors import ModelError, TrackingError, WordgazeError
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.predictions import NO_PREDICTION
from wordgaze.serving.application import MAX_REQUEST, ServeSettings
from wordgaze.serving.served_model import ServedModel
from wordgaze.serving.server import serve
from wordgaze.tracking.names import CHAMPION
from wordgaze.tracking.package import save_packaged
from wordgaze.tracking.store import open_store
from wordgaze.vision.images import load_image

COMMAND = "import sys; from wordgaze.cli import main; sys.argv[0] = 'wordgaze'; main()"
SOURCE = Path(__file__).parents[2] / "src"

MODEL_NAME = "captioner"

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def champion(project: Path, captioner: Path) -> None:
    """A packaged captioner in the registry, as its champion."""
    save_packaged(project / "packaged", captioner)
    client = open_store().client
    client.create_registered_model(MODEL_NAME)
    version = client.create_model_version(MODEL_NAME, str(project / "packaged"))
    client.set_registered_model_alias(MODEL_NAME, CHAMPION, version.version)


@pytest.fixture
def server(project: Path, champion: None) -> Iterator["subprocess.Popen[str]"]:
    """``wordgaze serve`` at a free port, in a process group of its own that does not outlive the test."""
    started = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "serve", "--port", "0"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with started:
        yield started
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)


@pytest.fixture
def address(server: "subprocess.Popen[str]") -> str:
    """Where the server answers, once it does."""
    assert server.stdout is not None
    assert server.stderr is not None
    line = server.stdout.readline()
    assert line.startswith("models:/captioner@champion answers at http://127.0.0.1:"), server.stderr.read()
    return line.split()[3].removesuffix(";")


@pytest.fixture
def ask(address: str) -> Ask:
    """Sends a request; gives the status and the answer."""

    def ask(body: bytes | list[Any] | dict[str, Any], **headers: str) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(address, data, {"Content-Type": "application/json", **headers})
        try:
            with urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return ask


def sent_in_chunks(address: str, length: int) -> tuple[int, str]:
    """What the server answers to a body of unknown length, as soon as it answers."""
    url = urlsplit(address)
    with closing(HTTPConnection(url.netloc, timeout=60)) as connection:
        connection.putrequest("POST", url.path)
        for name, text in (("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")):
            connection.putheader(name, text)
        connection.endheaders()
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(length >> 20):
                connection.send(b"100000\r\n" + b" " * 2**20 + b"\r\n")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def refused(address: str, header: str, value: str) -> tuple[int, str]:
    """What the server answers to a request before its body is sent."""
    url = urlsplit(address)
    with closing(HTTPConnection(url.netloc, timeout=60)) as connection:
        connection.putrequest("POST", url.path)
        for name, text in (("Content-Type", "application/json"), (header, value)):
            connection.putheader(name, text)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_the_champion_answers_over_http(
    ask: Ask, address: str, server: "subprocess.Popen[str]", captioner: Path, white_picture: Path, project: Path
) -> None:
    image = {"image": base64.b64encode(white_picture.read_bytes()).decode()}
    known = Captioner.load(captioner, "cpu")

    status, answer = ask({"dataframe_records": [image, image]})
    [best] = known.caption([load_image(white_picture)], GenerationConfig())[0]
    assert status == 200
    assert [row["caption"] for row in answer["predictions"]] == [best.text] * 2
    row = answer["predictions"][0]
    assert row.keys() == NO_PREDICTION.keys()
    assert row["words"] == list(best.words)
    assert row["word_log_probs"] == pytest.approx(best.word_log_probs, abs=1e-4)

    text, lines = image["image"], base64.encodebytes(white_picture.read_bytes()).decode()
    forms = [lines, text.rstrip("=").replace("+", "-").replace("/", "_"), f"data:image/png;base64,{text}", f" {text}\n"]
    status, answer = ask({"dataframe_records": [{"image": form} for form in forms]})
    assert (status, [row["caption"] for row in answer["predictions"]]) == (200, [best.text] * 4)
    shell = b'{"dataframe_records": [{"image": "' + lines.encode() + b'"}]}'  # "$(base64 white.png)", not valid JSON
    status, answer = ask(shell)
    assert (status, [row["caption"] for row in answer["predictions"]]) == (200, [best.text])

    params = {
        "strategy": "sample",
        "num_return_sequences": 3,
        "temperature": 2,
        "seed": 4,
        "attention": True,
        "bad_words": ["dog"],
    }
    status, answer = ask({"dataframe_records": [image], "params": params})
    decode = GenerationConfig(strategy="sample", num_return_sequences=3, temperature=2, bad_words=("dog",))
    [found] = known.caption([load_image(white_picture)], decode, seed=4)
    [row] = answer["predictions"]
    assert [one["caption"] for one in row["captions"]] == [one.text for one in found]
    assert row["caption"] == found[0].text
    assert row["grid"] == [2, 2]
    for generated, one in zip(row["captions"], found, strict=True):
        assert generated["attention"] == [pytest.approx(of_word, abs=1e-4) for of_word in one.weights.tolist()]

    for body, message in (
        ({"dataframe_records": [{"image": str(white_picture)}]}, "is not valid base64, and paths are not opened here"),
        ({"dataframe_records": [image, {"image": "aGVsbG8="}]}, "picture 2: is not a JPEG"),
        (
            {"dataframe_records": [image, {"image": "SECRET!" * 99}]},
            "picture 2: is not valid base64, and paths are not",
        ),
        ({"dataframe_records": [{"image": "data:image/png,SECRET"}]}, "picture 1: is a data URL without ;base64"),
        (b'{"dataframe_records": [{"image": "SECRET\\x"}]}', "the request is not valid JSON (Invalid \\escape"),
        (b'{"dataframe_records": [{"image": "SECRET\xff"}]}', "the request is not valid JSON ('utf-8' codec can't"),
        ([{"image": "SECRET"}], "Received a list"),
        (
            {"dataframe_records": [image], "params": {"beamwidth": 3}},
            "beamwidth: not a valid parameter; valid are attention",
        ),
        ({"dataframe_records": [image], "params": {"num_beams": 0}}, "num_beams must be at least 1, not 0"),
        ({"dataframe_records": [image], "params": {"force_words": ["zebra"]}}, "zebra"),
        ({"dataframe_records": [{"picture": ""}]}, "Model is missing inputs ['image']"),
        (b'{"dataframe', "valid JSON"),
    ):
        status, answer = ask(body)
        assert status == 400
        assert message in json.loads(answer)["message"]
        assert not [word for word in ("Traceback", "stack_trace", "SECRET") if word in answer], answer
    status, answer = ask(b"image\nx\n", **{"Content-Type": "text/csv"})
    assert (status, json.loads(answer)["message"]) == (415, "send JSON, with the header Content-Type: application/json")
    too_much = f"the request has more than the {MAX_REQUEST} bytes allowed; send less at once\n"
    assert refused(address, "Content-Length", str(2**40)) == (413, too_much)
    assert sent_in_chunks(address, MAX_REQUEST + 2**20) == (413, too_much)

    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=30) == 0
    assert server.stderr is not None
    assert server.stderr.read() == ""
    assert not list((project / "packaged").rglob("__pycache__"))


def test_what_cannot_be_served_is_reported_at_once(captioner: Path, project: Path) -> None:
    with pytest.raises(
        ModelError, match="nothing does not contain a captioner; run dvc repro, or give --model a folder"
    ):
        serve("nothing", "127.0.0.1", 0, ServeSettings(), print, print)
    with pytest.raises(TrackingError, match=r"cannot find models:/captioner@champion .* or run `wordgaze register`"):
        serve("models:/captioner@champion", "127.0.0.1", 0, ServeSettings(), print, print)
    save_packaged(project / "packaged", captioner)
    card = project / "packaged" / "MLmodel"
    card.write_text(card.read_text().replace('"attention"', '"gaze"'))
    client = open_store().client
    client.create_registered_model(MODEL_NAME)
    older = client.create_model_version(MODEL_NAME, str(project / "packaged"))
    with pytest.raises(TrackingError, match=r"captioner/1 was packaged by another version .* lacks attention; run"):
        serve(f"models:/{MODEL_NAME}/{older.version}", "127.0.0.1", 0, ServeSettings(), print, print)
    with pytest.raises(WordgazeError, match=r"256.0.0.1:5001 is not available .* another --host or --port"):
        serve(str(captioner), "256.0.0.1", 5001, ServeSettings(), print, print)


def test_the_code_of_a_registered_model_does_not_run(captioner: Path, project: Path) -> None:
    save_packaged(project / "packaged", captioner)
    trap = f"import pathlib\npathlib.Path({str(project / 'trap')!r}).touch()\n"
    for path in (project / "packaged").rglob("*.py"):
        path.write_text(trap)
    client = open_store().client
    client.create_registered_model(MODEL_NAME)
    version = client.create_model_version(MODEL_NAME, str(project / "packaged")).version
    loaded = ServedModel.load(f"models:/{MODEL_NAME}/{version}")
    assert (loaded.name, loaded.version) == (f"captioner/{version}", f"version {version}")
    assert loaded.generation == GenerationConfig()
    assert not (project / "trap").exists()
