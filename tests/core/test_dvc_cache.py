"""The last version of a stage's output is found in DVC's cache, and whatever is wrong there costs no more than time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wordgaze.core import dvc_cache
from wordgaze.core.dvc_cache import previous_output

OUT = Path("data/out")
PIPELINE = "stages:\n  make:\n    cmd: mkdir -p data/out && echo one > data/out/a.txt\n    outs: [data/out]\n"


def found(output: Path = OUT) -> dict[str, str]:
    with previous_output(output) as folder:
        return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def test_dvc_itself_leaves_what_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet"], check=True)
    (OUT / "a.txt").unlink()
    assert found() == {"a.txt": "one\n"}


def write_object(cache: Path, digest: str, content: str) -> Path:
    path = cache / "files" / "md5" / digest[:2] / digest[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with an output of two files, in a project whose lock names it."""
    monkeypatch.chdir(tmp_path)
    cache = tmp_path / "cache"
    monkeypatch.setattr(dvc_cache, "_cache", lambda: cache)
    digests = {name: name * 32 for name in "ab"}
    write_object(cache, "c" * 32 + ".dir", json.dumps([{"md5": d, "relpath": f"{n}.txt"} for n, d in digests.items()]))
    for name, digest in digests.items():
        write_object(cache, digest, name)
    write_lock("c" * 32 + ".dir")
    return cache


def write_lock(digest: str) -> None:
    out = {"path": OUT.as_posix(), "hash": "md5", "md5": digest}
    Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"make": {"cmd": "x", "outs": [out]}}}))


@pytest.mark.usefixtures("cache")
def test_all_files_are_found_by_their_names() -> None:
    assert found() == {"a.txt": "a", "b.txt": "b"}
    assert found(Path("data/other")) == {}


def test_a_file_that_the_cache_has_lost_is_missing(cache: Path) -> None:
    write_object(cache, "a" * 32, "").unlink()
    assert found() == {"b.txt": "b"}


def test_another_clone_has_nothing(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_object(cache, "c" * 32 + ".dir", "").unlink()
    assert found() == {}
    assert caplog.messages == []


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("digest", ["c" * 32, "../" * 10 + "etc.dir", "", "C" * 32 + ".dir"])
def test_a_lock_that_names_no_folder_finds_nothing(digest: str) -> None:
    write_lock(digest)
    assert found() == {}


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("content", ["", "stages: [1", "stages: {make: 3}", "{}", "\0"])
def test_a_broken_lock_finds_nothing(content: str) -> None:
    Path("dvc.lock").write_text(content)
    assert found() == {}


@pytest.mark.parametrize(
    "content",
    ["[", "{}", "[1]", "null", '[{"relpath": "a.txt"}]', '[{"relpath": "a.txt", "md5": "../../x"}]',
     f'[{{"relpath": "../a.txt", "md5": "{"a" * 32}"}}]'],
)  # fmt: skip
def test_a_damaged_list_is_one_warning(cache: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    write_object(cache, "c" * 32 + ".dir", content)
    assert found() == {}
    if content != "{}":  # an empty list
        [line] = caplog.messages
        assert line.startswith("DVC's cache has no readable list of data/out")
