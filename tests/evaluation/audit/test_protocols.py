"""The scores by several protocols: what each fault changes."""

from pathlib import Path

import pytest

from tests.evaluation.audit.examples import SAID, TRUTHS, Audit, scores
from wordgaze.evaluation.score import ScoreSelection, score, score_files
from wordgaze.metrics.captions import score_captions
from wordgaze.text.tokenizers import get_tokenizer


def test_each_protocol_has_the_scores_of_what_it_says(audit: Audit, tmp_path: Path) -> None:
    captions = {key: f"<start> A {text[2:]} . <end>" for key, text in list(SAID.items())[2:]}
    audited = audit(captions)
    mine, truths = tmp_path / "mine.json", tmp_path / "truths.json"
    partial = score_files(mine, truths, selection=ScoreSelection(partial=True)).summary.scores["mine"]
    assert scores(audited, "markers") == pytest.approx(dict(partial.items()))
    ptb = get_tokenizer("ptb").tokenize
    references = [list(map(ptb, texts)) for texts in TRUTHS.values()]
    as_is = score_captions([ptb(captions.get(key, "")) for key in TRUTHS], references)
    assert scores(audited, "as_is") == pytest.approx(as_is)
    captioned = score_captions([ptb(text) for text in captions.values()], references[2:])
    assert scores(audited, "captioned") == pytest.approx(captioned)
    assert as_is["rouge_l"] < captioned["rouge_l"] < scores(audited, "markers")["rouge_l"]
    for protocol, change in (("blanks", str), ("blanks_lower", str.lower)):
        blanks = score_captions(
            [change(text).split() for text in captions.values()],
            [[change(text).split() for text in texts] for texts in list(TRUTHS.values())[2:]],
        )
        assert scores(audited, protocol) == pytest.approx(blanks)
    assert [row.tokenizer for row in audited.scores] == ["ptb", "ptb", "ptb", "blanks", "blanks"]


def test_faults_together_are_undone_together(audit: Audit) -> None:
    broken = {**SAID, "0.jpg": "<start> <end>", "1.jpg": "a c@@ at runs outside on grass", "2.jpg": "<start> a <unk>"}
    audited = audit(broken)
    mended = {**SAID, "2.jpg": "a"}
    del mended["0.jpg"]
    expected = score(mended, TRUTHS, num_resamples=0, partial=True)
    assert scores(audited, "all") == pytest.approx(dict(expected.items()))
    assert [row.protocol for row in audited.scores] == [
        "as_is",
        "markers",
        "unknown_words",
        "word_pieces",
        "empty_captions",
        "all",
        "blanks",
    ]
