"""Downloads that are resumed, verified and cached.

A checksum is either pinned (the public copies of Flickr8k and COCO, see those modules), or listed in the ``SHA256SUMS``
of a mirror, or, where neither is known, trusted on first use: the SHA-256 of the first download from an address is
logged and recorded beside the file, and a later download from there has to match it.
"""

import http.client
import json
import logging
import os
import re
import ssl
import time
from pathlib import Path, PureWindowsPath
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, url2pathname, urlopen

from filelock import FileLock

from wordgaze.core import files
from wordgaze.core.errors import DownloadError
from wordgaze.core.leftovers import temporary_folder
from wordgaze.core.paths import home
from wordgaze.core.progress import Report

TIMEOUT = 30.0
"""Seconds without data after which a connection counts as interrupted."""

PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each attempt."""

_CHUNK = 2**20
_CHECKSUM_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
_FILE_SCHEME = re.compile(r"file:(//(localhost)?)?(?=/)", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_UNSATISFIED_RANGE = re.compile(r"bytes \*/(\d+)")
_ALGORITHMS = {32: "md5", 64: "sha256"}  # by the number of hexadecimal digits
_TEMPORARY = (URLError, TimeoutError, ConnectionError, http.client.HTTPException, ssl.SSLError)

_log = logging.getLogger(__name__)


class NotThereError(DownloadError):
    """The server or the folder was reached and has no such file."""


def _silent(done: int, total: int | None) -> None:
    """Discards the progress."""


def fetch(address: str, into: Path, checksum: str | None = None, progress: Report = _silent) -> Path:
    """Makes one file available locally and returns its path.

    ``address`` is ``http(s)://``, ``file://`` or a path; a relative path is relative to
    :func:`wordgaze.core.paths.home`. A local file is returned where it is. A download is stored as ``into/NAME`` and
    not repeated; if interrupted, it is kept as ``into/NAME.part`` and resumed, unless the file at the address has
    changed. ``checksum`` is a SHA-256 (64 hexadecimal digits) or an MD5 (32). Without one, the SHA-256 of the first
    download from this address is logged and recorded in ``into/NAME.origin``, and later ones have to match it.

    Raises NotThereError if there is no such file, and DownloadError for all other failures.
    """
    local = local_path(address)
    if local is None:
        try:
            return _fetch_remote(address, into, checksum, progress)
        except OSError as error:
            raise DownloadError(f"{address} cannot be saved in {into}: {error.strerror or error}") from error
    if not local.exists():
        raise NotThereError(f"{local}: there is no such file; check the path or give another address")
    if not local.is_file():
        raise DownloadError(f"{local}: is not a file; give the path of a file")
    if checksum is not None and (actual := _digest(local, checksum)) != checksum.lower():
        raise DownloadError(f"{local} has the checksum {actual}, not {checksum.lower()}; get a fresh copy of it")
    return local


def checksums(folder: str) -> dict[str, str]:
    """The checksums in ``folder/SHA256SUMS``, by base name; empty if the folder (path or address) has no such file.

    Raises DownloadError for a file that is not UTF-8, a line without a checksum, and contradicting lines.
    """
    address = f"{folder}/SHA256SUMS"
    with temporary_folder() as temporary:  # never from a cache: a mirror may replace its files
        try:
            text = fetch(address, temporary).read_text(encoding="utf-8")
        except NotThereError:
            return {}
        except UnicodeDecodeError as error:
            raise DownloadError(f"{address} is not a text file; write it with sha256sum") from error
    sums: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        match = _CHECKSUM_LINE.fullmatch(line.strip(" \t\r"))
        if match is None:
            if line.strip():
                raise DownloadError(f"{address}:{number} is not a checksum and a name; write it with sha256sum")
            continue
        digits, name = match[1].lower(), PureWindowsPath(match[2]).name
        if sums.setdefault(name, digits) != digits:
            raise DownloadError(f"{address}:{number} names {name} a second time with another checksum; remove one")
    return sums


def local_path(address: str) -> Path | None:
    """The path that an address names, or None for ``http(s)://``. Raises DownloadError for any other scheme."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise DownloadError(f"{address!r} is not an address ({error}); give http(s)://, file:// or a path") from error
    if parts.scheme in ("http", "https"):
        return None
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise DownloadError(f"{address} names the machine {parts.netloc!r}; write file:/// and an absolute path")
        as_written = Path(_FILE_SCHEME.sub("", address))  # a name may have a % or a # that nobody has encoded
        return as_written if as_written.exists() else Path(url2pathname(parts.path))
    if "://" in address:
        raise DownloadError(f"{address} starts with {parts.scheme}://; give http(s)://, file:// or a path")
    return home() / Path(address).expanduser()


