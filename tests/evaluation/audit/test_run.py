"""``wordgaze audit``: every fault of a file of captions is found once; ids, references and frequent captions."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.audit.examples import SAID, TRUTHS, Audit, by_check, faults, rows, scores
from wordgaze.core.errors import CaptionsError, ScoreError
from wordgaze.evaluation.audit.results import AUDIT_CHECKS, CaptionAudit
from wordgaze.evaluation.audit.run import audit_captions
from wordgaze.evaluation.score import ScoreSelection


def test_a_file_without_a_fault_has_none(audit: Audit) -> None:
    audited = audit()
    assert faults(audited) == set()
    assert [row.protocol for row in audited.scores] == ["as_is", "blanks"]
    assert (audited.num_captions, audited.num_images, audited.tokenizer) == (12, 12, "ptb")
    assert audited.references_per_image == {3: 12}
    assert audited.training is None and "leaked_images" not in by_check(audited)


def test_ids_that_do_not_match_are_found(audit: Audit) -> None:
    captions = [
        *rows({key: text for key, text in SAID.items() if key not in ("0.jpg", "1.jpg")}),
        {"image_id": "99.jpg", "caption": "a bird"},
        {"image_id": "5.jpg", "caption": "a second caption"},
        {"image_id": "1.jpg", "caption": None},
    ]
    audited = audit(captions)
    found = by_check(audited)
    assert (found["missing_captions"].count, found["missing_captions"].total) == (2, 12)
    assert found["missing_captions"].image == "0.jpg"
    unknown, repeated, refused = (found[name] for name in ("unknown_images", "repeated_captions", "refused_rows"))
    assert (unknown.count, unknown.total, unknown.image, unknown.text) == (1, 12, "99.jpg", "a bird")
    assert (repeated.count, repeated.image) == (1, "5.jpg")
    assert repeated.text == "a goat runs outside on grass | a second caption"
    assert (
        refused.count == 1 and refused.text == "'1.jpg': caption is None, which is not a caption; correct or remove it"
    )
    assert faults(audited) == {"missing_captions", "unknown_images", "repeated_captions", "refused_rows"}
    assert [row.protocol for row in audited.scores] == ["as_is", "captioned", "last_caption", "blanks"]
    assert [row.num_images for row in audited.scores] == [12, 10, 10, 10]


def test_names_of_one_picture_in_two_forms_are_one_image(audit: Audit) -> None:
    found = by_check(audit([*rows(SAID), {"image_id": "photos/0.jpg", "caption": "a dog again"}]))
    assert (found["repeated_captions"].count, found["repeated_captions"].image) == (1, "0.jpg")
    assert found["unknown_images"].count == 0


def test_a_name_that_fits_several_images_is_explained(audit: Audit) -> None:
    truths = {f"d{n}/0.jpg": TRUTHS[f"{n}.jpg"] for n in range(2)}
    unknown = by_check(audit({"0.jpg": "a dog"}, truths))["unknown_images"]
    assert "'0.jpg' matches d0/0.jpg and d1/0.jpg" in unknown.advice
    assert "{" not in by_check(audit({"x.jpg": "a dog"}))["unknown_images"].advice


def test_captions_of_no_known_image_are_audited_without_scores(audit: Audit) -> None:
    audited = audit({"x.jpg": "<start> a dog"})
    assert audited.scores == ()
    assert {"missing_captions", "unknown_images", "markers"} <= faults(audited)


def test_a_split_is_audited_and_captions_of_others_are_no_fault(audit: Audit) -> None:
    truths = [
        {"image": key, "captions": texts, "split": "test" if n < 4 else "val"}
        for n, (key, texts) in enumerate(TRUTHS.items())
    ]
    audited = audit(SAID, truths, selection=ScoreSelection(split="test"))
    assert (audited.num_images, audited.num_captions) == (4, 4)
    assert by_check(audited)["other_splits"].count == 8
    assert faults(audited) == set()


@pytest.mark.parametrize(
    ("check", "references", "example"),
    [
        ("fewer_references", ["a dog", "one dog"], "2 of 3"),
        ("empty_references", ["a dog", "one dog", "the dog", ""], ""),
        ("empty_references", ["a dog", "one dog", "the dog", "."], "."),
        ("repeated_references", ["a dog", "one dog", "the dog", "A dog."], "A dog."),
        ("reference_markers", ["a dog", "one dog", "startseq the dog endseq"], "startseq the dog endseq"),
    ],
)
def test_a_fault_of_the_references_of_one_image_is_found(
    audit: Audit, check: str, references: list[str], example: str
) -> None:
    audited = audit(SAID, {**TRUTHS, "0.jpg": references})
    finding = by_check(audited)[check]
    assert faults(audited) == {check}
    assert (finding.count, finding.image, finding.text) == (1, "0.jpg", example)
    protocol = {"empty_references": "references", "repeated_references": "references", "reference_markers": "markers"}
    assert protocol.get(check, check) in {row.protocol for row in audited.scores}


def test_empty_references_are_no_repetition(audit: Audit) -> None:
    found = by_check(audit(SAID, {**TRUTHS, "0.jpg": [*TRUTHS["0.jpg"], "", "."]}))
    assert (found["empty_references"].count, found["repeated_references"].count) == (2, 0)


def test_new_letters_of_a_script_with_many_are_no_fault(audit: Audit) -> None:
    truths = {"1.jpg": ["一只狗在草地上跑"], "2.jpg": ["一只猫睡觉"]}
    audited = audit({"1.jpg": "一匹马在吃草", "2.jpg": "猫睡觉"}, truths)
    assert (audited.tokenizer, faults(audited)) == ("characters", set())
    assert faults(audit({"1.jpg": "一只狗跑🐕", "2.jpg": "猫睡觉"}, truths)) == {"other_characters"}


def test_an_image_without_any_reference_is_not_scored(audit: Audit) -> None:
    audited = audit(SAID, {**TRUTHS, "0.jpg": [""]})
    assert faults(audited) == {"fewer_references", "empty_references"}
    assert {row.num_images for row in audited.scores} == {11}


def test_the_most_frequent_caption_and_the_different_ones_are_counted(audit: Audit) -> None:
    captions = SAID | dict.fromkeys(["0.jpg", "1.jpg", "2.jpg"], "a man rides a bike")
    found = by_check(audit({**captions, "2.jpg": "A man rides a bike."}))
    assert (found["most_frequent"].count, found["most_frequent"].total) == (3, 12)
    assert (found["most_frequent"].image, found["most_frequent"].text) == ("0.jpg", "a man rides a bike")
    assert found["different_captions"].count == 10


def test_the_audit_is_written_as_json_and_read_back(audit: Audit, tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    audited = audit({**SAID, "0.jpg": "<start> a dog"}, output=path)
    loaded = CaptionAudit.load(path)
    assert loaded.findings == audited.findings
    assert scores(loaded, "markers") == pytest.approx(scores(audited, "markers"), abs=1e-6)
    with pytest.raises(CaptionsError, match=r"audit\.html is not a valid name of an audit; end it with \.json"):
        audit(output=tmp_path / "audit.html")


def test_files_and_options_that_cannot_be_used_are_refused(audit: Audit, tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="tokenizer 'bpe' is unknown"):
        audit(tokenizer="bpe")
    with pytest.raises(CaptionsError, match=r"truths\.json has no splits, and so no 'test'"):
        audit(selection=ScoreSelection(split="test"))
    with pytest.raises(CaptionsError, match=r"none\.json cannot be read"):
        audit_captions(tmp_path / "mine.json", tmp_path / "none.json")
    with pytest.raises(CaptionsError, match=r"training\.json holds no captions"):
        audit(training=[])


def test_every_check_is_reported_whether_it_finds_something_or_not(audit: Audit) -> None:
    audited = audit(SAID, TRUTHS, {"x.jpg": ["a bird"]})
    assert [finding.check for finding in audited.findings] == list(AUDIT_CHECKS)
    assert all(finding.advice == "" for finding in audited.findings if not finding.count)


WORDS = st.lists(st.sampled_from(["red", "dogs", "run", "here", "two", "cats", "3"]), min_size=1, max_size=6)
CLEAN = st.integers(1, 3).flatmap(
    lambda number: st.dictionaries(
        st.text("abc", min_size=1, max_size=3).map("{}.jpg".format),
        st.lists(WORDS.map(" ".join), min_size=number, max_size=number, unique=True),
        min_size=1,
        max_size=8,
    )
)


@settings(max_examples=30, deadline=None)
@given(references=CLEAN)
def test_the_first_references_have_no_fault(
    tmp_path_factory: pytest.TempPathFactory, references: dict[str, list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("audit")
    (folder / "truths.json").write_text(json.dumps(references))
    (folder / "mine.json").write_text(json.dumps({key: texts[0] for key, texts in references.items()}))
    (folder / "training.json").write_text(json.dumps({"training.jpg": ["two birds fly there", "birds"]}))
    audited = audit_captions(folder / "mine.json", folder / "truths.json", folder / "training.json")
    assert faults(audited) == set()
    assert by_check(audited)["reference_captions"].count == len(references)
    assert [row.protocol for row in audited.scores] == ["as_is", "blanks"]
    assert dict(audited.scores[0].scores.items())["rouge_l"] == pytest.approx(1)
