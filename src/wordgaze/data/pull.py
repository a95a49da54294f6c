"""Data sets of the Hugging Face Hub, of Kaggle and of WebDataset shards, as plain local folders.

The clients of the two sites do the transfer; they are the extra ``wordgaze[pull]``. Files arrive in a hidden folder
beside the one asked for, which takes its name when everything is there; a pull that was interrupted continues in it.
Nothing that arrives is ever run: scripts of a repository are left out, and a shard that is a command is refused.
"""

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError

from wordgaze.core.errors import DownloadError
from wordgaze.core.files import check_output_folder, fingerprint
from wordgaze.core.progress import transfer
from wordgaze.data.datasets.archives import members
from wordgaze.data.datasets.fetch import checksums, fetch, local_path

SOURCES = "hf:OWNER/NAME, kaggle:OWNER/NAME or webdataset:URL"
MAX_SHARDS = 100_000

_CODE = ("*.py", "*.pyc", "*.ipynb", "*.sh", "*.bat", "*.so", "*.dll", "*.exe", "*.pkl", "*.pickle")
_ABOUT = ("README*", "LICENSE*", "*.md", ".git*", "dataset_infos.json")  # files of a repository that hold no data
_SHARDS = (".tar", ".tar.gz", ".tgz")
_BOOKKEEPING = ".cache"  # what the clients need to resume; also the name that the Hub's client takes
_REPOSITORY = re.compile(r"(?P<name>[^/@\s]+(?:/[^/@\s]+)?)(?:@(?P<revision>\S+))?")
_KAGGLE = re.compile(r"[^/\s]+/[^/\s]+(?:/versions/\d+)?")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True)
class Pulled:
    """A data set that is complete in ``folder``."""

    folder: Path
    num_files: int
    num_bytes: int


