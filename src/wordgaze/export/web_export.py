"""Exports a captioner as a page: static files that caption images in the browser, on any server, and offline.

The folder is an exported captioner as well: ``wordgaze caption`` and ``wordgaze conformance`` take it.
"""

import hashlib
import json
import shutil
from importlib.resources import as_file, files
from pathlib import Path

from wordgaze.core.errors import ModelError
from wordgaze.core.files import atomic_directory, check_output_folder, sha256
from wordgaze.export.onnx_export import ExportSettings, check_export_target, write_exported
from wordgaze.export.web_runtime import write_web_runtime
from wordgaze.inference.captioner_folder import read_card
from wordgaze.text.tokenizers import STORED

SERVICE_WORKER, PAGE = "service-worker.js", "index.html"
_LICENCE = "ort-license.txt"


def export_web(source: Path, folder: Path, settings: ExportSettings, runtime: Path | None = None) -> int:
    """Writes the captioner in ``source`` as a page to ``folder``, whole or not at all; returns the bytes of all files.

    ``runtime`` is the package of ONNX Runtime Web, as in :func:`wordgaze.export.web_runtime.write_web_runtime`. Raises
    the errors of :func:`wordgaze.export.onnx_export.export_onnx`, and DownloadError.
    """
    check_export_target(folder, settings.overwrite)
    check_output_folder(folder, "FOLDER")
    if (tokenizer := read_card(source).tokenizer) in STORED:
        raise ModelError(f"the words of {source} are pieces from {tokenizer}, which a page cannot join; use --to onnx")
    with atomic_directory(folder) as temporary:
        write_web_runtime(temporary / "ort", runtime)  # first: it fails sooner than the export is done
        write_exported(source, temporary, settings)
        write_page(temporary)
        return sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())


def write_page(folder: Path) -> None:
    """Adds the files of the page to the folder of an exported captioner with its runtime."""
    with as_file(files("wordgaze.export") / "page") as page:
        for path in sorted(page.iterdir()):
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
    (folder / _LICENCE).rename(folder / "ort" / "LICENSE")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    kept = [name for name in names if name != SERVICE_WORKER]
    version = hashlib.sha256("".join(sha256(folder / name) for name in kept).encode()).hexdigest()[:16]
    kept = [".", *(name for name in kept if name != PAGE)]  # the page is asked for by its folder
    script = (folder / SERVICE_WORKER).read_text(encoding="utf-8")
    script = script.replace("__VERSION__", version).replace('["__FILES__"]', json.dumps(kept, indent=2))
    (folder / SERVICE_WORKER).write_text(script, encoding="utf-8", newline="\n")