def _fetch_remote(address: str, into: Path, checksum: str | None, progress: Report) -> Path:
    name = PureWindowsPath(urlsplit(address).path).name
    if name in ("", ".."):
        raise DownloadError(f"{address} names no file; give the address of a file")
    into.mkdir(parents=True, exist_ok=True)
    target, part, origin = into / name, into / f"{name}.part", into / f"{name}.origin"
    with FileLock(into / f"{name}.lock"):
        known = _read_origin(origin)
        if known.get("address") != address:  # another file of the same name
            for path in (target, part, origin):
                path.unlink(missing_ok=True)
        if target.exists() and (checksum is None or _digest(target, checksum) == checksum.lower()):
            return target
        if checksum is not None and part.exists() and part.stat().st_size == known.get("length"):
            if _digest(part, checksum) == checksum.lower():  # the download was killed between its end and the rename
                os.replace(part, target)
                return target
            part.unlink()
        _download(address, part, origin, progress)
        _verify(address, part, origin, checksum)
        os.replace(part, target)
        return target


def _digest(path: Path, checksum: str) -> str:
    """The checksum of a file by the algorithm that ``checksum`` was made with."""
    return files.checksum(path, _ALGORITHMS[len(checksum)])


def _verify(address: str, part: Path, origin: Path, checksum: str | None) -> None:
    """Compares a complete download with the checksum, or with that of the first download, which is recorded."""
    if checksum is not None:
        if (actual := _digest(part, checksum)) != checksum.lower():
            part.unlink()
            raise DownloadError(
                f"{address} has the checksum {actual}, not {checksum.lower()}; the download was deleted: run again, "
                "and if the error persists, give another address"
            )
        return
    actual, known = files.sha256(part), _read_origin(origin)
    if known.get("sha256", actual) != actual:
        part.unlink()
        raise DownloadError(
            f"{address} has the checksum {actual}, but its first download had {known['sha256']}; the download was "
            f"deleted: if the file has changed on purpose, delete {origin} and run again"
        )
    _log.info("%s: %d bytes, sha256 %s", address, part.stat().st_size, actual)
    files.write_json(origin, {**known, "sha256": actual})


def _read_origin(origin: Path) -> dict[str, object]:
    """The record of a download: ``address``, ``validator`` (ETag or date), ``length``, and ``sha256`` once complete."""
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
            _receive(address, part, origin, progress)
            return
        except HTTPError as error:
            error.close()
            if error.code in (404, 410):
                raise NotThereError(f"{address} is not there (HTTP {error.code}); give another address") from error
            if error.code == 416:  # nothing follows the part: it is complete, or longer than the file
                if _is_complete(part, error.headers["Content-Range"], origin):
                    return
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise DownloadError(f"{address} is refused (HTTP {error.code}); give another address") from error
            reason = f"HTTP {error.code}"
        except (ValueError, http.client.InvalidURL) as error:
            raise DownloadError(f"{address!r} is not an address ({error}); correct it") from error
        except _TEMPORARY as error:
            reason = str(error) or type(error).__name__
    raise DownloadError(
        f"{address} could not be downloaded in {len(PAUSES)} attempts ({reason}); run again to resume, or download it "
        "by other means and give its path"
    )


def _is_complete(part: Path, content_range: str | None, origin: Path) -> bool:
    """Whether ``part`` has the length that the answer 416 gives, or else the one that was announced at the start."""
    match = _UNSATISFIED_RANGE.fullmatch(content_range or "")
    length = _read_origin(origin).get("length") if match is None else int(match[1])
    return part.exists() and part.stat().st_size == length


def _receive(address: str, part: Path, origin: Path, progress: Report) -> None:
    """One attempt, which resumes ``part``. Raises ConnectionError if the connection is interrupted."""
    known = _read_origin(origin)
    offset = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "wordgaze"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if known.get("validator"):
            headers["If-Range"] = str(known["validator"])
    with urlopen(Request(address, headers=headers), timeout=TIMEOUT) as response:  # nosec B310  # the scheme is http(s)
        if urlsplit(response.url).scheme not in ("https", urlsplit(address).scheme):
            raise DownloadError(f"{address} leads to {response.url}, which is not encrypted; give another address")
        if response.status == 206:
            length = _length_of_rest(response, offset, known, part)
        else:
            offset, declared = 0, response.headers["Content-Length"]
            length = int(declared) if declared is not None else None
            etag = response.headers["ETag"] or "W/"
            validator = response.headers["Last-Modified"] if etag.startswith("W/") else etag
            first = {"sha256": known["sha256"]} if "sha256" in known else {}
            files.write_json(origin, {"address": address, "validator": validator, "length": length, **first})
        with part.open("ab" if offset else "wb") as sink:
            while chunk := response.read1(_CHUNK):
                sink.write(chunk)
                offset += len(chunk)
                progress(offset, length)
            sink.flush()
            os.fsync(sink.fileno())  # a file with its final name is complete even after a loss of power
    if length is not None and offset != length:
        raise ConnectionError(f"interrupted after {offset} of {length} bytes")


def _length_of_rest(
    response: http.client.HTTPResponse, offset: int, known: dict[str, object], part: Path
) -> int | None:
    """The length of the whole file, if the answer continues the file that ``part`` begins. Raises ConnectionError
    otherwise."""
    match = _CONTENT_RANGE.fullmatch(response.headers["Content-Range"] or "")
    length = None if match is None or match[2] == "*" else int(match[2])
    if match is None or int(match[1]) != offset or length != known.get("length"):
        part.unlink(missing_ok=True)
        raise ConnectionError("the server sent another range than requested")
    return length
