"""The files of ONNX Runtime Web, from its package on npm."""

import gzip
import os
import tarfile
from pathlib import Path

from wordgaze.core.errors import DownloadError, ModelError
from wordgaze.core.files import sha256
from wordgaze.data.datasets.fetch import fetch

RUNTIME_VERSION = "1.30.0"
RUNTIME_ADDRESS = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{RUNTIME_VERSION}.tgz"
RUNTIME_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
_MODULE, _BINARY = "package/dist/ort.wasm.bundle.min.mjs", "package/dist/ort-wasm-simd-threaded.wasm"


def write_web_runtime(folder: Path, archive: Path | None = None) -> None:
    """Writes the module of the runtime and its WebAssembly, compressed, to ``folder``.

    ``archive`` is the package, an ``onnxruntime-web-VERSION.tgz``; without it the pinned version is downloaded once and
    kept in the user's cache. Raises DownloadError if it cannot be downloaded, and ModelError for an archive that is
    not that package.
    """
    package = archive or _downloaded()
    if not package.is_file():
        raise ModelError(f"{package} does not exist; give --runtime the file onnxruntime-web-{RUNTIME_VERSION}.tgz")
    if sha256(package) != RUNTIME_SHA256:
        raise ModelError(
            f"{package} is not onnxruntime-web {RUNTIME_VERSION} (SHA-256); get it with"
            f" npm pack onnxruntime-web@{RUNTIME_VERSION}"
        )
    folder.mkdir()
    with tarfile.open(package) as tar:
        for name, target in ((_MODULE, Path(_MODULE).name), (_BINARY, "ort-wasm.gzip")):
            member = tar.extractfile(name)
            assert member is not None
            data = member.read()
            (folder / target).write_bytes(gzip.compress(data, 9, mtime=0) if name == _BINARY else data)


def _downloaded() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wordgaze"
    try:
        return fetch(RUNTIME_ADDRESS, cache, RUNTIME_SHA256)
    except DownloadError as error:
        raise DownloadError(
            f"{error}; or get the file with npm pack onnxruntime-web@{RUNTIME_VERSION} and give it as --runtime"
        ) from error
