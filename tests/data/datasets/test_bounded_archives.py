"""Archives are refused while they are listed: many members, long names, decompression bombs."""

import bz2
import gzip
import io
import lzma
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from wordgaze.core.errors import DownloadError
from wordgaze.data.datasets import archives
from wordgaze.data.datasets.archives import members
from wordgaze.data.datasets.bounded_archives import zip_directory_bytes

Pack = Callable[[bytes], bytes]


def tar_of(*headers: tarfile.TarInfo, data: int = 0) -> bytes:
    return b"".join(header.tobuf() for header in headers) + bytes(data) + bytes(1024)


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_ends_while_it_is_listed(tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_HARMLESS", 2**20)
    (tmp_path / "a.tar.gz").write_bytes(pack(tar_of(header("a", 4 * 2**20), data=4 * 2**20)))
    with pytest.raises(DownloadError, match=r"a\.tar\.gz has more than 1048576 bytes unpacked: a decompression bomb"):
        members(tmp_path / "a.tar.gz")
    (tmp_path / "b.tar.gz").write_bytes(pack(tar_of(header("a", 2**19), data=2**19)))
    assert members(tmp_path / "b.tar.gz") == ["a"]


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_name_of_megabytes_is_refused_before_it_is_read(tmp_path: Path, kind: bytes, pack: Pack) -> None:
    (tmp_path / "a.tar").write_bytes(pack(tar_of(header("long", 2**33 - 1, kind))))
    start = time.process_time()
    with pytest.raises(DownloadError, match=r"a\.tar has a file whose name and attributes take 8589934591 bytes"):
        members(tmp_path / "a.tar")
    assert time.process_time() - start < 1


def test_long_names_are_read(tmp_path: Path) -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
            archive.addfile(header("d" * 300 + ".jpg"), io.BytesIO())
        assert members(tmp_path / "a.tar") == ["d" * 300 + ".jpg"]


def test_many_members_are_refused_before_all_are_listed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(20):
            archive.writestr(f"{number:0200}.jpg", b"")
    (tmp_path / "a.tar").write_bytes(tar_of(*(header(f"{number}.jpg") for number in range(20))))
    for name in ("a.zip", "a.tar"):
        assert len(members(tmp_path / name, max_members=20)) == 20
        with pytest.raises(DownloadError, match=f"{name} holds more than the 10 files allowed; split it"):
            members(tmp_path / name, max_members=10)


def test_the_directory_of_a_zip_is_measured_without_reading_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(30):
            archive.writestr(f"{number:0300}.jpg", b"")
        archive.comment = b"a comment"
    assert zip_directory_bytes(tmp_path / "a.zip") == 30 * (46 + 304)
    (tmp_path / "no.zip").write_bytes(b"no zip")
    assert zip_directory_bytes(tmp_path / "no.zip") == 0
    monkeypatch.setattr(zipfile, "ZipFile", None)  # it would read the whole directory
    with pytest.raises(DownloadError, match="holds more than the 10 files allowed"):
        members(tmp_path / "a.zip", max_members=10)


def test_the_directory_of_a_large_zip_is_measured(tmp_path: Path) -> None:
    """The sizes of ZIP64 stand in a record of their own."""
    record = b"PK\6\6" + bytes(36) + (5 * 10**9).to_bytes(8, "little") + bytes(8)
    end = b"PK\5\6" + bytes(8) + b"\xff" * 8 + bytes(2)
    (tmp_path / "a.zip").write_bytes(record + bytes(20) + end)
    assert zip_directory_bytes(tmp_path / "a.zip") == 5 * 10**9
    with pytest.raises(DownloadError, match="holds more than the 500000 files allowed"):
        members(tmp_path / "a.zip")
