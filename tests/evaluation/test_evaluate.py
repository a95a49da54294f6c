"""Evaluations of captioners: of data sets with and without boxes, and with attention that does not sum to one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from wordgaze.data.prepared import Prepared
from wordgaze.data.records import Box
from wordgaze.evaluation.evaluate import Evaluation, boxed
from wordgaze.evaluation.results import EvaluationDetails, EvaluationReport
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.caption_features import caption_features
from wordgaze.metrics.captions import score_captions
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import SPECIAL, Vocabulary

DOG, CAT = "a dog runs".split(), "a cat sleeps here".split()
VOCABULARY = Vocabulary((*SPECIAL, *dict.fromkeys(DOG + CAT)))
IMAGES = ("a.jpg", "bb.jpg", "ccc.jpg")
GRID, CHANNELS = (2, 3), 4


@dataclass(frozen=True)
class Store:
    """Features (B, 6, 4) that differ from image to image."""

    spec: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(grid=GRID))

    def read(self, images: Sequence[str]) -> Tensor:
        return torch.stack(
            [torch.randn(6, CHANNELS, generator=torch.Generator().manual_seed(len(name))) for name in images]
        )


def evaluation(
    references: list[list[str]], captions: Mapping[str, Sequence[Sequence[Caption]]], boxes: bool = False
) -> Evaluation:
    train = {"t.jpg": [DOG], "tt.jpg": [CAT]}
    test = dict.fromkeys(IMAGES, references)
    prepared = Prepared({"train": train, "dev": {}, "test": test}, {}, VOCABULARY)
    nouns = [word for word in VOCABULARY.words if word not in SPECIAL]  # whichever words a caption has are measured
    objects = [[Box(noun, (0, 0, 60, 20)) for noun in nouns] for _ in IMAGES] if boxes else []
    return Evaluation(
        prepared=prepared,
        split="test",
        store=Store(),  # type: ignore[arg-type]
        captions=captions,
        generation=GenerationConfig(strategy="beam"),
        boxes=boxed([(60, 40)] * len(objects), objects),
        objects=frozenset(nouns),
        num_resamples=100,
        seed=1,
    )


def fixed(words: list[str]) -> dict[str, list[list[Caption]]]:
    attention = np.full((len(words), *GRID), 1 / 6, np.float32)
    caption = Caption(tuple(words), -1.0, -1.0, (-0.3,) * len(words), attention, "end")
    return {"greedy": [[caption]] * len(IMAGES), "beam": [[caption]] * len(IMAGES)}


def report_of(evaluated: Evaluation) -> EvaluationReport:
    return evaluated.report("pets", "5f" * 32)


def test_with_one_reference_an_image_the_human_baselines_are_left_out() -> None:
    report = report_of(evaluation([DOG], fixed(DOG)))
    assert [baseline.label for baseline in report.baselines.labelled("beam")] == [
        "one caption for every image", "random training captions", "captions of the most similar training images",
    ]  # fmt: skip
    assert report.baselines.constant_caption == "a dog runs"
    assert report.scores["beam"].bleu_1 == pytest.approx(1.0)
    assert report.grounding is None


def test_with_several_references_humans_are_compared_with() -> None:
    baselines = report_of(evaluation([DOG, CAT], fixed(DOG))).baselines
    assert baselines.human is not None and baselines.fewer_references is not None
    assert baselines.human.bleu_1 < baselines.fewer_references.bleu_1


def test_a_report_and_its_details_are_read_back(tmp_path: Path) -> None:
    evaluated = evaluation([DOG, CAT], fixed(CAT), boxes=True)
    report, details = report_of(evaluated), evaluated.details()
    report.save(tmp_path / "evaluation.json")
    details.save(tmp_path / "details.json")
    loaded = EvaluationReport.load(tmp_path / "evaluation.json")
    assert loaded.scores["beam"].cider == round(report.scores["beam"].cider, 6)
    assert (loaded.generation, loaded.weights, loaded.system) == (report.generation, "5f" * 32, "beam")
    assert dict(loaded.scores["greedy"].items()) == pytest.approx(
        score_captions([CAT] * len(IMAGES), [[DOG, CAT]] * len(IMAGES)), abs=1e-6
    )
    parts = EvaluationDetails.load(tmp_path / "details.json")
    assert [(pair.system, pair.base) for pair in parts.comparisons] == [("beam", "greedy")]
    assert set(parts.intervals) == {"greedy", "beam", "constant", "random", "nearest"}
    assert [(group.name, group.num_images) for group in parts.by_objects] == [("6 objects", 3)]
    assert sum(one.count for one in parts.calibration) == len(CAT) * len(IMAGES)


def test_empty_captions_have_neither_calibration_nor_grounding() -> None:
    evaluated = evaluation([DOG], fixed([]), boxes=True)
    report, details = report_of(evaluated), evaluated.details()
    assert (report.calibration.ece, report.calibration.brier) == (None, None)
    assert report.grounding is not None and report.grounding.pointing.attention is None
    assert details.grounding is None and details.calibration == ()


@pytest.mark.parametrize(
    "settings",
    [
        {"sentinel": True, "attention_position": "last"},
        {"span": "local_p", "window": 1, "attention_position": "last"},
    ],
    ids=["sentinel", "local_p"],
)
def test_a_captioner_whose_attention_does_not_sum_to_one_is_evaluated_with_boxes(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    sizes = {"embedding_size": 8, "hidden_size": 8, "attention_size": 8, "feature_size": 8}
    torch.manual_seed(3)
    decoder = Decoder(DecoderConfig.model_validate(sizes | settings), CHANNELS, len(VOCABULARY)).eval()
    captions = {
        strategy: list(
            caption_features(
                decoder, VOCABULARY, Store(), IMAGES,
                GenerationConfig(strategy=strategy, min_new_tokens=3, max_new_tokens=5), batch=2, grid=GRID,
            )
        )
        for strategy in ("greedy", "beam")
    }  # fmt: skip
    sums = np.concatenate([of_image[0].weights.sum(1) for of_image in captions["beam"]])
    assert len(sums) and (sums < 0.9).all()  # else the test shows nothing
    evaluated = evaluation([DOG, CAT], captions, boxes=True)
    report, details = report_of(evaluated), evaluated.details()
    report.save(tmp_path / "evaluation.json")
    details.save(tmp_path / "details.json")
    assert report.grounding is not None and details.grounding is not None
    assert details.grounding.num_words == len(sums)
    assert report.grounding.pointing.attention is not None and 0 <= report.grounding.pointing.attention <= 1
    assert report.grounding.mass.attention is not None and 0 < report.grounding.mass.attention < 1
    assert report.grounding.elsewhere == pytest.approx(1 - sums.mean(), abs=1e-5)
