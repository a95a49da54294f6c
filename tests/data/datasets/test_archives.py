"""Archives: every member is checked, what is asked for is written and nothing else, and the disk's errors are its own."""

import errno
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.disk import full_disk
from wordgaze.core.errors import DownloadError
from wordgaze.data.datasets import archives
from wordgaze.data.datasets.archives import extract, is_archive, members, read_member

Pack = Callable[[Path, dict[str, bytes]], Path]


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path.with_suffix(".zip")


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path.with_suffix(".tar.gz"), "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type, info.size = (tarfile.DIRTYPE, 0) if name.endswith("/") else (tarfile.REGTYPE, len(data))
            archive.addfile(info, io.BytesIO(data))
    return path.with_suffix(".tar.gz")


both = pytest.mark.parametrize("pack", [zipped, tarred])


def unpack(archive: Path, into: Path, **limits: int) -> list[tuple[int, int | None]]:
    """Everything, numbered; what progress was reported."""
    message: list[tuple[int, int | None]] = []
    into.mkdir(exist_ok=True)
    targets = {name: into / str(number) for number, name in enumerate(members(archive))}
    extract(archive, targets, lambda done, total: message.append((done, total)), **limits)
    return message


@both
def test_what_is_named_is_written_where_it_is_wanted(tmp_path: Path, pack: Pack) -> None:
    archive = pack(tmp_path / "a", {"x/": b"", "x/1.txt": b"one", "./x/2.txt": b"two", "z.txt": b"three"})
    assert members(archive) == ["x/1.txt", "x/2.txt", "z.txt"]
    message: list[tuple[int, int | None]] = []
    extract(
        archive,
        {"z.txt": tmp_path / "new", "x/2.txt": tmp_path / "2"},
        lambda done, total: message.append((done, total)),
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([archive.name, "new", "2"])
    assert ((tmp_path / "new").read_bytes(), (tmp_path / "2").read_bytes()) == (b"three", b"two")
    assert message == [(1, 2), (2, 2)]
    assert read_member(archive, "x/1.txt") == b"one"
    with pytest.raises(DownloadError, match=r"has no member x/3\.txt"):
        read_member(archive, "x/3.txt")


def test_archives_are_known_by_their_names() -> None:
    assert all(map(is_archive, ("a.zip", "A.ZIP", "a.tar", "a.tar.gz", "a.tgz")))
    assert not any(map(is_archive, ("a.jpg", "zip", "a.gz", "a.zip.part")))


UNSAFE = ["../x", "a/../../x", "/etc/x", "C:/x", "C:x", "..\\x", "\\\\host\\share\\x", ".."]


@both
@pytest.mark.parametrize("name", UNSAFE)
def test_names_that_lead_out_are_refused(tmp_path: Path, pack: Pack, name: str) -> None:
    archive = pack(tmp_path / "a", {"good.txt": b"", name: b"bad"})
    with pytest.raises(DownloadError, match=r"a\.(zip|tar\.gz): .*leads out of the folder"):
        members(archive)


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DownloadError, match="'link' is not unpacked: it is a link"):
        members(tmp_path / "a.zip")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        with pytest.raises(DownloadError, match="'link' is not unpacked: it is a link"):
            members(tmp_path / "a.tar")


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "a", {"secret": b"x"}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DownloadError, match="'secret' is not unpacked: it is encrypted"):
        members(tmp_path / "a.zip")


@both
def test_bombs_and_oversize_are_refused(tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "a", {"a": bytes(100_000), "b": bytes(100_000)})
    unpack(archive, tmp_path / "small enough to be harmless")
    with pytest.raises(DownloadError, match="'a' is not unpacked: it has 100000 bytes"):
        members(archive, max_entry=99_999)
    with pytest.raises(DownloadError, match="200000 bytes"):
        unpack(archive, tmp_path / "total", max_total=199_999)
    monkeypatch.setattr(archives, "_HARMLESS", 1000)
    with pytest.raises(DownloadError, match="decompression bomb"):
        unpack(archive, tmp_path / "ratio")
    with pytest.raises(DownloadError, match="decompression bomb"):
        read_member(archive, "b")


