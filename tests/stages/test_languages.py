"""Captions in any language go through every stage, with every tokenizer."""

import contextlib
import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.errors import ModelError
from wordgaze.data.prepared import Prepared
from wordgaze.data.records import Record, Split, write_records
from wordgaze.evaluation.results import EvaluationReport
from wordgaze.evaluation.score import ScoreSelection, score_files
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.pack import pack_captioner
from wordgaze.stages import evaluate, features, prepare, train_stage1, train_stage2, training

CHINESE = ("一个男人在公园里跑步。", "一只狗在草地上奔跑！", "两个孩子在沙滩上玩球。", "一个女人骑着自行车，戴着帽子。")
GERMAN = (
    "Ein Hund läuft über die Wiese.",
    "Zwei Kinder spielen am Strand!",
    "Eine Frau fährt Fahrrad.",
    "Ein Mann sitzt.",
)
TURKISH = (
    "İki köpek çimde koşuyor.",
    "Işıklı bir sokakta bir kadın.",
    "BİR ADAM IŞIKTA OTURUYOR",
    "Çocuk top oynuyor.",
)
NUM_IMAGES = 16
SPLITS: tuple[Split, ...] = ("train",) * 8 + ("dev",) * 4 + ("test",) * 4
SETTINGS = {
    "reproducible": "same_machine",
    "features": {"encoder": "timm/test_efficientnet", "weights": "random", "image_size": 64, "device": "cpu"},
    "model": {"embedding_size": 16, "hidden_size": 32, "attention_size": 16, "feature_size": 16},
    "train_stage1": {
        "epochs": 16, "patience": 16, "batch_size": 2, "warmup_steps": 2, "learning_rate": 0.02, "label_smoothing": 0.0,
        "device": "cpu",
    },
    "train_stage2": {
        "epochs": 1, "batch_size": 8, "warmup_steps": 2, "objective": "both", "num_samples": 2, "device": "cpu",
    },
    "generation": {"num_beams": 2, "max_new_tokens": 60, "no_dangling_end": True},
    "evaluate": {"num_attention_images": 1, "bootstrap_resamples": 100},
}  # fmt: skip


class Untracked:
    """A run that records nothing."""

    def metrics(self, *_: object, **__: object) -> None: ...

    def tag(self, *_: object) -> None: ...


