"""Files by address: which errors are tried again, and which file systems are known."""

import pytest

from wordgaze.core import storage
from wordgaze.core.errors import DataError
from wordgaze.core.storage import ATTEMPTS, AccessError, read_bytes, retried


class NoCredentialsError(Exception):
    """As botocore names it."""


@pytest.mark.parametrize(
    ("error", "kind", "attempts"),
    [
        (OSError("503 Slow Down"), "unreachable", ATTEMPTS),
        (RuntimeError("a library's own"), "unreachable", ATTEMPTS),
        (FileNotFoundError("404"), "missing", 1),
        (PermissionError("403"), "denied", 1),
        (NoCredentialsError("Unable to locate credentials"), "denied", 1),
        (ValueError("no URL"), "invalid", 1),
    ],
)
def test_what_may_pass_is_tried_again(
    error: Exception, kind: str, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(storage, "sleep", pauses.append)
    with pytest.raises(AccessError, match=r"^s3://team/a.jpg: ") as raised:
        retried(lambda: (_ for _ in ()).throw(error).__next__(), "s3://team/a.jpg")
    assert (raised.value.kind, len(pauses) + 1) == (kind, attempts)
    assert pauses == sorted(pauses)


def test_an_unknown_file_system_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="nosuch://a is not an address that can be read"):
        read_bytes("nosuch://a")
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(DataError, match=r'gs://team/a.jpg: files of gs:// cannot be read .*; pip install "gcsfs"'):
        read_bytes("gs://team/a.jpg")
