"""Every shell block and Python block of the README and of the documentation runs in a small finished project, or carries
the reason why it does not: ``<!-- not run: reason -->`` in front of it.

The blocks of a page run in their order, in one shell, in one copy of the project. The ports in them are replaced by free
ones, so that no other server of this machine answers. ``wordgaze`` is the command of preloaded.py, which starts quickly.
"""

import csv
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.docs.blocks import BLOCKS, CHECKOUT, PAGES, RUN, SHELL, Block

SECONDS = 300  # at most, for all blocks of one page
PORTS = ("5001", "7860")
EXECUTED = [block for block in BLOCKS if block.language in RUN and block.reason is None]
PAGES_TO_RUN = [page for page in PAGES if any(block.page == page for block in EXECUTED)]


def test_every_block_names_its_language() -> None:
    """A shell block without a language would be run by nobody."""
    assert BLOCKS
    assert [block.place for block in BLOCKS if not block.language] == []


def test_every_shell_block_is_run_or_generates_why_not() -> None:
    shell = [block for block in BLOCKS if block.language in SHELL]
    executed = [block for block in shell if block.reason is None]
    reasons = [block.reason for block in shell if block.reason is not None]
    print(f"{len(executed)} shell blocks are run, {len(reasons)} are not:")
    print("\n".join(f"{block.place}: {block.reason}" for block in shell if block.reason is not None))
    assert len(executed) >= 25
    assert all(len(reason.split()) >= 3 for reason in reasons)
    assert {CHECKOUT / "README.md", CHECKOUT / "docs/tutorials/first-captioner.md"} <= {
        block.page for block in executed
    }


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the commands ``wordgaze`` and ``run-python``, whose imports are done."""
    with preloaded_commands(tmp_path_factory.mktemp("commands")) as folder:
        yield folder


@contextmanager
def preloaded_commands(folder: Path) -> Iterator[Path]:
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(CHECKOUT / "tests/docs/preloaded.py"), str(folder)]
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        until = time.monotonic() + SECONDS
        while not (folder / "run-python").exists():
            assert server.poll() is None, "the server of the commands has ended"
            assert time.monotonic() < until
            time.sleep(0.05)
        yield folder
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # and the servers that the blocks have started
        server.wait()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_TO_RUN, ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_the_blocks_of_a_page_run(page: Path, copied: Callable[[], Project], commands: Path) -> None:
    project = copied()
    add_files(project.root)
    blocks = [block for block in EXECUTED if block.page == page]
    began = time.monotonic()
    output = run_script(project, script(blocks), commands)
    print(f"{page.name}: {len(blocks)} blocks in {time.monotonic() - began:.1f} s")
    last = [line for line in output.splitlines() if line.startswith("=== ")][-1:]
    assert output.rstrip().endswith("=== end"), f"{last} failed:\n{output}"


@pytest.mark.slow
def test_the_server_of_the_readme_answers_and_its_log_is_watched(copied: Callable[[], Project], commands: Path) -> None:
    """The README leaves out the requests, for which the server waits. The dev part is too small to compare with."""
    [block] = [each for each in BLOCKS if each.page.name == "README.md" and "waits for requests" in (each.reason or "")]
    lines = {line.split()[1]: line.partition("  #")[0] for line in block.code.splitlines()}
    assert list(lines) == ["serve", "watch", "retrain"]
    text = "\n".join([
        "set -euo pipefail",
        f"{lines['serve'].replace(' >', ' --port 5001 >')} &",
        "curl -s --retry 200 --retry-delay 1 --retry-connrefused http://127.0.0.1:5001/ping",
        "for image in $(ls data/raw/images/* | head -24); do",
        """  printf '{"inputs": ["%s"]}' $(base64 -w 0 $image) |""",
        "  curl -sf http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d @- | grep -q caption",
        "done",
        f"{lines['watch']} --reference data/raw/images || test $? = 3  # 3 is drift",
        "echo '=== end'",
    ])  # fmt: skip
    output = run_script(copied(), text.replace("5001", str(free_port())), commands)
    assert output.rstrip().endswith("=== end"), output
    assert "24 captions against 60" in output


def script(blocks: list[Block]) -> str:
    """One shell script that announces each block and stops at the first error."""
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for block in blocks:
        code = block.code
        if block.language == "python":
            code = f"cat > block.py <<'END_OF_PYTHON'\n{code}END_OF_PYTHON\nrun-python block.py"
        lines += [f"echo; echo {shlex.quote(f'=== {block.place}')} after $SECONDS s", code]
    text = "\n".join([*lines, "echo; echo '=== end'\n"])
    for port in PORTS:
        text = text.replace(port, str(free_port()))
    return text


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def run_script(project: Project, text: str, commands: Path) -> str:
    """What the script prints. Ends it, and every process that it has left running."""
    environment = project.environment() | {"PYTHONPATH": str(CHECKOUT / "src"), "no_proxy": "127.0.0.1"}
    environment["PATH"] = f"{commands}{os.pathsep}{environment['PATH']}"
    path = project.root.parent / "blocks.sh"
    path.write_text(text, encoding="utf-8")
    log = project.root.parent / "blocks.log"  # a pipe would stay open as long as a server runs
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["bash", str(path)], cwd=project.root, env=environment, stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            file.write(f"\nnot done after {SECONDS} s\n".encode())
        finally:
            with suppress(ProcessLookupError):  # nothing is left where no server was started
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return log.read_text(encoding="utf-8", errors="replace")


def add_files(root: Path) -> None:
    """The files that the blocks name: images, a data set of one's own, captions and references."""
    with (root / "reports" / "captions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    images = root / "data" / "raw" / "images"
    shutil.copy(images / rows[0]["image"], root / "photo.jpg")
    (root / "holiday").mkdir()
    for name, row in zip(("a.jpg", "b.jpg"), rows, strict=False):
        shutil.copy(images / row["image"], root / "holiday" / name)
    references = {row["image"]: row["references"].split(" | ") for row in rows}
    write_table(
        root / "holiday.csv", [("a.jpg", rows[0]["references"]), ("b.jpg", rows[1]["references"])], "references"
    )
    write_table(
        root / "references.csv", [(image, " | ".join(of_image)) for image, of_image in references.items()], "references"
    )
    write_table(root / "mine.csv", [(row["image"], row["beam"]) for row in rows], "caption")
    write_table(root / "theirs.csv", [(row["image"], row["greedy"]) for row in rows], "caption")
    write_coco(root, rows, references)
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "activate").write_text("")  # the environment of this test is active already


