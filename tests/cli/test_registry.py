"""What ``promote`` and ``models`` print."""

import json

import pytest

from tests.cli.conftest import Refused, Run
from wordgaze.tracking import promotion, versions
from wordgaze.tracking.decisions import Decision
from wordgaze.tracking.gate import GateRow
from wordgaze.tracking.gate_data import GateIdentity
from wordgaze.tracking.versions import RegisteredVersion, ScoreEstimate

DATA = GateIdentity(name="dev", num_images=40, pictures="a", references="b", tokenizer="ptb", checksum="c0ffee")
ROWS = (
    GateRow(name="cider", champion=0.5, challenger=0.4, low=0.3, high=0.5, change=-0.1, change_low=-0.2,
            change_high=-0.05, p=0.01, passed=False),
    GateRow(name="size", champion=1.0, challenger=1.0, change=0.0, passed=True),
)  # fmt: skip
REFUSED = Decision(
    outcome="refused", version=2, champion=1, who="someone@here", when="2026-01-02T03:04:05.000000Z",
    why="it is not better", data=DATA, table=ROWS,
)  # fmt: skip


def test_a_refusal_prints_the_table_and_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "promote", lambda **_: REFUSED)
    code, out, err = run("promote")
    assert (code, err) == (1, "wordgaze: version 2 is not promoted: it is not better\n")
    for text in ("gate set dev, 40 images", "champion: version 1", "challenger: version 2", "CIDEr", "-0.1", "fail"):
        assert text in out
    assert "\x1b" not in out  # no colours in a pipe


def test_a_promotion_prints_why_and_the_address(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}
    promoted = REFUSED.model_copy(update={"outcome": "promoted", "why": "CIDEr 0.6 against 0.5"})
    monkeypatch.setattr(promotion, "promote", lambda **options: given.update(options) or promoted)
    code, out, err = run("promote", "--metric", "bleu_4", "--confidence", "0.9", "--data", "folder", "--new-data")
    assert (code, err) == (0, "")
    assert out.endswith(
        "promoted: CIDEr 0.6 against 0.5\ncaptioner version 2 is the champion: --model models:/captioner@champion\n"
    )
    assert given == {
        "data": "folder", "metric": "bleu_4", "confidence": 0.9, "new_data": True, "force": False, "reason": ""
    }  # fmt: skip


def test_options_that_contradict_each_other_are_refused(refused: Refused) -> None:
    assert refused("promote", "--force") == "--force needs --reason TEXT, which is kept with the decision"
    for option in (("--force",), ("--data", "dev"), ("--new-data",)):
        assert refused("promote", "--rollback", *option) == "--rollback compares nothing; give it with --reason alone"
    assert "metric must be bleu_1" in refused("promote", "--metric", "beauty")


def test_models_lists_the_versions(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    version = RegisteredVersion(
        version=2, aliases=("champion",), trained_on="scenes\x1b[31m", commit="abc", weights="def",
        registered="2026-01-01T00:00:00Z", evaluated_on="test, 100 images",
        evaluation={"cider": ScoreEstimate(value=0.61, low=0.5, high=0.7)}, gate_data=str(DATA),
        gate={"cider": ScoreEstimate(value=0.4, low=0.3, high=0.5)}, decision=REFUSED,
    )  # fmt: skip
    monkeypatch.setattr(versions, "registered_versions", lambda: [version])
    code, out, err = run("models")
    assert (code, err) == (0, "")
    for text in ("champion", "0.4 [0.3, 0.5] (dev)", "0.61 [0.5, 0.7] (test)", "refused 2026-01-02", " d "):
        assert text in out
    assert "\x1b" not in out  # of what a stranger has written into the registry
    [shown] = json.loads(run("models", "--json")[1])
    assert RegisteredVersion.model_validate(shown) == version
    monkeypatch.setattr(versions, "registered_versions", list)
    assert run("models")[1] == "captioner has no versions; run `wordgaze register`\n"
