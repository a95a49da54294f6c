"""Stage ``evaluate``: the scores that are reported, the captions, and where the words looked."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wordgaze import paths
from wordgaze.captioner import WEIGHTS, Captioner, caption_stored
from wordgaze.errors import ModelError
from wordgaze.explain.overlay import attention_sheet
from wordgaze.files import replacing, replacing_folder, sha256, write_json
from wordgaze.metrics.baselines import constant_caption, human_scores
from wordgaze.metrics.captions import score_captions
from wordgaze.params import DecodeParams, Params
from wordgaze.prepared import Prepared
from wordgaze.text import tokenizer
from wordgaze.tracking.evaluated import log_evaluation
from wordgaze.tracking.runs import stage_run
from wordgaze.vision.images import load_image
from wordgaze.vision.store import FeatureStore

Words = Sequence[str]


def run(params: Params) -> None:
    """Writes ``reports/evaluation.json``, ``captions.csv`` and ``attention/``, and logs the captioner as a model."""
    settings, split = params.evaluate, params.evaluate.split
    prepared, store = Prepared.load(paths.PREPARED), FeatureStore(paths.FEATURES)
    captioner = Captioner.load(paths.STAGE2)
    if captioner.encoder.spec != store.spec:
        raise ModelError(f"{paths.STAGE2} was trained on other features than {paths.FEATURES}; run dvc repro")
    sections = {"dataset": params.dataset.model_dump(), "decode": params.decode.model_dump()}
    with stage_run("evaluate", {**sections, "evaluate": settings.model_dump()}) as tracked:
        images, truths = prepared.references(split)
        decoder, vocabulary = captioner.decoder, captioner.vocabulary
        found = {
            name: caption_stored(decoder, vocabulary, store, images, decode, settings.batch_size, params.seed)
            for name, decode in _strategies(params.decode).items()
        }
        said = {name: [of_one[0].words for of_one in captions] for name, captions in found.items()}
        decoding = {name: score_captions(words, truths) for name, words in said.items()}
        report: dict[str, Any] = {
            "dataset": params.dataset.name,
            "split": split,
            "images": len(images),
            "tokenizer": tokenizer.NAME,
            "weights": sha256(paths.STAGE2 / WEIGHTS),
            "decode": params.decode.model_dump(mode="json"),
            "decoding": decoding,
            "baselines": _baselines(prepared, truths),
        }
        write_json(paths.REPORTS / "evaluation.json", _rounded(report))
        _write_captions(paths.REPORTS / "captions.csv", images, said, prepared)
        _draw_attention(captioner, images[: settings.attention_pictures], params.decode, params.seed)
        log_evaluation(tracked, report)


def _strategies(decode: DecodeParams) -> dict[str, DecodeParams]:
    """Greedy and beam search always, so that every report can be compared, and the strategy of the parameters."""
    changes: dict[str, dict[str, object]] = {"greedy": {"strategy": "greedy", "num": 1}, "beam": {"strategy": "beam"}}
    return {name: decode.model_copy(update=change) for name, change in changes.items()} | {decode.strategy: decode}


def _baselines(prepared: Prepared, truths: list[list[list[str]]]) -> dict[str, object]:
    train = [words for captions in prepared.captions["train"].values() for words in captions]
    constant = constant_caption(train, truths)
    return {
        "constant": {"caption": " ".join(constant), **score_captions([constant] * len(truths), truths)},
        "human": human_scores(truths),
    }


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _write_captions(path: Path, images: list[str], said: Mapping[str, Sequence[Words]], prepared: Prepared) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", *said, "references"])
        for i, image in enumerate(images):
            writer.writerow([image, *(" ".join(words[i]) for words in said.values()), " | ".join(prepared.raw[image])])


def _draw_attention(captioner: Captioner, images: list[str], decode: DecodeParams, seed: int) -> None:
    with replacing_folder(paths.REPORTS / "attention") as folder:
        for name in images:
            image = load_image(paths.RAW / "images" / name)
            best = captioner.caption([image], decode, seed)[0][0]
            attention_sheet(image, best, captioner.encoder.spec.grid).save(
                folder / f"{Path(name).stem}.jpg", quality=88
            )
