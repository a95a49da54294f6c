"""What a model card says, by what is recorded."""

from pathlib import Path

import pytest

from tests.evaluation.reports import evaluation_details, evaluation_report
from wordgaze.evaluation.model_card.records import StageCost, TrainingRecords
from wordgaze.evaluation.model_card.sections import CALIBRATION_SECTION, GROUNDING_SECTION, card_sections
from wordgaze.inference.captioner_folder import read_card

COSTS = (
    StageCost("features", 20.0, 38.0, 7200.0, "a processor, 2 CPUs", "c" * 40, earlier=True),
    StageCost("train_stage2", 100.4, 190.0, 3600.0, "a processor, 2 CPUs", "d" * 40),
)


def sections(folder: Path, **records: object) -> dict[str, str]:
    full = {"report": evaluation_report(), "details": evaluation_details()} | records
    return card_sections("small", read_card(folder), TrainingRecords(**full), "wordgaze pack")  # type: ignore[arg-type]


def test_grounding_stands_beside_what_does_not_depend_on_the_word(captioner_folder: Path) -> None:
    text = sections(captioner_folder)[GROUNDING_SECTION]
    assert "| the attention's maximum lies in a box of the noun (pointing game) | 71% | 55% | 42% |" in text
    assert "| share of the attention inside the boxes | 48% | – | – |" in text


def test_without_boxes_the_card_says_that_attention_was_not_measured(captioner_folder: Path) -> None:
    text = sections(captioner_folder, report=evaluation_report(grounding=None))[GROUNDING_SECTION]
    assert text.startswith("The test split of flickr8k has no boxes")


def test_calibration_of_words_and_captions(captioner_folder: Path) -> None:
    text = sections(captioner_folder)[CALIBRATION_SECTION]
    assert "expected calibration error 0.050, Brier score 0.180" in text
    assert "expected calibration error 0.034" in text and "CIDEr of 0.731, all have 0.500" in text
    none = sections(captioner_folder, report=evaluation_report(confidence=None))[CALIBRATION_SECTION]
    assert none.endswith("The captioner states no confidence of a whole caption.")


def test_what_was_measured_is_the_cost(captioner_folder: Path) -> None:
    text = sections(captioner_folder, costs=COSTS)["Environmental cost"]
    assert "| features (in an earlier pass) | 20 | 38 | 2.0 Wh |" in text
    assert "| train_stage2 | 100 | 190 | 1.0 Wh |" in text
    assert "| all | 120 | 228 | 3.0 Wh |" in text
    assert "on a processor, 2 CPUs:" in text


def test_energy_that_one_stage_did_not_measure_is_not_summed(captioner_folder: Path) -> None:
    costs = (COSTS[0], COSTS[1]._replace(joules=None))
    assert "| all | 120 | 228 | – |" in sections(captioner_folder, costs=costs)["Environmental cost"]


def test_without_counters_no_energy_is_guessed(captioner_folder: Path) -> None:
    text = sections(captioner_folder, costs=tuple(cost._replace(joules=None) for cost in COSTS))["Environmental cost"]
    assert "does not measure its energy" in text
    assert sections(captioner_folder)["Environmental cost"] == "What the training took is not recorded."


@pytest.mark.parametrize(
    ("dataset", "setting", "machine"),
    [
        ("scenes", "auto", "every x86-64"),
        ("flickr8k", "auto", "the same kind"),
        ("flickr8k", "any_cpu", "every x86-64"),
    ],
)
def test_how_to_make_it_again_to_the_byte(captioner_folder: Path, dataset: str, setting: str, machine: str) -> None:
    text = sections(
        captioner_folder,
        report=evaluation_report(dataset=dataset),
        params={"reproducible": setting, "seed": 1},
        outputs={"models/stage2": "ab12.dir"},
        costs=COSTS,
    )["How it was made"]
    assert "    dvc repro\n" in text
    assert f"give the same bytes on {machine}" in " ".join(text.split())
    assert f"| weights before packing, SHA-256 | `{'5f' * 32}` |" in text
    assert "| models/stage2, MD5 | `ab12.dir` |" in text
    assert f"`{'c' * 12}` and `{'d' * 12}`" in text
