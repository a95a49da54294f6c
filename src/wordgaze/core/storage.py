"""Files by their address: paths of this machine, and addresses of the file systems of fsspec."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import SystemRandom
from time import sleep
from typing import IO, Any, TypeVar

import fsspec
from fsspec.utils import get_protocol

from wordgaze.core.errors import DataError
from wordgaze.core.files import atomic_write
from wordgaze.core.interruption import check_interruption
from wordgaze.core.printable import printable, reason_of

ATTEMPTS = 6
"""How often a read is tried that fails for a reason that may pass."""

FIRST_PAUSE = 0.5
"""Seconds before the second attempt. Each further pause is twice as long; a tenth of it is random."""

_REMOTE = re.compile(r"[a-z][a-z0-9+.:-]+://", re.IGNORECASE)
# Of the object stores, which write an object whole or not at all.
_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "wordgaze[remote]"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("abfs", "az"), "adlfs"),
}

T = TypeVar("T")


class AccessError(DataError):
    """A file that cannot be read. ``kind`` is ``missing``, ``denied``, ``unreachable`` or ``invalid``."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message, kind)
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[0])


def is_remote(address: str) -> bool:
    """Whether an address names a file system, as ``s3://bucket`` does, and is not a path."""
    return _REMOTE.match(address) is not None


def absolute(address: str) -> str:
    """An address that means the same on every worker: paths become absolute."""
    return address if is_remote(address) else str(Path(address).absolute())


def file_system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises DataError for a file system that is not known, or whose package is not installed.
    """
    protocol = get_protocol(address) if is_remote(address) else "file"
    try:
        if protocol != "file" and "::" in address:  # fsspec would open one file system through another
            raise ValueError("it has two file systems")
        return _system(protocol, os.getpid()), _path(protocol, address)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        remedy = f'pip install "{package}"' if package else "install the package that fsspec names for it"
        raise DataError(f"{address}: files of {protocol}:// cannot be read ({reason_of(error)}); {remedy}") from error
    except ValueError as error:
        raise DataError(f"{address} is not an address that can be read ({reason_of(error)}); check it") from error


@contextmanager
def open_address(address: str) -> Iterator[IO[bytes]]:
    """Opens a file for reading. Raises AccessError, also for what fails while it is read."""
    with access_errors(address):
        system, path = file_system(address)
        with system.open(path, "rb") as file:
            yield file


def read_bytes(address: str) -> bytes:
    """The contents of a file, by as many as ATTEMPTS attempts. Raises AccessError."""
    system, path = file_system(address)
    return retried(lambda: bytes(system.cat_file(path)), address)


def write_bytes(address: str, data: bytes) -> None:
    """Writes a file whole or not at all: on this machine by a rename, elsewhere as an object store does it."""
    if not is_remote(address):
        with atomic_write(Path(address)) as temporary:
            temporary.write_bytes(data)
        return
    system, path = file_system(address)

    def write() -> None:
        if get_protocol(address) not in _PACKAGES:  # object stores have no folders, and s3fs would create the bucket
            system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(path, data)

    retried(write, address)


def retried(action: Callable[[], T], address: str) -> T:
    """The result of ``action``, which is tried again after a pause if it fails for a reason that may pass.

    A file that is missing or forbidden is not tried again; an answer such as 503, or none, is. Raises AccessError.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with access_errors(address):
                return action()
        except AccessError as error:
            if error.kind != "unreachable" or attempt == ATTEMPTS or not is_remote(address):
                raise
        check_interruption()
        sleep(FIRST_PAUSE * 2 ** (attempt - 1) * SystemRandom().uniform(0.9, 1.1))
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def access_errors(address: str) -> Iterator[None]:
    """Whatever a file system raises becomes AccessError. The libraries of stores have classes of their own."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise AccessError(f"{address}: there is no such file; check the address", "missing") from error
    except PermissionError as error:
        raise _denied(address) from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise AccessError(f"{address}: is not a file ({_reason(error)}); check the address", "invalid") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        raise _unreachable(address, error) from error
    except ValueError as error:  # of a library that reads the file, or of one that reads the address
        raise AccessError(f"{address}: is not what its name says ({_reason(error)}); check it", "invalid") from error
    except Exception as error:
        if "Credentials" in type(error).__name__:  # there are none, or they have expired
            raise _denied(address) from error
        raise _unreachable(address, error) from error


def _denied(address: str) -> AccessError:
    return AccessError(f"{address}: is forbidden; check its permissions and your access keys", "denied")


def _unreachable(address: str, error: Exception) -> AccessError:
    return AccessError(f"{address}: cannot be reached ({_reason(error)}); try again later", "unreachable")


def _reason(error: Exception) -> str:
    return printable(f"{reason_of(error):.200}")


@cache
def _system(protocol: str, _process: int) -> Any:
    """One file system a process: those with connections cannot be used after a fork."""
    return fsspec.filesystem(protocol, skip_instance_cache=True)


def _path(protocol: str, address: str) -> str:
    return str(fsspec.get_filesystem_class(protocol)._strip_protocol(address))
