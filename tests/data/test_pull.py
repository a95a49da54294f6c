"""Data sets are pulled whole or not at all: from servers on this machine that answer as the Hub and Kaggle do."""

import gc
import hashlib
import http.server
import io
import json
import sys
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from wordgaze.config.params import DatasetParams, PrepareParams
from wordgaze.core.errors import DownloadError
from wordgaze.data import pull as pulling
from wordgaze.data.datasets import fetch as fetching
from wordgaze.data.datasets import open_dataset
from wordgaze.data.datasets.scenes import Scenes
from wordgaze.data.pull import expand_braces, pull

COMMIT = "a" * 40
DATA = {
    "README.md": b"# Birds",
    ".gitattributes": b"*.parquet filter=lfs",
    "birds.py": b"raise SystemExit('this script ran')",
    "data/train-00000-of-00001.parquet": b"PAR1" + bytes(range(256)) * 40 + b"PAR1",
    "metadata.csv": b"file_name,text\nimages/1.jpg,a bird\n",
    "images/1.jpg": b"\xff\xd8 not drawn",
}


class Server(http.server.ThreadingHTTPServer):
    """The Hub with the data set ``birds/small``, Kaggle with ``birds/small``, and plain files under /files/.

    ``statuses`` are answers to give before the right one, by the beginning of a path; ``cut`` are files that end early.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.repository = dict(DATA)
        self.files: dict[str, bytes] = {}
        self.kaggle = archive({"captions.txt": b"image,caption\n1.jpg,a bird\n", "Images/1.jpg": b"\xff\xd8"})
        self.statuses: dict[str, int] = {}
        self.headers: dict[str, str] = {}
        self.cut: set[str] = set()
        self.asked: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        if refused := [status for start, status in self.server.statuses.items() if path.startswith(start)]:
            self._answer(b'{"error": "refused"}', status=refused[0], headers=self.server.headers)
        elif path.startswith("/api/datasets/birds/small"):
            self._hub(path.removeprefix("/api/datasets/birds/small"))
        elif path.startswith("/datasets/birds/small/resolve/"):
            name = path.split("/", 6)[6]
            self._file(name, self.server.repository.get(name))
        elif path.startswith("/files/"):
            self._file(path, self.server.files.get(path.removeprefix("/files/")))
        else:
            self._answer(b"{}", status=404, headers={"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        request = json.loads(self.rfile.read(length) or b"{}")
        method = self.path.rpartition("/")[2]
        self.server.asked.append(f"POST {method}")
        if method in self.server.statuses:
            self._answer(b"refused", status=self.server.statuses[method], headers={"Content-Type": "text/plain"})
        elif method == "GetDataset":
            body = {"ref": "birds/small", "currentVersionNumber": 3}
            self._answer(json.dumps(body).encode(), headers={"Content-Type": "application/json"})
        else:
            assert request["datasetSlug"] == "small"
            self._answer(self.server.kaggle, headers={"Content-Type": "application/zip", "Accept-Ranges": "bytes"})

    def _hub(self, path: str) -> None:
        if path.startswith("/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.server.repository.items()
            ]
            self._answer(json.dumps(tree).encode(), headers={"Content-Type": "application/json"})
        else:
            siblings = [{"rfilename": name} for name in self.server.repository]
            body = {"id": "birds/small", "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
            self._answer(json.dumps(body).encode(), headers={"Content-Type": "application/json"})

    def _file(self, name: str, data: bytes | None) -> None:
        if data is None:
            self._answer(b"", status=404, headers={"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if name in self.server.cut and self.command == "GET":
            self._answer(data[: len(data) // 2], headers=headers, length=len(data))
            self.close_connection = True
        else:
            self._answer(data, headers=headers)

    def _answer(self, data: bytes, *, status: int = 200, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return buffer.getvalue()


def shard(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 4
            opened.addfile(info, io.BytesIO(b"bird"))
    return buffer.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, hidden ones included."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def hub(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    return server


@pytest.fixture
def kaggle(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("kagglehub")
    from kagglesdk import kaggle_env

    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, server.address)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    monkeypatch.setenv("KAGGLE_USERNAME", "ann")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    yield server
    with warnings.catch_warnings(action="ignore"):  # the client leaves connections of answers that it refuses open
        gc.collect()


def fails(source: str, folder: Path) -> str:
    """The message of a pull that fails; nothing of it may be seen in the folder."""
    with pytest.raises(DownloadError) as caught:
        pull(source, folder)
    assert not folder.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_data_set_of_the_hub_becomes_a_plain_folder_without_scripts(hub: Server, tmp_path: Path) -> None:
    pulled = pull("hf:birds/small", tmp_path / "birds")
    expected = {name: data for name, data in DATA.items() if name not in ("birds.py", ".gitattributes")}
    assert contents(tmp_path / "birds") == expected
    assert (pulled.num_files, pulled.num_bytes) == (4, sum(map(len, expected.values())))
    assert not any(path.is_symlink() for path in (tmp_path / "birds").rglob("*"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".birds")]
    assert not any("birds.py" in asked for asked in hub.asked)


def test_a_pulled_folder_is_a_data_set(hub: Server, tmp_path: Path) -> None:
    drawn = Scenes(12, 64, 1).collect(tmp_path / "drawn").records
    table = "".join(f'images/{record.image},"{record.captions[0]}"\n' for record in drawn)
    images = {f"images/{path.name}": path.read_bytes() for path in (tmp_path / "drawn" / "images").iterdir()}
    hub.repository = {"README.md": b"# Scenes", "metadata.csv": f"file_name,text\n{table}".encode(), **images}
    pull("hf:birds/small", tmp_path / "birds")
    params = DatasetParams(name="folder", source=str(tmp_path / "birds"))
    (tmp_path / "raw" / "images").mkdir(parents=True)
    collected = open_dataset(params, PrepareParams(), tmp_path / "cache").collect(tmp_path / "raw")
    assert sorted(record.captions for record in collected.records) == sorted(one.captions[:1] for one in drawn)


def test_an_interrupted_pull_leaves_nothing_and_continues(hub: Server, tmp_path: Path) -> None:
    hub.statuses["/datasets/birds/small/resolve/" + COMMIT + "/metadata.csv"] = 400
    message = fails("hf:birds/small", tmp_path / "birds")
    assert "hf:birds/small could not be downloaded" in message and "again to resume" in message
    hub.statuses.clear()
    hub.asked.clear()
    pull("hf:birds/small", tmp_path / "birds")
    assert "metadata.csv" in contents(tmp_path / "birds")
    assert not any(asked.startswith("GET") and asked.endswith(".parquet") for asked in hub.asked)  # it was there


def test_a_network_that_fails_after_a_part_is_not_taken_for_the_whole(hub: Server, tmp_path: Path) -> None:
    hub.statuses["/datasets/birds/small/resolve/" + COMMIT + "/metadata.csv"] = 400
    fails("hf:birds/small", tmp_path / "birds")
    hub.statuses = {"/": 404}
    fails("hf:birds/small", tmp_path / "birds")


@pytest.mark.parametrize(
    ("code", "status", "advice"),
    [
        ("RepoNotFound", 401, "is not there, or private; check the name, or set HF_TOKEN"),
        ("GatedRepo", 403, "must be requested on its page on the Hub; then set HF_TOKEN"),
        ("RevisionNotFound", 404, "has no such revision"),
        ("", 400, "could not be downloaded"),
    ],
)
def test_what_the_hub_refuses_is_said_with_a_way_out(
    hub: Server, tmp_path: Path, code: str, status: int, advice: str
) -> None:
    hub.statuses["/api/"], hub.headers = status, {"X-Error-Code": code} if code else {}
    assert advice in fails("hf:birds/small", tmp_path / "birds")


def test_a_hub_that_is_not_reached_is_one_line(hub: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "hf:birds/small could not be downloaded" in fails("hf:birds/small", tmp_path / "birds")


def test_a_data_set_that_a_script_makes_is_refused_and_its_tables_named(hub: Server, tmp_path: Path) -> None:
    hub.repository = {name: DATA[name] for name in ("README.md", "birds.py")}
    assert "birds.py, which is not run; its tables may be at hf:birds/small@refs/convert/parquet" in fails(
        "hf:birds/small", tmp_path / "birds"
    )


def test_a_file_that_leads_out_of_the_folder_is_refused(hub: Server, tmp_path: Path) -> None:
    hub.repository = {"../evil.csv": b"x"}
    assert "'../evil.csv', which leads out of the folder" in fails("hf:birds/small", tmp_path / "birds")
    assert not list(tmp_path.rglob("evil.csv"))


@pytest.mark.parametrize("name", ["", "a/b/c", "two words", "-/-"])
def test_a_name_that_is_none_is_refused_before_anything_is_asked(hub: Server, tmp_path: Path, name: str) -> None:
    assert "give hf:OWNER/NAME" in fails(f"hf:{name}", tmp_path / "birds")
    assert hub.asked == []


def test_a_data_set_of_kaggle_becomes_a_plain_folder(
    kaggle: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pull("kaggle:birds/small", tmp_path / "birds")
    assert capsys.readouterr().out == ""  # stdout belongs to the command
    assert contents(tmp_path / "birds") == {
        "captions.txt": b"image,caption\n1.jpg,a bird\n",
        "Images/1.jpg": b"\xff\xd8",
    }


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(
    ("method", "status", "advice"),
    [
        ("GetDataset", 404, "is not there; check the name"),
        ("GetDataset", 403, "set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY"),
        ("DownloadDataset", 401, "set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY"),
        ("DownloadDataset", 500, "could not be downloaded"),
    ],
)
def test_what_kaggle_refuses_is_said_with_a_way_out(
    kaggle: Server, tmp_path: Path, method: str, status: int, advice: str
) -> None:
    kaggle.statuses[method] = status
    assert advice in fails("kaggle:birds/small", tmp_path / "birds")


def test_kaggle_that_is_not_reached_or_sends_rubbish_is_one_line(kaggle: Server, tmp_path: Path) -> None:
    kaggle.kaggle = b"<html>not a zip</html>"
    assert "kaggle:birds/small could not be downloaded" in fails("kaggle:birds/small", tmp_path / "birds")
    assert "give kaggle:OWNER/NAME" in fails("kaggle:birds", tmp_path / "birds")


def test_shards_are_pulled_from_a_server_and_verified(server: Server, tmp_path: Path) -> None:
    server.files = {f"b-{i:02d}.tar": shard(f"{i}.jpg", f"{i}.txt") for i in range(8, 11)}
    server.files["SHA256SUMS"] = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in server.files.items()
    ).encode()
    pulled = pull(f"webdataset:{server.address}/files/b-{{08..10}}.tar", tmp_path / "birds")
    del server.files["SHA256SUMS"]
    assert contents(tmp_path / "birds") == server.files
    assert pulled.num_files == 3
    server.files["SHA256SUMS"] = b"0" * 64 + b"  b-08.tar\n"
    assert "has the checksum" in fails(f"webdataset:{server.address}/files/b-08.tar", tmp_path / "others")


def test_shards_without_checksums_or_behind_a_server_that_refuses_them(server: Server, tmp_path: Path) -> None:
    server.files = {"b.tar": shard("1.jpg")}
    server.statuses["/files/SHA256SUMS"] = 403
    pull(f"webdataset:{server.address}/files/b.tar", tmp_path / "birds")
    assert contents(tmp_path / "birds") == server.files


def test_shards_of_a_local_folder_are_copied(tmp_path: Path) -> None:
    for name in ("train-0.tar", "val-0.tar"):
        (tmp_path / name).write_bytes(shard("1.jpg"))
    pull(f"webdataset:{tmp_path.as_uri()}/{{train,val}}-0.tar", tmp_path / "birds")
    assert sorted(contents(tmp_path / "birds")) == ["train-0.tar", "val-0.tar"]
    assert (tmp_path / "train-0.tar").exists()


def test_a_shard_that_is_missing_broken_or_cut_leaves_no_folder_and_the_others_are_not_asked_for_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0))
    source, folder = f"webdataset:{server.address}/files/b-{{0..1}}.tar", tmp_path / "birds"
    server.files = {"b-0.tar": shard("1.jpg")}
    assert "b-1.tar is not there" in fails(source, folder)
    server.files["b-1.tar"] = b"not a tar" * 200
    assert "cannot be unpacked" in fails(source, folder)
    server.files["b-1.tar"] = shard("../evil.jpg")
    assert "its name leads out of the folder" in fails(source, folder)
    server.files["b-1.tar"] = shard("2.jpg")
    server.cut.add("/files/b-1.tar")
    assert "run again to resume" in fails(source, folder)
    server.cut.clear()
    server.asked.clear()
    pull(source, folder)
    assert contents(folder) == server.files
    assert not any(asked.endswith("b-0.tar") for asked in server.asked)


def test_the_key_that_interrupts_leaves_nothing_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(pulling._PULLERS, "webdataset", interrupt)
    assert "was interrupted; run the same command again to resume" in fails("webdataset:b.tar", tmp_path / "birds")


@pytest.mark.parametrize(
    ("address", "expanded"),
    [
        ("b.tar", ["b.tar"]),
        ("b-{8..10}.tar", ["b-8.tar", "b-9.tar", "b-10.tar"]),
        ("b-{008..010}.tar", ["b-008.tar", "b-009.tar", "b-010.tar"]),
        ("{train,val}/{0..1}.tar", ["train/0.tar", "train/1.tar", "val/0.tar", "val/1.tar"]),
        ("{a,b}", ["a", "b"]),
    ],
)
def test_ranges_of_shards(address: str, expanded: list[str]) -> None:
    assert expand_braces(address) == expanded


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("webdataset:b-{0..1.tar", "has a brace that is not closed"),
        ("webdataset:b-{5..1}.tar", "ends before it starts"),
        ("webdataset:b-{0..99999999}.tar", "has more than 100000 shards"),
        ("webdataset:b-{0..999}-{0..999}.tar", "has more than 100000 shards"),
        ("webdataset:b-{}.tar", "is neither {000..010} nor {a,b}"),
        ("webdataset:{a,b}/0.tar", "two shards of one name"),
        ("webdataset:b.parquet", "its name must end with .tar"),
        ("webdataset:pipe:curl http://x/b.tar", "is a command, which is not run"),
        ("webdataset:s3://birds/b.tar", "give http(s)://, file:// or a path"),
        ("birds/small", "give hf:OWNER/NAME, kaggle:OWNER/NAME or webdataset:URL"),
        ("ftp:birds", "give hf:OWNER/NAME"),
        ("hf:", "give hf:OWNER/NAME"),
    ],
)
def test_a_source_that_is_none_is_refused(tmp_path: Path, source: str, reason: str) -> None:
    assert reason in fails(source, tmp_path / "birds")
    assert not any(tmp_path.iterdir())


def test_a_folder_with_files_is_never_touched_and_an_empty_one_is_filled(tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(shard("1.jpg"))
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "mine.txt").touch()
    with pytest.raises(DownloadError, match="birds exists; name another folder, or delete it"):
        pull(f"webdataset:{tmp_path}/b.tar", tmp_path / "birds")
    assert list(contents(tmp_path / "birds")) == ["mine.txt"]
    (tmp_path / "birds" / "mine.txt").unlink()
    pull(f"webdataset:{tmp_path}/b.tar", tmp_path / "birds")
    assert list(contents(tmp_path / "birds")) == ["b.tar"]


@pytest.mark.parametrize(("source", "module"), [("hf:a/b", "huggingface_hub"), ("kaggle:a/b", "kagglehub")])
def test_a_client_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    message = fails(source, tmp_path / "birds")
    assert module in message and 'pip install "wordgaze[pull]"' in message
