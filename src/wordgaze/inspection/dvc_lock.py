"""``dvc.lock`` after a kill: DVC writes it in place, and refuses every command while it is truncated."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from wordgaze.core.files import write_text

LOCK = Path("dvc.lock")
_HASH = re.compile(r"[0-9a-f]{32}(\.dir)?")


def find_lock_fault(text: str) -> str:
    """What is wrong with the text of a ``dvc.lock``, in one line; "" for a sound one."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if "\0" in text:
        return "it has null bytes"
    try:
        content = YAML(typ="safe").load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        return f"it is not YAML from line {mark.line + 1} on" if mark else "it is not YAML"
    if not isinstance(content, dict) or not isinstance(content.get("schema"), str):
        return "it has no schema"
    stages = content.get("stages")
    if not isinstance(stages, dict):
        return "it has no stages"
    broken = [str(name) for name, stage in stages.items() if not _is_whole(stage)]
    return f"the stage {broken[0]} is not whole" if broken else ""


def mend_lock(path: Path = LOCK) -> str:
    """Replaces a damaged ``dvc.lock`` by that of the last commit; without a sound one there, DVC writes a new one.

    Returns what was done. The damaged file is kept. The stages that are not in the new file run again, unless DVC's run
    cache has their outputs.
    """
    aside = path.with_name(f"{path.name}.damaged")
    os.replace(path, aside)
    committed = _committed(path)
    if committed is None or find_lock_fault(committed):
        return f"it is now {aside}; dvc repro writes a new one, and takes finished stages from its cache"
    write_text(path, committed)
    return f"it is now {aside}, and {path} is that of the last commit; dvc repro takes finished stages from its cache"


def read_lock_fault(path: Path = LOCK) -> str:
    """As :func:`find_lock_fault`, of a file; "" if there is none."""
    try:
        return find_lock_fault(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        return "it is not UTF-8"


def _is_whole(stage: Any) -> bool:
    """Whether a stage has its command, and each file of it a path and, unless it is cloud storage's, an MD5 hash."""
    if not isinstance(stage, dict) or not isinstance(stage.get("cmd"), str | list):
        return False
    files = [*(stage.get("deps") or ()), *(stage.get("outs") or ())]
    return all(
        isinstance(file, dict) and isinstance(file.get("path"), str) and _HASH.fullmatch(str(file.get("md5", "0" * 32)))
        for file in files
    ) and all(len(file) > 1 for file in files)


def _committed(path: Path) -> str | None:
    command = ["git", "show", f"HEAD:./{path.as_posix()}"]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    except (OSError, UnicodeDecodeError):
        return None
    return done.stdout if done.returncode == 0 else None
