"""Files from elsewhere, brought here whole."""

import http.client
import json
import os
import re
import ssl
import time
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, url2pathname, urlopen

from filelock import FileLock

from wordgaze.core import files
from wordgaze.core.errors import DownloadError
from wordgaze.core.paths import home
from wordgaze.core.progress import Report

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as cut."""

PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each try."""

_CHUNK = 2**20
_CHECKSUM_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_PASSING = (URLError, TimeoutError, ConnectionError, http.client.HTTPException, ssl.SSLError)


class NotThereError(DownloadError):
    """The place was reached and holds no such file."""


def _silent(done: int, total: int | None) -> None:
    """Reports to nobody."""


def fetch(address: str, into: Path, sha256: str | None = None, progress: Report = _silent) -> Path:
    """Brings one file here and gives its path.

    ``address`` is ``http(s)://``, ``file://`` or a path; a relative path starts at :func:`wordgaze.core.paths.home`. A
    local file stays where it is. A download goes to ``into/NAME``; it is kept there and not fetched again. Cut off,
    it stays as ``into/NAME.part`` and is taken up where it stopped, unless the file at the address has changed.
    ``sha256`` is 64 hexadecimal digits. Raises NotThereError where there is no such file, else DownloadError.
    """
    local = local_path(address)
    if local is None:
        try:
            return _fetch_remote(address, into, sha256, progress)
        except OSError as error:
            raise DownloadError(f"{address} cannot be saved in {into}: {error.strerror or error}") from error
    if not local.exists():
        raise NotThereError(f"{local}: there is no such file; check the path or give another address")
    if not local.is_file():
        raise DownloadError(f"{local}: is not a file; give the path of a file")
    if sha256 is not None and (found := files.sha256(local)) != sha256.lower():
        raise DownloadError(f"{local} has the checksum {found}, not {sha256.lower()}; get a fresh copy of it")
    return local


def checksums(folder: str) -> dict[str, str]:
    """What ``folder/SHA256SUMS`` says, by base name; empty where the folder (a path or an address) has none."""
    address = f"{folder}/SHA256SUMS"
    with TemporaryDirectory() as temporary:  # never from a cache: a mirror may replace its files
        try:
            text = fetch(address, Path(temporary)).read_text(encoding="utf-8")
        except NotThereError:
            return {}
        except UnicodeDecodeError as error:
            raise DownloadError(f"{address} is not a text file; write it with sha256sum") from error
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _CHECKSUM_LINE.fullmatch(line.strip())
        if match is None:
            if line.strip():
                raise DownloadError(f"{address}:{number} is not a checksum and a name; write it with sha256sum")
            continue
        digits, name = match[1].lower(), PureWindowsPath(match[2]).name
        if sums.setdefault(name, digits) != digits:
            raise DownloadError(f"{address}:{number} names {name} a second time with another checksum; remove one")
    return sums


def local_path(address: str) -> Path | None:
    """The path that an address names, None where it is one of the web. Raises DownloadError for what is neither."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise DownloadError(f"{address!r} is not an address ({error}); give http(s)://, file:// or a path") from error
    if parts.scheme in ("http", "https"):
        return None
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise DownloadError(f"{address} names the machine {parts.netloc!r}; write file:/// and an absolute path")
        return Path(url2pathname(parts.path))
    if "://" in address:
        raise DownloadError(f"{address} starts with {parts.scheme}://; give http(s)://, file:// or a path")
    return home() / Path(address).expanduser()


def _fetch_remote(address: str, into: Path, sha256: str | None, progress: Report) -> Path:
    name = PureWindowsPath(urlsplit(address).path).name
    if name in ("", ".."):
        raise DownloadError(f"{address} names no file; give the address of a file")
    into.mkdir(parents=True, exist_ok=True)
    target, part, origin = into / name, into / f"{name}.part", into / f"{name}.origin"
    with FileLock(into / f"{name}.lock"):
        if _read_origin(origin).get("address") != address:  # of the same name, but from elsewhere
            target.unlink(missing_ok=True)
            part.unlink(missing_ok=True)
        if target.exists() and (sha256 is None or files.sha256(target) == sha256.lower()):
            return target
        _download(address, part, origin, progress)
        if sha256 is not None and (found := files.sha256(part)) != sha256.lower():
            part.unlink()
            raise DownloadError(
                f"{address} has the checksum {found}, not {sha256.lower()}; what came was deleted: "
                "run again, and should this come back, take another address"
            )
        os.replace(part, target)
        return target


def _read_origin(origin: Path) -> dict[str, object]:
    """Where a (part of a) download came from: ``address``, ``validator`` (ETag or date) and ``length``."""
    try:
        value = json.loads(origin.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _download(address: str, part: Path, origin: Path, progress: Report) -> None:
    reason = ""
    for pause in PAUSES:
        time.sleep(pause)
        try:
            return _receive(address, part, origin, progress)
        except HTTPError as error:
            error.close()
            if error.code in (404, 410):
                raise NotThereError(f"{address} is not there (HTTP {error.code}); give another address") from error
            if error.code == 416:  # the part is longer than the file: it is of another version
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise DownloadError(f"{address} is refused (HTTP {error.code}); give another address") from error
            reason = f"HTTP {error.code}"
        except (ValueError, http.client.InvalidURL) as error:
            raise DownloadError(f"{address!r} is not an address ({error}); correct it") from error
        except _PASSING as error:
            reason = str(error) or type(error).__name__
    raise DownloadError(
        f"{address} could not be downloaded in {len(PAUSES)} tries ({reason}); run again to go on where it "
        "stopped, or download it by other means and give its path"
    )


def _receive(address: str, part: Path, origin: Path, progress: Report) -> None:
    """One try: takes up ``part`` where it ends. Raises ConnectionError when it is cut off."""
    known = _read_origin(origin)
    offset = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "wordgaze"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if known.get("validator"):
            headers["If-Range"] = str(known["validator"])
    with urlopen(Request(address, headers=headers), timeout=TIMEOUT) as response:
        if urlsplit(response.url).scheme not in ("https", urlsplit(address).scheme):
            raise DownloadError(f"{address} leads to {response.url}, which is not encrypted; give another address")
        if response.status == 206:
            length = _length_of_rest(response, offset, known, part)
        else:
            offset, declared = 0, response.headers["Content-Length"]
            length = int(declared) if declared is not None else None
            etag = response.headers["ETag"] or "W/"
            validator = response.headers["Last-Modified"] if etag.startswith("W/") else etag
            files.write_json(origin, {"address": address, "validator": validator, "length": length})
        with part.open("ab" if offset else "wb") as sink:
            while chunk := response.read1(_CHUNK):
                sink.write(chunk)
                offset += len(chunk)
                progress(offset, length)
    if length is not None and offset != length:
        raise ConnectionError(f"cut off after {offset} of {length} bytes")


def _length_of_rest(
    response: http.client.HTTPResponse, offset: int, known: dict[str, object], part: Path
) -> int | None:
    """The whole file's length, when the answer is the rest of the very file that ``part`` begins."""
    match = _CONTENT_RANGE.fullmatch(response.headers["Content-Range"] or "")
    length = None if match is None or match[2] == "*" else int(match[2])
    if match is None or int(match[1]) != offset or length != known.get("length"):
        part.unlink(missing_ok=True)
        raise ConnectionError("the server sent another part than asked for")
    return length
