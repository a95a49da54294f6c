"""The short form of the campaign: a dozen tries. ``docs/reference/reliability.md`` has the long form."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chaos.campaign import COMMANDS, KINDS, SIGNALS, lose_power, options

if TYPE_CHECKING:
    from tests.conftest import Project

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs" / "reference" / "reliability.md"


@pytest.mark.slow
def test_a_dozen_commands_that_are_ended_at_random_moments_lose_nothing(finished: "Project", tmp_path: Path) -> None:
    command = [
        "-m",
        "tests.chaos.campaign",
        "--tries",
        "12",
        "--stage",
        "prepare,features,train_stage2,caption",
        "--signal",
        ",".join(SIGNALS),
    ]
    done = subprocess.run(
        [sys.executable, *command, "--project", str(finished.root), "--room", str(tmp_path)],
        cwd=CHECKOUT, env={**finished.environment(), "PYTHONPATH": str(CHECKOUT / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 tries, 0 failures" in done.stdout


def test_a_loss_of_power_spares_what_was_flushed(tmp_path: Path) -> None:
    started = tmp_path / "started"
    started.touch()
    (tmp_path / "project").mkdir()
    for name in ("flushed", "waiting"):
        (tmp_path / "project" / name).write_bytes(b"x" * 1000)
        os.utime(tmp_path / "project" / name, ns=(2 * started.stat().st_mtime_ns,) * 2)
    flushed = tmp_path / "project" / "flushed"
    (tmp_path / "list").write_text(f"{flushed.stat().st_ino} 1000\n")
    lost = 0
    for number in range(20):
        lose_power(tmp_path / "project", tmp_path / "list", started, random.Random(number))
        lost += (tmp_path / "project" / "waiting").read_bytes() != b"x" * 1000
    assert flushed.read_bytes() == b"x" * 1000
    assert lost > 0


def rows() -> list[str]:
    """The command of each row of the table, without the quotes of Markdown."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [line.split("|")[4].strip().strip("`") for line in lines[1:] if "`" in line]


def test_the_command_of_every_row_exists_with_its_options() -> None:
    commands = rows()
    assert len(commands) >= 8
    for command in commands:
        words = command.split()
        if "tests.chaos.campaign" in command:
            given = options(words[words.index("tests.chaos.campaign") + 1 :])
            assert given.stage == "all" or set(given.stage.split(",")) <= set(COMMANDS), command
            assert given.signal == "all" or set(given.signal.split(",")) <= set(KINDS), command
        elif "-m tests." in command:
            source = (CHECKOUT / f"{words[words.index('-m') + 1].replace('.', '/')}.py").read_text(encoding="utf-8")
            assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == [], command
        else:
            files = [CHECKOUT / word.partition("::")[0] for word in words if "/" in word and "models/" not in word]
            assert files and all(file.exists() for file in files), command
