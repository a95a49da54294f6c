"""The packaged captioner answers in a new environment with nothing but its own requirements.

    python scripts/clean_environment.py [CAPTIONER_FOLDER]

Packages the captioner (by default ``photos``), makes a virtual environment with uv, installs the requirements that the
package names and nothing else, starts MLflow's own server there, and compares what it answers to 20 users at once with
what the captioner says here. The environment is in a temporary folder and takes the packages from uv's cache.
"""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

import wordgaze
from wordgaze.tracking.package import save_packaged
from wordgaze.tracking.resolve import resolve_model

UV = Path(sys.executable).with_name("uv")
USERS = 20
PATIENCE = 300  # seconds for the server to start


def picture(number: int) -> bytes:
    """A gradient as a PNG file."""
    file = BytesIO()
    Image.radial_gradient("L").rotate(17 * number).convert("RGB").save(file, "PNG")
    return file.getvalue()


def run(*command: object) -> None:
    """Runs a command without this environment's variables."""
    subprocess.run(list(map(str, command)), check=True, env=clean_variables())


def clean_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def ask(port: int, image: bytes) -> str:
    """The caption of an image."""
    body = json.dumps({"dataframe_records": [{"image": base64.b64encode(image).decode()}]}).encode()
    url, headers = f"http://127.0.0.1:{port}/invocations", {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=PATIENCE) as answer:  # nosec B310  # a loopback address
        return str(json.load(answer)["predictions"][0]["caption"])


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Returns once the server answers."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):  # nosec B310  # a loopback address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise SystemExit("the server did not start")


def main() -> None:
    folder = resolve_model(sys.argv[1] if len(sys.argv) > 1 else "photos")
    images = [picture(number) for number in range(USERS)]
    expected = [captions[0].text for captions in wordgaze.load(folder, "cpu").caption(images)]
    with TemporaryDirectory() as place, socket.socket() as free:
        model, environment = Path(place) / "model", Path(place) / "environment"
        save_packaged(model, folder)
        run(UV, "venv", "--quiet", "--python", sys.executable, environment)
        run(UV, "pip", "install", "--quiet", "--python", environment / "bin/python", "-r", model / "requirements.txt")
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [
            environment / "bin/mlflow",
            "models",
            "serve",
            "-m",
            model,
            "--env-manager",
            "local",
            "-p",
            str(port),
        ]
        path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=place,
            env=clean_variables() | {"PATH": path, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_for(port, process)
            started = time.perf_counter()
            with ThreadPoolExecutor(USERS) as pool:
                answers = list(pool.map(lambda image: ask(port, image), images))
            seconds = time.perf_counter() - started
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)
    equal = sum(mine == other for mine, other in zip(expected, answers, strict=True))
    print(f"{equal} of {USERS} captions are equal; {USERS} users at once: {USERS / seconds:.1f} requests/s")
    sys.exit(equal != USERS)


if __name__ == "__main__":
    main()
