"""Downloads arrive whole or not at all, and are taken up where they stopped."""

import contextlib
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from wordgaze.core.errors import DownloadError
from wordgaze.data.datasets import fetch as fetching
from wordgaze.data.datasets.fetch import NotThereError, checksums, fetch

DATA = bytes(range(256)) * 4000
SUM = hashlib.sha256(DATA).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves DATA at /data.zip; the flags make it misbehave, and ``asked`` keeps the Range of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = DATA
        self.etag: str | None = '"first"'
        self.ranges = True
        self.cuts = 0
        self.statuses: list[int] = []
        self.asked: list[str | None] = []
        self.address = f"http://127.0.0.1:{self.server_port}/data.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(self.headers["Range"])
        if self.path != "/data.zip" or server.statuses:
            self.send_error(server.statuses.pop(0) if server.statuses else 404)
            return
        start = self._start()
        if start >= len(server.data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.data) - 1}/{len(server.data)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(server.data) - start))
        self.end_headers()
        end = len(server.data)
        if server.cuts:
            server.cuts -= 1
            end = start + (end - start) // 2
        self.wfile.write(server.data[start:end])

    def _start(self) -> int:
        wanted, condition = self.headers["Range"], self.headers["If-Range"]
        fits = self.server.ranges and wanted and (condition is None or condition == self.server.etag)
        return int(wanted.removeprefix("bytes=").rstrip("-")) if fits else 0

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_file_is_downloaded_once_and_its_progress_told(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    path = fetch(server.address, tmp_path, SUM, lambda done, total: told.append((done, total)))
    assert (path.name, path.read_bytes()) == ("data.zip", DATA)
    assert told[-1] == (len(DATA), len(DATA))
    assert not (tmp_path / "data.zip.part").exists()
    assert fetch(server.address, tmp_path, SUM.upper()) == path
    assert fetch(server.address, tmp_path) == path
    assert server.asked == [None]


@pytest.mark.parametrize("etag", ['"first"', None])
def test_a_cut_connection_is_taken_up_where_it_stopped(server: Server, tmp_path: Path, etag: str | None) -> None:
    server.cuts, server.etag = 1, etag
    assert fetch(server.address, tmp_path, SUM).read_bytes() == DATA
    assert server.asked == [None, f"bytes={len(DATA) // 2}-"]


def test_a_server_without_ranges_is_asked_from_the_start(server: Server, tmp_path: Path) -> None:
    server.cuts, server.ranges = 1, False
    assert fetch(server.address, tmp_path, SUM).read_bytes() == DATA


def test_a_download_given_up_is_taken_up_by_the_next_run(server: Server, tmp_path: Path) -> None:
    server.cuts = 3
    with pytest.raises(DownloadError, match=r"in 3 tries \(cut off after .* run again"):
        fetch(server.address, tmp_path, SUM)
    assert not (tmp_path / "data.zip").exists()
    size = (tmp_path / "data.zip.part").stat().st_size
    assert fetch(server.address, tmp_path, SUM).read_bytes() == DATA
    assert server.asked[-1] == f"bytes={size}-"


@pytest.mark.parametrize(
    ("etags", "data"),
    [(('"first"', '"second"'), DATA[::-1]), ((None, None), DATA[::-1] + b"more")],
    ids=["tag", "length"],
)
def test_the_parts_of_two_versions_are_never_joined(
    server: Server, tmp_path: Path, etags: tuple[str | None, str | None], data: bytes
) -> None:
    server.cuts, server.etag = 3, etags[0]
    with pytest.raises(DownloadError):
        fetch(server.address, tmp_path)
    server.data, server.etag = data, etags[1]
    assert fetch(server.address, tmp_path).read_bytes() == data


def test_an_encrypted_address_that_leads_to_an_open_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def redirected(*args: object, **options: object) -> contextlib.nullcontext[SimpleNamespace]:
        return contextlib.nullcontext(SimpleNamespace(url="http://elsewhere/data.zip"))

    monkeypatch.setattr(fetching, "urlopen", redirected)
    with pytest.raises(DownloadError, match=r"leads to http://elsewhere/data\.zip, which is not encrypted"):
        fetch("https://somewhere/data.zip", tmp_path)


def test_a_part_longer_than_the_file_is_dropped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.zip.part").write_bytes(DATA + b"more")
    origin = {"address": server.address, "validator": server.etag, "length": len(DATA)}
    (tmp_path / "data.zip.origin").write_text(json.dumps(origin))
    assert fetch(server.address, tmp_path).read_bytes() == DATA


def test_a_file_of_the_same_name_from_elsewhere_is_not_taken(server: Server, tmp_path: Path) -> None:
    for name in ("data.zip", "data.zip.part"):
        (tmp_path / name).write_bytes(b"another mirror's")
    assert fetch(server.address, tmp_path).read_bytes() == DATA


def test_a_server_in_trouble_is_asked_again_and_a_missing_file_is_not(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert fetch(server.address, tmp_path, SUM).read_bytes() == DATA
    server.asked.clear()
    with pytest.raises(NotThereError, match=r"other\.zip is not there \(HTTP 404\)"):
        fetch(server.address.replace("data.zip", "other.zip"), tmp_path)
    server.statuses = [403]
    with pytest.raises(DownloadError, match="refused"):
        fetch(server.address, tmp_path / "new")
    assert len(server.asked) == 2


def test_a_wrong_checksum_deletes_the_download_and_names_both(server: Server, tmp_path: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(DownloadError) as caught:
        fetch(server.address, tmp_path, wrong)
    assert all(text in str(caught.value) for text in (server.address, wrong, SUM))
    assert not (tmp_path / "data.zip").exists()
    assert not (tmp_path / "data.zip.part").exists()


def test_a_kept_file_that_no_longer_fits_its_checksum_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    fetch(server.address, tmp_path).write_bytes(b"damaged")
    assert fetch(server.address, tmp_path, SUM).read_bytes() == DATA


def test_nobody_at_the_address_is_a_download_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(DownloadError, match="could not be downloaded in 2 tries"):
        fetch("http://127.0.0.1:9/data.zip", tmp_path)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ftp://host/a.zip", "starts with ftp://"),
        ("http://host/", "names no file"),
        ("http://[broken/a.zip", "is not an address"),
        ("http://a b/c.zip", "is not an address"),
        ("file://host/a.zip", "names the machine 'host'"),
    ],
)
def test_an_address_that_cannot_be_is_refused(address: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=reason):
        fetch(address, tmp_path)


def test_a_cache_that_cannot_be_made_is_a_download_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="cannot be saved"):
        fetch(server.address, tmp_path / "file" / "cache")