def pull(source: str, folder: Path) -> Pulled:
    """Downloads the data set ``source`` to ``folder``, which must not exist or be empty.

    ``source`` is ``hf:OWNER/NAME`` (``@REVISION`` may follow), ``kaggle:OWNER/NAME`` (``/versions/N`` may follow), or
    ``webdataset:URL`` with ranges such as ``{000..010}``, where the URL is ``http(s)://``, ``file://`` or a path. If
    interrupted, the same call continues. Raises DownloadError for a source that is unknown, not there, unreachable,
    private or broken, for a client that is not installed, and for a folder with files, and DataError for one whose
    parent folder is not there.
    """
    scheme, _, name = source.partition(":")
    if scheme not in _PULLERS or not name:
        raise DownloadError(f"{source!r} is not a data set that can be pulled; give {SOURCES}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DownloadError(f"{folder} exists; name another folder, or delete it")
    check_output_folder(folder, "FOLDER")
    staging = folder.with_name(f".{folder.name}.{fingerprint(source)[:8]}.pull")
    staging.mkdir(exist_ok=True)
    try:
        _PULLERS[scheme](name, staging)
    except KeyboardInterrupt:
        raise DownloadError(f"{source} was interrupted; run the same command again to resume") from None
    except DownloadError:
        if not any(path.is_file() for path in staging.rglob("*")):
            shutil.rmtree(staging, ignore_errors=True)  # there is nothing to continue from
        raise
    shutil.rmtree(staging / _BOOKKEEPING, ignore_errors=True)
    sizes = [path.stat().st_size for path in staging.rglob("*") if path.is_file()]
    if folder.is_dir():
        folder.rmdir()
    staging.rename(folder)
    return Pulled(folder, len(sizes), sum(sizes))


def _pull_repository(name: str, staging: Path) -> None:
    """The files of a data set's repository on the Hugging Face Hub, or on the server that ``HF_ENDPOINT`` names."""
    with _client("hf"):
        from huggingface_hub import HfApi, snapshot_download
    match = _REPOSITORY.fullmatch(name)
    if match is None:
        raise DownloadError(f"hf:{name} is not the name of a data set; give hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    repository = match["name"]
    with _errors_of_the_hub(name):
        # The commit is asked for first: with a branch, the client takes a part that is there for the whole if the
        # network fails.
        info = HfApi().dataset_info(repository, revision=match["revision"])
        wanted = _without_code(name, [file.rfilename for file in info.siblings or []])
        snapshot_download(
            repository, repo_type="dataset", revision=info.sha, local_dir=staging, ignore_patterns=[*_CODE, ".git*"]
        )
    if missing := [file for file in wanted if not (staging / file).is_file()]:
        raise DownloadError(f"hf:{name} lacks {missing[0]} after the download; run the same command again to resume")


def _without_code(name: str, files: list[str]) -> list[str]:
    """The files of a repository that are downloaded. Raises DownloadError if none has data or a path is unsafe."""
    if unsafe := next((file for file in files if ".." in PurePosixPath(file).parts or file.startswith("/")), None):
        raise DownloadError(f"hf:{name} has a file {unsafe!r}, which leads out of the folder; use another data set")
    wanted = [file for file in files if not _is_one_of(file, (*_CODE, ".git*"))]
    if all(_is_one_of(file, _ABOUT) for file in wanted):
        script = next((file for file in files if file.endswith(".py")), None)
        if script is None:
            raise DownloadError(f"hf:{name} has no files with data; check it at its page on the Hub")
        raise DownloadError(
            f"hf:{name} is made by the script {script}, which is not run; its tables may be at "
            f"hf:{name.partition('@')[0]}@refs/convert/parquet"
        )
    return wanted


def _is_one_of(file: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(file, pattern) for pattern in patterns)


@contextmanager
def _errors_of_the_hub(name: str) -> Iterator[None]:
    from huggingface_hub import errors
    from huggingface_hub.errors import HTTPError as NetworkError  # type: ignore[attr-defined]

    try:
        yield
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"hf:{name} must be requested on its page on the Hub; then set HF_TOKEN to an access token of that account"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadError(
            f"hf:{name} is not there, or private; check the name, or set HF_TOKEN to an access token"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(f"hf:{name} has no such revision; leave out what follows @ for the newest") from error
    except errors.HFValidationError as error:
        raise DownloadError(f"hf:{name} is not the name of a data set ({_line(error)}); give hf:OWNER/NAME") from error
    except errors.OfflineModeIsEnabled as error:
        raise DownloadError(f"hf:{name} needs the network, which HF_HUB_OFFLINE forbids; unset it") from error
    except (errors.HfHubHTTPError, errors.FileMetadataError, errors.LocalEntryNotFoundError, NetworkError) as error:
        raise DownloadError(
            f"hf:{name} could not be downloaded ({_line(error)}); run the same command again to resume"
        ) from error


def _pull_from_kaggle(name: str, staging: Path) -> None:
    """The files of a data set on Kaggle, by way of the client's own cache (``KAGGLEHUB_CACHE``), which can resume."""
    with _client("kaggle"):
        import kagglehub
    if _KAGGLE.fullmatch(name) is None:
        raise DownloadError(f"kaggle:{name} is not the name of a data set; give kaggle:OWNER/NAME")
    logging.getLogger("kagglehub").setLevel(logging.WARNING)  # it prints what it does on stdout
    with _errors_of_kaggle(name):
        cached = kagglehub.dataset_download(name)
    shutil.rmtree(staging)
    shutil.copytree(cached, staging)  # links are followed: the folder depends on nothing outside it


@contextmanager
def _errors_of_kaggle(name: str) -> Iterator[None]:
    import requests
    from kagglehub import exceptions

    credentials = "set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, from the settings of your account"
    try:
        yield
    except (exceptions.UnauthenticatedError, exceptions.CredentialError) as error:
        raise DownloadError(f"kaggle:{name} needs an account: {credentials}") from error
    except exceptions.KaggleApiHTTPError as error:
        status = None if error.response is None else error.response.status_code
        if status == 404:
            raise DownloadError(f"kaggle:{name} is not there; check the name") from error
        if status in (401, 403):
            raise DownloadError(
                f"kaggle:{name} is not there, private, or needs consent on its page; check the name, and {credentials}"
            ) from error
        raise _not_downloaded(name, error) from error
    except (exceptions.BackendError, exceptions.DataCorruptionError, requests.RequestException, ValueError) as error:
        raise _not_downloaded(name, error) from error


def _not_downloaded(name: str, error: Exception) -> DownloadError:
    reason = _line(error)
    return DownloadError(f"kaggle:{name} could not be downloaded ({reason}); run the same command again to resume")


def _pull_shards(address: str, staging: Path) -> None:
    """The shards of a WebDataset, verified by the ``SHA256SUMS`` beside them where there is one."""
    addresses = _shards(address)
    sums: dict[str, Mapping[str, str]] = {}
    for one in addresses:
        base, name = one.rpartition("/")[::2]
        target = staging / name
        if target.exists():  # from the pull that was interrupted
            continue
        if base not in sums:
            sums[base] = _checksums(base) if base else {}
        with transfer(f"download {name}") as report:
            path = fetch(one, staging / _BOOKKEEPING, sums[base].get(name), report)
        is_local = local_path(one) is not None
        _check(path, one, is_local=is_local)
        if is_local:
            _copy(path, target)
        else:
            os.replace(path, target)


def _shards(address: str) -> list[str]:
    """The addresses of the shards. Raises DownloadError if one is not an archive, or two have one name."""
    if address.startswith("pipe:"):
        raise DownloadError(f"webdataset:{address} is a command, which is not run; give the address of the shards")
    addresses = expand_braces(address)
    names = [one.rpartition("/")[2] for one in addresses]
    if other := next((name for name in names if not name.lower().endswith(_SHARDS)), None):
        raise DownloadError(f"webdataset:{address}: {other or address!r} is not a shard; its name must end with .tar")
    if len(set(names)) < len(names):
        raise DownloadError(f"webdataset:{address} has two shards of one name; pull them to two folders")
    return addresses


def expand_braces(address: str) -> list[str]:
    """``shard-{008..010}.tar`` → ``shard-008.tar``, ``shard-009.tar``, ``shard-010.tar``; ``{a,b}`` → ``a``, ``b``.

    Raises DownloadError for a brace that is empty or not closed, a range that ends before it starts, and more than
    MAX_SHARDS addresses.
    """
    parts = [""]
    position = 0
    for match in _BRACES.finditer(address):
        between = address[position : match.start()]
        position = match.end()
        choices = _choices(address, match[1])
        if len(parts) * len(choices) > MAX_SHARDS:
            raise DownloadError(f"webdataset:{address} has more than {MAX_SHARDS} shards; pull it in parts")
        parts = [f"{part}{between}{choice}" for part in parts for choice in choices]
    rest = address[position:]
    if set("{}") & set("".join(_BRACES.split(address)[::2])):
        raise DownloadError(f"webdataset:{address} has a brace that is not closed; write {{000..010}}")
    return [part + rest for part in parts]


def _choices(address: str, inside: str) -> list[str]:
    if limits := _RANGE.fullmatch(inside):
        first, last = int(limits[1]), int(limits[2])
        if first > last:
            raise DownloadError(f"webdataset:{address}: the range {{{inside}}} ends before it starts; swap its ends")
        if last - first >= MAX_SHARDS:
            raise DownloadError(f"webdataset:{address} has more than {MAX_SHARDS} shards; pull it in parts")
        width = len(limits[1]) if limits[1].startswith("0") else 0
        return [f"{number:0{width}d}" for number in range(first, last + 1)]
    if "," not in inside:
        raise DownloadError(f"webdataset:{address}: {{{inside}}} is neither {{000..010}} nor {{a,b}}; correct it")
    return inside.split(",")


def _checksums(base: str) -> Mapping[str, str]:
    """``SHA256SUMS`` beside the shards; empty where there is none, which some servers answer with a refusal."""
    try:
        return checksums(base)
    except DownloadError as error:
        if isinstance(error.__cause__, HTTPError):
            return {}
        raise


def _check(path: Path, address: str, *, is_local: bool) -> None:
    """Raises DownloadError for a broken or unsafe shard. A download is deleted, so that it is made again."""
    try:
        members(path)
    except DownloadError as error:
        if not is_local:
            path.unlink()
            path.with_name(f"{path.name}.origin").unlink(missing_ok=True)
        raise DownloadError(str(error).replace(str(path), address)) from error


def _copy(path: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(path, part)
    os.replace(part, target)


@contextmanager
def _client(scheme: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise DownloadError(
            f'{scheme}: needs {error.name}, which is not installed; pip install "wordgaze[pull]"'
        ) from error


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


_PULLERS: dict[str, Callable[[str, Path], None]] = {
    "hf": _pull_repository,
    "kaggle": _pull_from_kaggle,
    "webdataset": _pull_shards,
}
