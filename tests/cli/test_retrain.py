"""What ``retrain`` prints, with steps that do nothing."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.cli.conftest import Refused, Run
from wordgaze.app.corrections import Corrections
from wordgaze.tracking import initial_captioner, promotion
from wordgaze.tracking.decisions import Decision
from wordgaze.tracking.retraining import InitialCaptioner

CHAMPION = InitialCaptioner("models:/captioner/1", "0123456789abcdef")
REFUSED = Decision(
    outcome="refused", version=2, champion=1, who="someone@here", when="2026-01-02T03:04:05.000000Z",
    why="it is not better at a confidence of 0.95",
)  # fmt: skip


@pytest.fixture
def corrected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A project with a correction, and the commands that are run."""
    ran: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command[2:])
        return subprocess.CompletedProcess(command, 0)

    (tmp_path / "params.yaml").write_text("seed: 1\n")
    Corrections(tmp_path / "corrections.sqlite").add(Image.new("RGB", (9, 9)), "a.png", "a cat", "a dog", "photos", "1")
    monkeypatch.setattr(initial_captioner, "find_initial_captioner", lambda *_: CHAMPION)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(promotion, "promote", lambda: REFUSED)
    return ran


def test_a_refusal_of_the_gate_completes_the_retraining(run: Run, corrected: list[list[str]]) -> None:
    code, out, err = run("retrain")
    assert (code, err) == (0, "")
    assert [command[1] for command in corrected] == ["corrections", "pack", "exp", "register"]
    assert "[5/5] compare it with the champion: wordgaze promote\n" in out
    assert "not promoted: it is not better at a confidence of 0.95\n" in out
    assert "version 2 stays the challenger, and version 1 the champion; see wordgaze models\n" in out
    assert "ended with exit code" not in out


def test_from_scratch_no_captioner_is_asked_for(run: Run, refused: Refused, corrected: list[list[str]]) -> None:
    _, tuned, _ = run("retrain", "--dry-run")
    code, scratch, _ = run("retrain", "--dry-run", "--from-scratch")
    assert code == 0
    assert ("models/initial/0123456789abcdef" in tuned, "initial" in scratch) == (True, False)
    assert refused("retrain", "--from-scratch", "--model", "photos") == (
        "--from-scratch continues no captioner; leave out --model photos"
    )
    assert corrected == []