def test_a_member_larger_than_it_generates_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "a", {"a": bytes(100_000)}).read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = (10).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DownloadError, match="'a' is broken"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_broken_zip_is_reported_with_what_is_broken(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.txt", b"good")
        archive.writestr("bad.txt", b"first words")
    whole = (tmp_path / "a.zip").read_bytes()
    for data, named in ((whole.replace(b"first", b"other"), "'bad.txt'"), (whole[:-9], "a.zip"), (b"<html>", "a.zip")):
        (tmp_path / "a.zip").write_bytes(data)
        with pytest.raises(DownloadError, match=f"{named}.*get a fresh copy"):
            unpack(tmp_path / "a.zip", tmp_path / "out")
        (tmp_path / "out" / "0").unlink(missing_ok=True)
        (tmp_path / "out" / "1").unlink(missing_ok=True)


def test_a_cut_tar_is_reported_as_broken(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a", {"a": bytes(range(256)) * 100, "b": b"more"})
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(DownloadError, match=r"a\.tar\.gz.*get a fresh copy"):
        unpack(archive, tmp_path / "out")


@both
def test_a_full_disk_is_no_fault_of_the_archive(tmp_path: Path, pack: Pack) -> None:
    archive = pack(tmp_path / "a", {"a": bytes(100_000)})
    with full_disk(1000), pytest.raises(OSError, match="File too large") as caught:
        unpack(archive, tmp_path / "out")
    assert caught.value.errno == errno.EFBIG


def test_an_archive_that_may_not_be_read_is_no_broken_one(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar"):
        with pytest.raises(FileNotFoundError):
            members(tmp_path / name)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", b"one")
        archive.writestr("./a", b"two")
    with pytest.raises(DownloadError, match="'a' is not unpacked: its name is repeated"):
        members(tmp_path / "a.zip")


PARTS = st.sampled_from(["..", ".", "", "a", "b.txt", "/", "\\", "C:", "~", "\x00", "\n", " ", "x" * 300])
NAMES = st.one_of(
    st.text(max_size=20), st.lists(PARTS, max_size=6).map("/".join), st.lists(PARTS, max_size=6).map("".join)
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(st.lists(NAMES, min_size=1, max_size=3), st.sampled_from([zipped, tarred]))
def test_whatever_a_member_is_called_nothing_is_written_but_the_target(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], pack: Pack
) -> None:
    base = tmp_path_factory.mktemp("archive")
    try:
        archive = pack(base / "a", dict.fromkeys(names, b"data"))
    except (UnicodeEncodeError, ValueError):  # half a surrogate pair: such an archive cannot be written
        return
    try:
        unpack(archive, base / "out")
    except DownloadError as error:
        assert "\n" not in str(error)
    assert {path.name for path in base.iterdir()} <= {archive.name, "out"}
    assert {path.name for path in (base / "out").glob("*")} <= {"0", "1", "2"}


@given(st.binary(max_size=200), st.data(), st.sampled_from([zipped, tarred]))
def test_damaged_archives_raise_nothing_but_download_errors(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, data: st.DataObject, pack: Pack
) -> None:
    base = tmp_path_factory.mktemp("archive")
    archive = pack(base / "a", {"a.txt": b"some text", "b/c.txt": b"other text"})
    whole = archive.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    archive.write_bytes(whole[:start] + noise + whole[start + len(noise) :])
    try:
        unpack(archive, base / "out")
    except DownloadError as error:
        assert "\n" not in str(error)


@given(st.binary(max_size=600), st.integers(0, 3000))
def test_damaged_tars_raise_nothing_but_download_errors(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, start: int
) -> None:
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a.txt", "ä" * 120 + ".txt"):  # the second one needs an extended header
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"text"))
    whole = path.read_bytes()
    path.write_bytes(whole[:start] + noise + whole[start + len(noise) :])
    try:
        unpack(path, path.parent / "out")
    except DownloadError as error:
        assert "\n" not in str(error)
