"""The stage ``evaluate`` without MLflow: every kind of attention, and tables that are read back."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from wordgaze.config.params import Params, load_params
from wordgaze.core import paths
from wordgaze.data.prepared import Prepared
from wordgaze.data.readers.captions import read_captions, read_references
from wordgaze.data.records import Box, Record, write_records
from wordgaze.evaluation.results import EvaluationDetails, EvaluationReport
from wordgaze.evaluation.score import ScoreSelection, score_files
from wordgaze.generation.confidence import ConfidenceModel
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.captioner_folder import CaptionerParts
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.stages.evaluate import evaluate, write_reports
from wordgaze.text.tokenizers.ptb import tokenize

CHECKOUT = Path(__file__).parents[2]
TEST = {
    "=1+1.png": ("=A dog runs outside .", "A cat sleeps ."),
    "'-b.png": ("A cat sleeps .", "A dog runs ."),
    "@c.jpg": ("A dog runs .", "+A dog sleeps outside ."),
}
TRAIN = {"t.png": ("A dog runs .",), "u.png": ("A cat sleeps outside .",)}


@dataclass(frozen=True)
class Store:
    """The features of the images, computed by the captioner's encoder."""

    captioner: Captioner

    @property
    def spec(self) -> object:
        return self.captioner.encoder.spec

    def read(self, images: Sequence[str]) -> Tensor:
        return self.captioner.features([Image.open(paths.RAW / "images" / image).convert("RGB") for image in images])


@pytest.fixture
def project(captioner_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the images and records of a data set with boxes, beside the tiny captioner."""
    monkeypatch.chdir(tmp_path)
    (paths.RAW / "images").mkdir(parents=True)
    objects = tuple(Box(noun, (0, 0, 48, 16)) for noun in ("a", "dog", "cat", "runs", "sleeps", "outside"))
    for number, name in enumerate([*TEST, *TRAIN]):
        gradient = Image.linear_gradient("L").resize((48, 32)).rotate(40 * number)
        gradient.convert("RGB").save(paths.RAW / "images" / name)
    write_records(
        paths.RAW / "captions.jsonl", [Record(name, texts, None, objects) for name, texts in {**TEST, **TRAIN}.items()]
    )
    return tmp_path


@pytest.fixture
def prepared(tiny_captioner: Captioner) -> Prepared:
    def tokens(captions: dict[str, tuple[str, ...]]) -> dict[str, list[list[str]]]:
        return {name: [tokenize(text) for text in texts] for name, texts in captions.items()}

    raw = {name: list(texts) for name, texts in {**TEST, **TRAIN}.items()}
    return Prepared({"train": tokens(TRAIN), "dev": {}, "test": tokens(TEST)}, raw, tiny_captioner.vocabulary)


@pytest.fixture
def params() -> Params:
    whole = load_params(CHECKOUT / "params.yaml")
    settings = whole.evaluate.model_copy(update={"split": "test", "num_attention_images": 2, "bootstrap_resamples": 50})
    generation = GenerationConfig(num_beams=2, min_new_tokens=2, max_new_tokens=4)
    return whole.model_copy(update={"evaluate": settings, "generation": generation})


@pytest.fixture
def reported(tiny_captioner: Captioner, project: Path, prepared: Prepared, params: Params) -> Callable[..., Path]:
    """Evaluates the tiny captioner with a decoder of these settings; gives the folder of the reports."""

    def report(confidence: ConfidenceModel | None = None, **settings: object) -> Path:
        sizes = {"embedding_size": 8, "hidden_size": 8, "attention_size": 8, "feature_size": 8}
        config = DecoderConfig.model_validate({**sizes, **settings})
        encoder, vocabulary = tiny_captioner.encoder, tiny_captioner.vocabulary
        torch.manual_seed(3)
        decoder = Decoder(config, encoder.spec.channels, len(vocabulary)).eval()
        captioner = Captioner(decoder, vocabulary, encoder, parts=CaptionerParts(confidence=confidence))
        evaluation = evaluate(captioner, prepared, Store(captioner), params)  # type: ignore[arg-type]
        write_reports(evaluation, params)
        return project / paths.REPORTS

    return report


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sentinel": True, "attention_position": "last"},
        {"span": "local_p", "window": 1, "attention_position": "last"},
    ],
    ids=["soft", "sentinel", "local_p"],
)
def test_every_kind_of_attention_is_evaluated_on_a_data_set_with_boxes(
    reported: Callable[..., Path], settings: dict[str, object]
) -> None:
    folder = reported(**settings)
    report = EvaluationReport.load(folder / "evaluation.json")
    details = EvaluationDetails.load(folder / "details.json")
    assert report.grounding is not None and report.grounding.pointing.attention is not None
    assert 0 <= report.grounding.pointing.attention <= 1
    assert details.grounding is not None and details.grounding.num_words >= 6
    assert (report.num_images, report.system, set(report.scores)) == (3, "beam", {"greedy", "beam"})
    assert 'id="grounding"' in (folder / "evaluation.html").read_text(encoding="utf-8")
    assert len(list((folder / "attention").iterdir())) == 2
    with (folder / "calibration.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["low", "high", "count", "confidence", "accuracy"]
    assert sum(int(row["count"]) for row in rows) == sum(one.count for one in details.calibration)


def test_the_confidence_of_captions_is_evaluated_where_the_captioner_has_one(
    reported: Callable[..., Path], tiny_confidence: ConfidenceModel
) -> None:
    folder = reported()
    assert EvaluationReport.load(folder / "evaluation.json").confidence is None
    assert (folder / "confidence.csv").read_text() == "coverage,confidence,risk,oracle,cider\n"
    folder = reported(tiny_confidence)
    scores = EvaluationReport.load(folder / "evaluation.json").confidence
    details = EvaluationDetails.load(folder / "details.json").confidence
    assert scores is not None and details is not None
    assert 0 <= scores.ece <= 1 and scores.aurc_oracle <= scores.aurc
    assert scores.cider == details.curve[-1].cider
    with (folder / "confidence.csv").open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert rows == [point.model_dump(mode="json") for point in details.curve]
    assert 'id="confidence"' in (folder / "evaluation.html").read_text(encoding="utf-8")


def test_the_captions_are_no_formulas_and_are_scored_again(reported: Callable[..., Path]) -> None:
    folder = reported()
    path = folder / "captions.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert list(read_captions(path)) == sorted(TEST)
    assert dict(read_references(path)) == {name: list(texts) for name, texts in TEST.items()}
    scored = score_files(path, path, selection=ScoreSelection(column="beam")).summary
    report = EvaluationReport.load(folder / "evaluation.json")
    again = scored.scores["captions"].model_copy(update={"meteor_toolkit": None})
    assert dict(again.items()) == pytest.approx(dict(report.scores["beam"].items()), abs=1e-6)
