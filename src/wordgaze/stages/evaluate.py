"""Stage ``evaluate``: the scores that are reported, the captions, and where the words looked."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.errors import ModelError
from wordgaze.core.files import atomic_directory, atomic_write, sha256, write_json, write_text
from wordgaze.data.prepared import Prepared
from wordgaze.data.records import read_records
from wordgaze.evaluation.evaluate import Evaluation, boxed
from wordgaze.evaluation.report.page import Example, render_page
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.attention_maps import attention_sheet
from wordgaze.inference.captioner import WEIGHTS, Captioner, caption_features
from wordgaze.text import tokenizer
from wordgaze.tracking.evaluation import log_evaluation
from wordgaze.tracking.runs import stage_run
from wordgaze.vision.feature_store import FeatureSource, FeatureStore
from wordgaze.vision.images import load_image
from wordgaze.vision.sources import ImageFeatures

EXAMPLES = 6  # best ones and worst ones on the page


def run(params: Params) -> None:
    """Writes the reports and logs them, with the captioner as a model."""
    prepared, store = Prepared.load(paths.PREPARED), FeatureStore(paths.FEATURES)
    captioner = Captioner.load(paths.STAGE2)
    if captioner.encoder.spec != store.spec:
        raise ModelError(f"{paths.STAGE2} was trained on other features than {paths.FEATURES}; run dvc repro")
    sections = {"dataset": params.dataset, "decode": params.generation, "evaluate": params.evaluate}
    with stage_run("evaluate", {name: section.model_dump() for name, section in sections.items()}) as tracked:
        done = _evaluate(captioner, prepared, store, params)
        report = _rounded(_head(done, params) | done.headline())
        details = _rounded(done.details())
        write_json(paths.REPORTS / "evaluation.json", report)
        write_json(paths.REPORTS / "details.json", details)
        _write_table(paths.REPORTS / "calibration.csv", details["calibration"])
        _write_captions(paths.REPORTS / "captions.csv", done)
        _draw_attention(done, params.evaluate.num_attention_images)
        page = render_page(_page(report, details), _examples(done), f"wordgaze on {params.dataset.name}")
        write_text(paths.REPORTS / "evaluation.html", page)
        log_evaluation(tracked, report)


def _evaluate(captioner: Captioner, prepared: Prepared, store: FeatureStore, params: Params) -> Evaluation:
    settings, split = params.evaluate, params.evaluate.split
    images, _ = prepared.references(split)
    decoder, vocabulary = captioner.decoder, captioner.vocabulary
    features: FeatureSource = ImageFeatures(paths.RAW / "images", captioner.encoder) if captioner.tuned else store
    found = {
        name: caption_features(
            decoder,
            vocabulary,
            features,
            images,
            decode,
            settings.batch_size,
            params.seed,
            captioner.neighbours,
            captioner.encoder.spec.grid,
        )
        for name, decode in _strategies(params.generation).items()
    }
    records = {record.image: record for record in read_records(paths.RAW / "captions.jsonl")}
    objects = [records[image].objects for image in images]
    sizes = [_picture(image).size for image in images] if all(objects) else []
    nouns = frozenset(box.noun for record in records.values() for box in record.objects)
    return Evaluation(
        prepared, split, store, found, params.generation.strategy, boxed(sizes, objects), nouns, settings.bootstrap_resamples,
        params.seed,
    )  # fmt: skip


def _strategies(decode: GenerationConfig) -> dict[str, GenerationConfig]:
    """Greedy and beam search always, so that every report can be compared, and the strategy of the parameters."""
    changes: dict[str, dict[str, object]] = {
        "greedy": {"strategy": "greedy", "num_return_sequences": 1},
        "beam": {"strategy": "beam"},
    }
    return {name: decode.model_copy(update=change) for name, change in changes.items()} | {decode.strategy: decode}


def _head(done: Evaluation, params: Params) -> dict[str, Any]:
    return {
        "dataset": params.dataset.name,
        "split": done.split,
        "images": len(done.images),
        "tokenizer": tokenizer.NAME,
        "cider_frequencies": "evaluated references",
        "weights": sha256(paths.STAGE2 / WEIGHTS),
        "decode": params.generation.model_dump(mode="json"),
    }


def _page(report: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """The report and its details as the page takes them."""
    together = {**details, **report}
    if report["grounding"] and details["grounding"]:
        together["grounding"] = {**report["grounding"], **details["grounding"]}
    together["calibration"] = {**report["calibration"], "bins": details["calibration"]}
    return together


def _examples(done: Evaluation) -> list[Example]:
    cider = done.comparison.per_picture(done.strategy)["cider"]
    return [
        Example(
            image=done.images[place],
            caption=done.best[place].text,
            references=tuple(done.prepared.raw[done.images[place]]),
            score=float(cider[place]),
            picture=_sheet(done, place),
            kind=kind,
        )
        for kind, place in done.examples(EXAMPLES)
    ]


def _sheet(done: Evaluation, place: int) -> Any:
    return attention_sheet(_picture(done.images[place]), done.best[place])


def _picture(name: str) -> Any:
    return load_image(paths.RAW / "images" / name)


def _rounded(value: Any) -> Any:
    """Six places are enough to compare; what is no number is told as none."""
    if isinstance(value, Mapping):
        return {key: _rounded(of_one) for key, of_one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(of_one) for of_one in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys() if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_captions(path: Path, done: Evaluation) -> None:
    def first(captions: Sequence[Sequence[Caption]], place: int) -> str:
        return captions[place][0].text

    _write_table(
        path,
        [
            {
                "image": image,
                **{name: first(captions, place) for name, captions in done.found.items()},
                "references": " | ".join(done.prepared.raw[image]),
            }
            for place, image in enumerate(done.images)
        ],
    )


def _draw_attention(done: Evaluation, count: int) -> None:
    with atomic_directory(paths.REPORTS / "attention") as folder:
        for place, name in enumerate(done.images[:count]):
            unlike = name if name.endswith(".jpg") else f"{name}.jpg"  # dog.jpg and dog.png may both be there
            _sheet(done, place).save(folder / unlike, quality=88)
