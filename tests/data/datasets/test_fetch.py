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

from wordgaze.config.params import DatasetParams, PrepareParams
from wordgaze.core.errors import DownloadError
from wordgaze.data.datasets import coco, flickr8k, open_dataset
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
        self.tells_length = True
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
            self.send_response(416)
            if server.tells_length:
                self.send_header("Content-Range", f"bytes */{len(server.data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.data) - 1}/{len(server.data)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.tells_length:
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


def test_a_file_is_downloaded_once_and_its_progress_reported(server: Server, tmp_path: Path) -> None:
    message: list[tuple[int, int | None]] = []
    path = fetch(server.address, tmp_path, SUM, lambda done, total: message.append((done, total)))
    assert (path.name, path.read_bytes()) == ("data.zip", DATA)
    assert message[-1] == (len(DATA), len(DATA))
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
    with pytest.raises(DownloadError, match=r"in 3 attempts \(interrupted after .* run again"):
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


def complete_part(server: Server, folder: Path, data: bytes = DATA, length: int | None = len(DATA)) -> None:
    """What a download leaves that was killed between its last byte and the rename."""
    folder.mkdir(exist_ok=True)
    (folder / "data.zip.part").write_bytes(data)
    origin = {"address": server.address, "validator": server.etag, "length": length}
    (folder / "data.zip.origin").write_text(json.dumps(origin))


def test_a_complete_part_with_a_checksum_is_not_requested_again(server: Server, tmp_path: Path) -> None:
    """Fault 7: a download killed before the rename started again from nothing."""
    complete_part(server, tmp_path)
    assert fetch(server.address, tmp_path, SUM).read_bytes() == DATA
    assert server.asked == []
    assert not (tmp_path / "data.zip.part").exists()


@pytest.mark.parametrize("length", [len(DATA), None], ids=["announced", "unknown"])
@pytest.mark.parametrize("etag", ['"first"', None])
def test_a_complete_part_without_a_checksum_is_confirmed_by_the_server(
    server: Server, tmp_path: Path, etag: str | None, length: int | None
) -> None:
    """Fault 7: the server answers 416 to a range that starts at the end, which is the proof of a complete part."""
    server.etag = etag
    complete_part(server, tmp_path, length=length)
    assert fetch(server.address, tmp_path).read_bytes() == DATA
    assert server.asked == [f"bytes={len(DATA)}-"]


def test_a_complete_part_is_confirmed_by_a_server_that_does_not_tell_the_length(server: Server, tmp_path: Path) -> None:
    server.tells_length = False
    complete_part(server, tmp_path)
    assert fetch(server.address, tmp_path).read_bytes() == DATA
    assert server.asked == [f"bytes={len(DATA)}-"]


def test_a_complete_part_of_an_older_version_is_replaced(server: Server, tmp_path: Path) -> None:
    complete_part(server, tmp_path / "pinned", DATA[::-1])
    assert fetch(server.address, tmp_path / "pinned", SUM).read_bytes() == DATA
    complete_part(server, tmp_path / "unpinned", DATA[::-1])
    server.etag = '"second"'
    assert fetch(server.address, tmp_path / "unpinned").read_bytes() == DATA


def test_an_md5_checksum_is_verified_too(server: Server, tmp_path: Path) -> None:
    assert fetch(server.address, tmp_path, hashlib.md5(DATA).hexdigest()).read_bytes() == DATA
    with pytest.raises(DownloadError, match="has the checksum"):
        fetch(server.address, tmp_path / "new", "0" * 32)


def test_without_a_checksum_the_first_download_is_trusted_and_a_later_one_compared(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault 7: a changed file at an address without checksums went unnoticed."""
    with caplog.at_level("INFO"):
        fetch(server.address, tmp_path).unlink()
    assert f"{len(DATA)} bytes, sha256 {SUM}" in caplog.text
    assert fetch(server.address, tmp_path).read_bytes() == DATA
    (tmp_path / "data.zip").unlink()
    server.data, server.etag = DATA[::-1], '"second"'
    with pytest.raises(DownloadError, match=rf"but its first download had {SUM}; .* delete .*data\.zip\.origin"):
        fetch(server.address, tmp_path)
    assert not (tmp_path / "data.zip").exists()
    (tmp_path / "data.zip.origin").unlink()
    assert fetch(server.address, tmp_path).read_bytes() == DATA[::-1]


@pytest.mark.parametrize(("public", "sums"), [(flickr8k.PUBLIC, flickr8k.CHECKSUMS), (coco.PUBLIC, coco.CHECKSUMS)])
def test_the_public_addresses_are_encrypted_and_their_files_pinned(
    public: str, sums: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 7: COCO came by plain http, and neither data set was verified."""
    requested: dict[str, str | None] = {}

    def keep(address: str, into: Path, checksum: str | None = None, *_: object) -> Path:
        requested[address] = checksum
        raise NotThereError("not in a test")

    monkeypatch.setattr("wordgaze.data.datasets.source.fetch", keep)
    name = "flickr8k" if public == flickr8k.PUBLIC else "coco"
    with pytest.raises(DownloadError):
        open_dataset(DatasetParams(name=name), PrepareParams(), tmp_path).collect(tmp_path)  # type: ignore[arg-type]
    assert {address.rpartition("/")[2]: checksum for address, checksum in requested.items()} == sums
    assert all(address.startswith("https://") for address in requested)


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


def test_a_kept_file_that_no_longer_fits_its_checksum_is_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch(server.address, tmp_path).write_bytes(b"damaged")
    assert fetch(server.address, tmp_path, SUM).read_bytes() == DATA


def test_nobody_at_the_address_is_a_download_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(DownloadError, match="could not be downloaded in 2 attempts"):
        fetch("http://127.0.0.1:9/data.zip", tmp_path)


@pytest.mark.parametrize("name", ["a b", "50%41", "why?", "no#1", "é", "it's", "鸟"])
@pytest.mark.parametrize("form", ["encoded", "as written", "one slash", "path"])
def test_a_file_is_found_by_an_address_of_any_form(name: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / name / "data.zip"
    path.parent.mkdir()
    path.write_bytes(DATA)
    address = {"encoded": path.as_uri(), "as written": f"file://{path}", "one slash": f"file:{path}", "path": str(path)}
    assert fetch(address[form], tmp_path / "cache") == path


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


def test_a_file_name_with_a_line_separator_has_a_checksum_too(tmp_path: Path) -> None:
    """Fault 5: the list of checksums was split at U+0085 and U+2028."""
    (tmp_path / "SHA256SUMS").write_text(f"{SUM}  a\u2028b\x85.zip\r\n", encoding="utf-8")
    assert checksums(str(tmp_path)) == {"a\u2028b\x85.zip": SUM}


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
