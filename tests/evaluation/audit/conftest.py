"""Fixtures of the tests of the audit."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.audit.examples import SAID, TRUTHS, Audit
from wordgaze.evaluation.audit.results import CaptionAudit
from wordgaze.evaluation.audit.run import audit_captions


@pytest.fixture(autouse=True)
def without_toolkit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toolkit's METEOR takes seconds, and no test here is about it."""
    monkeypatch.setattr("wordgaze.evaluation.score.toolkit_meteor", lambda systems, references: {})


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """Audits captions and references, which are given as mappings or as the rows of a file."""

    def run(captions: Any = SAID, references: Any = TRUTHS, training: Any = None, **options: Any) -> CaptionAudit:
        paths = [tmp_path / f"{name}.json" for name in ("mine", "truths", "training")]
        for path, content in zip(paths, (captions, references, training), strict=True):
            path.write_text(json.dumps(content), encoding="utf-8")
        return audit_captions(paths[0], paths[1], None if training is None else paths[2], **options)

    return run