def test_a_local_file_is_given_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "with space.zip"
    path.write_bytes(DATA)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for address in (str(path), path.as_uri(), "with space.zip"):
        assert fetch(address, tmp_path / "cache", SUM) == path
    assert not (tmp_path / "cache").exists()


def test_a_local_file_with_a_wrong_checksum_is_refused_but_kept(tmp_path: Path) -> None:
    path = tmp_path / "mine.zip"
    path.write_bytes(DATA)
    with pytest.raises(DownloadError, match=SUM):
        fetch(str(path), tmp_path, "0" * 64)
    assert path.exists()


def test_a_local_file_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotThereError, match="no such file"):
        fetch(str(tmp_path / "no.zip"), tmp_path)
    with pytest.raises(DownloadError, match="not a file"):
        fetch(str(tmp_path), tmp_path)


def test_checksums_are_read_by_base_name(tmp_path: Path) -> None:
    assert checksums(str(tmp_path)) == {}
    (tmp_path / "SHA256SUMS").write_text(f"{SUM}  folder/a.zip\n\n{SUM.upper()} *b.zip\n")
    assert checksums(str(tmp_path)) == {"a.zip": SUM, "b.zip": SUM}


@pytest.mark.parametrize("text", ["no checksum", f"{SUM}  a/x.zip\n{'0' * 64}  b/x.zip\n", "\xff"])
def test_broken_or_contradicting_checksums_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_bytes(text.encode("latin-1"))
    with pytest.raises(DownloadError, match=r"SHA256SUMS(:\d| is not)"):
        checksums(str(tmp_path))


def test_an_unreachable_list_of_checksums_is_not_taken_for_a_missing_one(server: Server) -> None:
    folder = server.address.rpartition("/")[0]
    assert checksums(folder) == {}
    server.statuses = [500] * 3
    with pytest.raises(DownloadError, match="HTTP 500"):
        checksums(folder)
