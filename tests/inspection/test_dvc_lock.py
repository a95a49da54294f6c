"""A dvc.lock that a kill has truncated: found, and replaced by the committed one."""

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import AUTHOR
from wordgaze.inspection.dvc_lock import find_lock_fault, mend_lock, read_lock_fault

WHOLE = f"""schema: '2.0'
stages:
  prepare:
    cmd: python -m pipeline prepare
    deps:
    - path: data/raw
      hash: md5
      md5: {"a1" * 16}.dir
      size: 3
    params:
      params.yaml:
        prepare:
          min_count: 5
    outs:
    - path: data/prepared
      hash: md5
      md5: {"b2" * 16}.dir
      size: 4
      nfiles: 2
  features:
    cmd: python -m pipeline features
    outs:
    - path: data/features
      hash: md5
      md5: {"c3" * 16}.dir
      size: 5
"""


def test_a_whole_file_and_a_missing_one_are_sound(tmp_path: Path) -> None:
    assert find_lock_fault(WHOLE) == ""
    assert read_lock_fault(tmp_path / "dvc.lock") == ""


@given(st.integers(0, len(WHOLE)))
def test_what_is_left_of_a_truncated_file_is_refused_or_tells_nothing_wrong(length: int) -> None:
    """What is left may end between two entries: DVC runs again what it does not find."""
    left = WHOLE[:length]
    fault = find_lock_fault(left)
    assert "\n" not in fault
    if not fault:
        hashes = re.findall(r"md5: (\S+)", left)
        assert all(len(one.removesuffix(".dir")) == 32 for one in hashes)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "no schema"), ("schema: '2.0'\n", "no stages"), ("schema: '2.0'\nstages:\n  a:\n", "stage a is not whole"),
        ("schema: '2.0'\nstages:\n  a: {b: [\n", "not YAML from line"), ("schema: '2.0'\nst\0\0\0", "null bytes"),
        (WHOLE[: WHOLE.index("b2b2") + 9], "stage prepare is not whole"),
    ],
)  # fmt: skip
def test_damage_is_named(content: str, fault: str) -> None:
    assert fault in find_lock_fault(content)


@pytest.mark.parametrize("is_committed", [True, False])
def test_the_committed_file_takes_the_place_of_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    lock = Path("dvc.lock")
    lock.write_text(WHOLE)
    if is_committed:
        subprocess.run(["git", "init", "-q"], check=True)
        subprocess.run(["git", "add", "dvc.lock"], check=True)
        subprocess.run(["git", *AUTHOR, "commit", "-q", "-m", "run"], check=True)
    truncated = WHOLE[: WHOLE.index("b2b2") + 9]
    lock.write_text(truncated)
    assert read_lock_fault()
    assert "dvc.lock.damaged" in mend_lock()
    assert (lock.read_text() if lock.exists() else None) == (WHOLE if is_committed else None)
    assert Path("dvc.lock.damaged").read_text() == truncated
