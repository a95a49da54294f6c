"""The files of ONNX Runtime Web, from its package on npm."""

import gzip
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from wordgaze.core.errors import DownloadError, ModelError
from wordgaze.core.files import atomic_write, sha256

RUNTIME_VERSION = "1.30.0"
RUNTIME_PACKAGE = f"onnxruntime-web@{RUNTIME_VERSION}"
RUNTIME_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
_MODULE, _BINARY = "package/dist/ort.wasm.bundle.min.mjs", "package/dist/ort-wasm-simd-threaded.wasm"


def write_web_runtime(folder: Path, archive: Path | None = None) -> None:
    """Writes the module of the runtime and its WebAssembly, compressed, to ``folder``.

    ``archive`` is the package, an ``onnxruntime-web-VERSION.tgz``; without it :func:`fetch_runtime` gets it. Raises
    DownloadError if that fails, and ModelError for an archive that is not that package.
    """
    package = archive or fetch_runtime()
    if not package.is_file():
        raise ModelError(f"{package} does not exist; give --runtime the file onnxruntime-web-{RUNTIME_VERSION}.tgz")
    if sha256(package) != RUNTIME_SHA256:
        raise ModelError(
            f"{package} is not onnxruntime-web {RUNTIME_VERSION} (SHA-256); get it with npm pack {RUNTIME_PACKAGE}"
        )
    folder.mkdir()
    with tarfile.open(package) as tar:
        for name, target in ((_MODULE, Path(_MODULE).name), (_BINARY, "ort-wasm.gzip")):
            member = tar.extractfile(name)
            assert member is not None
            data = member.read()
            (folder / target).write_bytes(gzip.compress(data, 9, mtime=0) if name == _BINARY else data)


def cached_runtime() -> Path:
    """Where the package of ONNX Runtime Web is kept once it was fetched."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "wordgaze" / f"onnxruntime-web-{RUNTIME_VERSION}.tgz"


def fetch_runtime() -> Path:
    """The package of ONNX Runtime Web in the user's cache, fetched by ``npm pack`` the first time.

    npm knows the registry of its user. Raises DownloadError if npm is missing or fails, or brings another package.
    """
    kept = cached_runtime()
    if kept.is_file():
        return kept
    advice = f"run npm pack {RUNTIME_PACKAGE} on a machine that has npm, and give --runtime the file"
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError(f"npm is not on the PATH, which fetches {RUNTIME_PACKAGE}; {advice}")
    with atomic_write(kept) as temporary:
        folder = temporary.with_suffix(".npm")
        folder.mkdir()
        try:
            _pack(npm, folder, advice)
            shutil.move(folder / kept.name, temporary)
        finally:
            shutil.rmtree(folder)
        if sha256(temporary) != RUNTIME_SHA256:
            raise DownloadError(f"npm brought another {RUNTIME_PACKAGE} than the pinned one (SHA-256); {advice}")
    return kept


def _pack(npm: str, folder: Path, advice: str) -> None:
    command = [npm, "pack", "--silent", RUNTIME_PACKAGE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise DownloadError(f"npm cannot fetch {RUNTIME_PACKAGE} ({reason:.200}); {advice}")
