"""A source at an address of the web: it cannot be listed, so what is expected is asked for, once, and no more."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.datasets.tiny import TWO, images, packed, pictures, tokens, write
from wordgaze.core.errors import DownloadError
from wordgaze.data.datasets.flickr30k import Flickr30k
from wordgaze.data.datasets.source import Source


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; ``asked`` keeps the paths that were there."""

    asked: list[str]

    def send_response(self, code: int, message: str | None = None) -> None:
        if code == 200:
            self.asked.append(self.path)
        super().send_response(code, message)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "web").mkdir()
    Handler.asked = []
    handler = functools.partial(Handler, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", tmp_path / "web"
        server.shutdown()
        thread.join()


def test_what_is_there_is_fetched_once(served: tuple[str, Path], tmp_path: Path) -> None:
    address, web = served
    write(web, {"results_20130124.token": tokens(TWO)})
    packed(web / "flickr30k-images.tar.gz", pictures([*TWO], "flickr30k-images/"))
    packed(web / "archive.zip", {"big": b"not needed"})
    for _ in range(2):
        records = Flickr30k(address, tmp_path / "cache").collect(tmp_path / "raw").records
        assert [record.image for record in records] == ["a.jpg", "b.jpg"]
        assert images(tmp_path / "raw").keys() == {"a.jpg", "b.jpg"}
    assert Handler.asked == ["/results_20130124.token", "/flickr30k-images.tar.gz"]


def test_a_single_archive_may_be_the_address(served: tuple[str, Path], tmp_path: Path) -> None:
    address, web = served
    packed(web / "mine.zip", {"x/a.jpg": b"a"})
    (found,) = Source(f"{address}mine.zip", tmp_path / "cache").find(lambda path: path.suffix == ".jpg")
    assert found.read() == b"a"
    with pytest.raises(DownloadError, match=r"none\.zip is not there \(HTTP 404\)"):
        Source(f"{address}none.zip", tmp_path / "cache").find(lambda path: True)


def test_archives_are_checked_against_their_checksums(served: tuple[str, Path], tmp_path: Path) -> None:
    address, web = served
    archive = packed(web / "flickr30k-images.tar.gz", pictures([*TWO]))
    write(web, {"results_20130124.token": tokens(TWO)})
    write(web, {"SHA256SUMS": f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n"})
    assert len(Flickr30k(str(web), tmp_path / "cache").collect(tmp_path / "raw").records) == 2
    write(web, {"SHA256SUMS": f"{'0' * 64}  {archive.name}\n"})
    for place in (address, str(web)):
        with pytest.raises(DownloadError, match=r"flickr30k-images\.tar\.gz has the checksum"):
            Flickr30k(place, tmp_path / "cache").collect(tmp_path / "raw")


def test_loose_files_go_before_an_archive_of_them(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"results_20130124.token": tokens(TWO), **pictures([*TWO], "deep/er/")})
    packed(source / "archive.zip", dict.fromkeys(TWO, b"packed"))
    Flickr30k(str(source), tmp_path / "cache").collect(tmp_path / "raw")
    assert images(tmp_path / "raw") == {"a.jpg": b"a.jpg", "b.jpg": b"b.jpg"}
