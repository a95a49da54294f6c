"""The version of an output that DVC has in its cache, which the stage that makes it can start from.

DVC deletes an output before its stage runs. What the last complete run left is in DVC's cache by then, in a layout that
DVC documents: ``dvc.lock`` names the object of the folder, which lists the objects of its files.
"""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wordgaze.core.leftovers import temporary_folder

_LOCK = Path("dvc.lock")
_CACHE_SECONDS = 60.0
_MD5 = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[\w.-]*\w[\w.-]*")  # a file of the folder itself

_log = logging.getLogger(__name__)


@contextmanager
def previous_output(output: Path) -> Iterator[Path]:
    """Yields a folder with the files of the last complete version of ``output``, which is empty if there is none.

    The files are links to DVC's objects, which must not be changed. Those that the cache no longer has are missing.
    """
    with temporary_folder() as folder:
        for name, path in _files(output).items():
            if path.is_file():
                (folder / name).symlink_to(path)
        yield folder


def _files(output: Path) -> dict[str, Path]:
    """The objects of the files of an output by their names; none, without a message, where DVC does not know any."""
    digest = _locked(output)
    cache = _cache() if digest else None
    if not digest or not cache:
        return {}
    try:
        entries = [(each["relpath"], each["md5"]) for each in json.loads(_object(cache, digest, ".dir").read_bytes())]
        if not all(_NAME.fullmatch(name) and _MD5.fullmatch(md5) for name, md5 in entries):
            raise ValueError("an entry is not a file's name and checksum")
    except FileNotFoundError:  # another clone, or dvc gc
        return {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        _log.warning("DVC's cache has no readable list of %s (%s); all of it is computed", output, error)
        return {}
    return {name: _object(cache, md5) for name, md5 in entries}


def _locked(output: Path) -> str | None:
    """The checksum of the output in dvc.lock."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        lock: Any = YAML(typ="safe", pure=False).load(_LOCK.read_bytes())
        outs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
        digests = [out["md5"] for out in outs if out["path"] == output.as_posix() and out.get("hash") == "md5"]
    except (OSError, YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError):
        return None  # DVC itself says what is wrong with the file
    match = re.fullmatch(rf"({_MD5.pattern})\.dir", str(digests[0])) if digests else None
    return match[1] if match else None


def _cache() -> Path | None:
    """The folder of DVC's cache; that of the original project in the copy of it that an experiment runs in."""
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_CACHE_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.splitlines()
    return Path(lines[-1]) if lines else None


def _object(cache: Path, digest: str, suffix: str = "") -> Path:
    return cache / "files" / "md5" / digest[:2] / f"{digest[2:]}{suffix}"