@contextlib.contextmanager
def untracked(*_: object) -> Iterator[Untracked]:
    yield Untracked()


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures, each of another colour for another caption, and their features."""
    root = tmp_path_factory.mktemp("encoded")
    (root / paths.RAW / "images").mkdir(parents=True)
    for number in range(NUM_IMAGES):
        colour = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40)][number % 4]
        Image.new("RGB", (64, 64), colour).save(root / paths.RAW / "images" / f"{number:02}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(features, "stage_run", untracked)
        patch.setattr(features, "log_contract", lambda *_: None)
        write_captions(GERMAN)
        features.run(Params.model_validate(SETTINGS))
    return root


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoded: Path) -> Path:
    """A project with pictures and features, in which no stage tracks its run."""
    for stage in (prepare, training, evaluate):
        monkeypatch.setattr(stage, "stage_run", untracked)
    monkeypatch.setattr(prepare, "log_contract", lambda *_: None)
    monkeypatch.setattr(training, "log_splits", lambda *_: [])
    monkeypatch.setattr(evaluate, "log_evaluation", lambda _: None)
    shutil.copytree(encoded, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_captions(captions: Sequence[str]) -> None:
    """Writes the captions of all pictures; those of one colour have the same."""
    records = [Record(f"{n:02}.png", (captions[n % 4],), split) for n, split in enumerate(SPLITS)]
    write_records(paths.RAW / "captions.jsonl", records)


def params(tokenizer: str, **prepared: object) -> Params:
    settings = {"tokenizer": tokenizer, "min_count": 1, "max_words": 60, **prepared}
    return Params.model_validate({**SETTINGS, "prepare": settings})


def run_all(settings: Params) -> EvaluationReport:
    for stage in (prepare, train_stage1, train_stage2, evaluate):
        stage.run(settings)
    return EvaluationReport.load(paths.REPORTS / "evaluation.json")


@pytest.mark.parametrize(
    ("tokenizer", "captions", "scoring"),
    [
        ("characters", CHINESE, "characters"),
        ("unicode-tr", TURKISH, "unicode-tr"),
        ("subwords", GERMAN, "characters"),
    ],
)
def test_every_tokenizer_goes_through_every_stage(
    project: Path, tokenizer: str, captions: Sequence[str], scoring: str
) -> None:
    write_captions(captions)
    report = run_all(params(tokenizer, max_vocabulary=80 if tokenizer == "subwords" else 0))
    assert report.tokenizer == scoring
    assert report.scores["beam"].bleu_1 > 0.2
    assert report.scores["beam"].meteor is None and report.hallucination.chair_s is None
    page = (paths.REPORTS / "evaluation.html").read_text(encoding="utf-8")
    assert "METEOR is left out" in page and 'id="hallucination"' not in page
    # What the stage wrote is what the captioner says, and scores as it was scored.
    captioner = Captioner.load(paths.STAGE2, "cpu")
    pictures = sorted((paths.RAW / "images").iterdir())[-4:]
    said = [best.text for best, *_ in captioner.caption(pictures, report.generation)]
    scoring_tokens = captioner.vocabulary.tokenizer.scoring
    assert all(scoring_tokens.join(scoring_tokens.tokenize(text)) == text for text in said)
    with (paths.REPORTS / "captions.csv").open(encoding="utf-8", newline="") as file:
        assert [row["beam"] for row in csv.DictReader(file)] == said
    scored = score_files(
        paths.REPORTS / "captions.csv", references(), selection=ScoreSelection(column="beam"), tokenizer=scoring
    )
    assert scored.summary.scores["captions"].cider == pytest.approx(report.scores["beam"].cider, abs=1e-5)
    check_explanation(captioner, pictures[0])
    packed = Path("packed")
    pack_captioner(paths.STAGE2, packed, dtype="fp32")
    assert [best.text for best, *_ in Captioner.load(packed, "cpu").caption(pictures, report.generation)] == said


def references() -> Path:
    """The references of the test split as a file."""
    path = Path("references.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption"])
        raw = Prepared.load(paths.PREPARED).raw
        table.writerows((image, text) for image in sorted(raw)[-4:] for text in raw[image])
    return path


def check_explanation(captioner: Captioner, picture: Path) -> None:
    """A caption is explained word by word, and so is a caption that a user gives as text or as words."""
    own = captioner.explain(picture)
    assert own.caption.text == captioner.caption(picture)[0].text
    assert own.caption.log_prob == pytest.approx(captioner.caption(picture)[0].log_prob, abs=1e-4)
    num_words = len(own.words)
    assert own.attention.shape[0] == num_words == len(own.likeliest) - 1 > 1
    assert np.all(own.attention.sum((1, 2)) <= 1.001)
    given = captioner.explain(picture, own.caption.text)
    listed = captioner.explain(picture, [word.text for word in own.words])
    assert given.caption.words == listed.caption.words == own.caption.words
    assert given.to_dict()["caption"] == own.caption.text
    begun = captioner.caption(picture, GenerationConfig(max_new_tokens=60), prefix=[own.words[0].text])[0]
    assert begun.words[0] == own.words[0].text
    forced = own.words[-1].text
    config = GenerationConfig(max_new_tokens=60, num_beams=2, force_words=(forced,))
    assert forced in captioner.caption(picture, config)[0].words
    banned = GenerationConfig(max_new_tokens=60, num_beams=2, bad_words=(forced,))
    assert forced not in captioner.caption(picture, banned)[0].words


def test_the_file_of_a_tokenizer_is_copied_with_the_captions(project: Path) -> None:
    write_captions(GERMAN)
    prepare.run(params("subwords", max_vocabulary=50))
    trained = Prepared.load(paths.PREPARED)
    mine = project / "mine.json"
    shutil.move(paths.PREPARED / "tokenizer.json", mine)
    with pytest.raises(ModelError, match=r"tokenizer.json cannot be read"):
        Prepared.load(paths.PREPARED)
    prepare.run(params("mine.json", min_count=3))
    again = Prepared.load(paths.PREPARED)
    assert again.vocabulary == trained.vocabulary  # no piece is too rare
    assert (paths.PREPARED / "tokenizer.json").read_bytes() == mine.read_bytes()
    prepare.run(params("ptb"))
    assert not (paths.PREPARED / "tokenizer.json").exists()
    assert "tokenizer" not in json.loads((paths.PREPARED / "vocabulary.json").read_text(encoding="utf-8"))
