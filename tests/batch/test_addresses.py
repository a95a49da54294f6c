"""The addresses of the images of folders, buckets, lists and tables."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.batch.conftest import Bucket
from wordgaze.batch.addresses import image_addresses
from wordgaze.batch.images import read_ahead
from wordgaze.core.errors import CaptionsError, DataError, ImageError
from wordgaze.core.storage import AccessError


def addresses(*sources: Path | str, column: str | None = None) -> list[str]:
    return list(image_addresses([str(source) for source in sources], column))


def test_a_list_has_an_address_per_line_and_each_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_bytes("\ufeffa/1.jpg\r\n\r\ns3://team/2.jpg\na/1.jpg\nhttps://host/3\n".encode())
    assert addresses("list.txt", "a/4.jpg") == [
        f"{tmp_path}/a/1.jpg", "s3://team/2.jpg", "https://host/3", f"{tmp_path}/a/4.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["table.csv", "table.tsv", "table.parquet"])
def test_a_table_has_a_column_of_addresses(tmp_path: Path, name: str) -> None:
    path, rows = tmp_path / name, [("1", "s3://a/1.jpg"), ("2", "s3://a/2.jpg")]
    if name.endswith("parquet"):
        parquet.write_table(pa.table({"id": [one for one, _ in rows], "url": [url for _, url in rows]}), path)
    else:
        sign = "\t" if name.endswith("tsv") else ","
        path.write_text("".join(f"{a}{sign}{b}\n" for a, b in [("id", "url"), *rows]), encoding="utf-8")
    assert addresses(path) == addresses(path, column="url") == ["s3://a/1.jpg", "s3://a/2.jpg"]
    with pytest.raises(CaptionsError, match=f"{name} has no column picture; give --column one of id, url"):
        addresses(path, column="picture")


@pytest.mark.parametrize("as_struct", [False, True])
def test_a_table_may_hold_the_images_themselves(photos: Path, tmp_path: Path, as_struct: bool) -> None:
    data: list[Any] = [path.read_bytes() for path in sorted(photos.iterdir())]
    column = [{"bytes": each, "path": "x"} for each in data] if as_struct else data
    parquet.write_table(pa.table({"image": column, "n": range(len(data))}), tmp_path / "t.parquet", row_group_size=3)
    found = addresses(tmp_path / "t.parquet")
    assert found[:2] == [f"{tmp_path}/t.parquet#image/0", f"{tmp_path}/t.parquet#image/1"]
    sources = list(read_ahead([found[8], found[1], f"{tmp_path}/t.parquet#image/99"]))
    assert [source().size for source in sources[:2] if not isinstance(source, DataError)] == [(60, 40)] * 2
    assert "the table has no such row" in str(sources[2])


def test_a_bucket_is_searched_for_images(bucket: Bucket) -> None:
    bucket.system.pipe_file("/team/photos/notes.md", b"")
    bucket.system.pipe_file("/team/photos/.hidden/1.png", b"")
    bucket.system.pipe_file("/team/photos/sub/A.JPG", b"")
    found = addresses("memory://team/photos")
    assert found == [
        *(f"memory:///team/photos/{number:02}.png" for number in range(11)),
        "memory:///team/photos/sub/A.JPG",
    ]
    with pytest.raises(AccessError, match="memory://team/empty: there is no such file"):
        addresses("memory://team/empty")


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ImageError, match=r"empty.txt: there are no images in it"):
        addresses(tmp_path / "empty.txt")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"bad.parquet: is not what its name says"):
        addresses(tmp_path / "bad.parquet")
    parquet.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "numbers.parquet")
    with pytest.raises(CaptionsError, match=r"several columns; give --column one of a, b"):
        addresses(tmp_path / "numbers.parquet")
    with pytest.raises(CaptionsError, match="the column a holds int64"):
        addresses(tmp_path / "numbers.parquet", column="a")
    with pytest.raises(DataError, match="nosuch://x/y is not an address that can be read"):
        addresses("nosuch://x/y")
    with pytest.raises(DataError, match="it has two file systems"):
        addresses("simplecache::s3://team/photos")
