"""The fingerprint of a stage's source code: unfinished work is resumed only by the code that began it."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wordgaze.core.errors import ParamsError

_PIPELINE = Path("dvc.yaml")
_SOURCE_FOLDERS = ("src", "pipeline")  # a dependency in any other folder is data
_PACKAGE = Path(__file__).parents[1]


def code_fingerprint(stage: str) -> str:
    """Sixteen hexadecimal digits that change whenever the source code of ``stage`` changes.

    The source code is what ``dvc.yaml`` in the working directory lists for the stage below ``src/`` and ``pipeline/``,
    so a resumed stage and DVC's cache agree about what has changed. A project that runs an installed wordgaze lists no
    source code; there it is the whole installed package. Raises ParamsError if ``dvc.yaml`` is not
    YAML.
    """
    listed = [path for path in _dependencies(stage) if path.parts[:1] and path.parts[0] in _SOURCE_FOLDERS]
    if listed:
        return _hash((path.as_posix(), path) for root in listed for path in _files(root))
    return _hash((path.relative_to(_PACKAGE).as_posix(), path) for path in _files(_PACKAGE))


def _dependencies(stage: str) -> list[Path]:
    """The dependencies that ``dvc.yaml`` lists for a stage; none if there is no such file or stage."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not _PIPELINE.is_file():
        return []
    try:
        content: Any = YAML(typ="safe").load(_PIPELINE.read_bytes()) or {}
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{_PIPELINE} is not YAML: {' '.join(str(error).split())}") from error
    dependencies = content.get("stages", {}).get(stage, {}).get("deps", [])
    return [Path(dep if isinstance(dep, str) else next(iter(dep))) for dep in dependencies]


def _files(root: Path) -> Iterator[Path]:
    """The files of a folder and its subfolders in a fixed order, without those that Python compiles."""
    paths = sorted(root.rglob("*")) if root.is_dir() else [root]
    return (path for path in paths if path.is_file() and "__pycache__" not in path.parts)


def _hash(files: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(f"\n{name} ".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