def write_table(path: Path, rows: list[tuple[str, str]], column: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image", column), *rows])


def write_coco(root: Path, rows: list[dict[str, str]], references: dict[str, list[str]]) -> None:
    """captions.json: COCO results; references.json: COCO annotations. test_captions.json, captions_val2014.json and
    dataset_coco.json: the captions of the test part, and the references of all in the layouts of COCO and Karpathy."""
    numbers = {row["image"]: number for number, row in enumerate(rows, start=1)}
    results = [{"image_id": numbers[row["image"]], "caption": row["beam"]} for row in rows]
    annotations = {
        "images": [{"id": number, "file_name": image} for image, number in numbers.items()],
        "annotations": [
            {"image_id": numbers[image], "caption": text} for image, of_image in references.items() for text in of_image
        ],
    }
    (root / "captions.json").write_text(json.dumps(results), encoding="utf-8")
    (root / "references.json").write_text(json.dumps(annotations), encoding="utf-8")
    half = len(rows) // 2
    karpathy = [
        {
            "filename": image,
            "cocoid": number,
            "split": "test" if number <= half else "val",
            "sentences": [{"raw": text} for text in references[image]],
        }
        for image, number in numbers.items()
    ]
    (root / "test_captions.json").write_text(json.dumps(results[:half]), encoding="utf-8")
    (root / "captions_val2014.json").write_text(json.dumps(annotations), encoding="utf-8")
    (root / "dataset_coco.json").write_text(json.dumps({"images": karpathy}), encoding="utf-8")
