"""Captions and images of the training among those that are scored."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.evaluation.audit.examples import SAID, TRUTHS, Audit, by_check, faults, scores
from wordgaze.evaluation.score import ScoreSelection, score


def karpathy(split: str, names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"filename": name, "split": split, "sentences": [{"raw": text} for text in TRUTHS[name]]} for name in names]


def test_images_of_the_training_are_found_by_id_and_by_their_references(audit: Audit) -> None:
    training = {
        "photos/0.jpg": ["a dog", *TRUTHS["0.jpg"][:1]],
        "000001.png": ["something else"],
        "copy.jpg": [text.upper() for text in reversed(TRUTHS["2.jpg"])],
        "other.jpg": [TRUTHS["3.jpg"][0], SAID["4.jpg"], "the last one"],
    }
    audited = audit(SAID, TRUTHS, training)
    found = by_check(audited)
    assert (found["leaked_images"].count, found["leaked_images"].total, found["leaked_images"].image) == (
        2,
        12,
        "0.jpg",
    )
    assert found["leaked_images"].text == "in training photos/0.jpg"
    assert found["leaked_images"].advice.endswith("(with a caption of the training image: 1)")
    assert (found["leaked_references"].count, found["leaked_references"].image) == (1, "2.jpg")
    assert (found["shared_references"].count, found["shared_references"].total) == (5, 36)
    assert (found["training_captions"].count, found["training_captions"].image) == (1, "4.jpg")
    rest = [key for key in SAID if key not in ("0.jpg", "1.jpg", "2.jpg")]
    expected = score([SAID[key] for key in rest], [TRUTHS[key] for key in rest], num_resamples=0)
    assert scores(audited, "leak") == pytest.approx(dict(expected.items()))


def test_an_image_is_one_leak_and_a_single_equal_reference_is_none(audit: Audit) -> None:
    found = by_check(audit(SAID, TRUTHS, {"0.jpg": TRUTHS["0.jpg"]}))
    assert (found["leaked_images"].count, found["leaked_references"].count) == (1, 0)
    found = by_check(audit({"0.jpg": "a cat"}, {"0.jpg": ["a dog", "A dog."]}, {"x.jpg": ["a dog"]}))
    assert (found["leaked_references"].count, found["shared_references"].count) == (0, 2)


def test_of_a_training_file_with_splits_only_train_is_taken(audit: Audit) -> None:
    names = list(TRUTHS)
    whole = {"images": [*karpathy("train", names[:3]), *karpathy("test", names[3:])]}
    audited = audit({name: SAID[name] for name in names[3:]}, whole, whole, selection=ScoreSelection(split="test"))
    assert faults(audited) == set()
    assert audited.training == "training.json"
    assert by_check(audit(SAID, whole, whole))["leaked_images"].count == 3


def test_images_of_equal_names_in_other_folders_are_no_leak(audit: Audit) -> None:
    truths = {f"test/{key}": texts for key, texts in TRUTHS.items()}
    captions = {f"test/{key}": text for key, text in SAID.items()}
    training = {f"train/{key}": [f"picture {key}"] for key in TRUTHS}
    assert by_check(audit(captions, truths, training))["leaked_images"].count == 0


def test_numbers_that_another_column_counts_are_no_leak(audit: Audit) -> None:
    truths = {
        "images": [{**each, "imgid": n, "cocoid": 500 + n} for n, each in enumerate(karpathy("test", list(TRUTHS)))]
    }
    training = {
        "images": [
            {"filename": f"train_{n}.jpg", "imgid": 50 + n, "cocoid": n, "sentences": [{"raw": f"thing {n}"}]}
            for n in range(12)
        ]
    }
    assert by_check(audit(SAID, truths, training))["leaked_images"].count == 0


def test_captions_that_are_references_are_counted(audit: Audit) -> None:
    found = by_check(audit({**SAID, "0.jpg": "A dog runs over the grass!", "1.jpg": TRUTHS["0.jpg"][0]}))
    finding = found["reference_captions"]
    assert (finding.count, finding.total, finding.image, finding.level) == (1, 12, "0.jpg", "note")
