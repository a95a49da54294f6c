"""Stage ``evaluate``: scores the captioner and writes the report, the captions and their attention maps."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.errors import ModelError
from wordgaze.core.files import atomic_directory, sha256, write_text
from wordgaze.core.tables import write_csv
from wordgaze.data.prepared import Prepared
from wordgaze.data.readers.captions import BETWEEN
from wordgaze.data.records import Box, iterate_records
from wordgaze.evaluation.evaluate import Evaluation, boxed
from wordgaze.evaluation.report.page import CaptionExample, render_page
from wordgaze.evaluation.report.training_curves import read_training_curve
from wordgaze.evaluation.results import CoveragePoint, ReliabilityBin
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.attention_maps import attention_sheet
from wordgaze.inference.caption_features import caption_features
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.folder_names import WEIGHTS
from wordgaze.inference.stored_captions import StoredCaptions
from wordgaze.metrics.noun_confusion import NounPair
from wordgaze.tracking.evaluation import log_evaluation
from wordgaze.tracking.runs import stage_run
from wordgaze.vision.decoding_process import decode_safely
from wordgaze.vision.feature_store import FeatureStore

_NUM_EXAMPLES = 6  # best captions and worst captions on the page


def run(params: Params) -> None:
    """Writes the reports and logs them to MLflow, with the captioner as a model."""
    prepared, store = Prepared.load(paths.PREPARED), FeatureStore(paths.FEATURES)
    captioner = Captioner.load(paths.STAGE2)
    if captioner.encoder.spec != store.spec:
        raise ModelError(f"{paths.STAGE2} was trained on other features than {paths.FEATURES}; run dvc repro")
    sections = {"dataset": params.dataset, "generation": params.generation, "evaluate": params.evaluate}
    with stage_run("evaluate", {name: section.model_dump() for name, section in sections.items()}) as tracked:
        evaluation = evaluate(captioner, prepared, store, params)
        write_reports(evaluation, params)
        log_evaluation(tracked)


def evaluate(captioner: Captioner, prepared: Prepared, store: FeatureStore, params: Params) -> Evaluation:
    """Captions the split with greedy and beam search and the strategy of the parameters, and evaluates them."""
    settings, split = params.evaluate, params.evaluate.split
    images, _ = prepared.references(split)
    captions = {
        name: StoredCaptions(
            caption_features(
                captioner.decoder,
                captioner.vocabulary,
                store,
                images,
                generation,
                settings.batch_size,
                params.seed,
                captioner.parts,
                captioner.encoder.spec.grid,
            ),
            paths.scratch("."),
        )
        for name, generation in _strategies(params.generation).items()
    }
    objects, nouns = _objects(images)
    sizes = [_load(image).size for image in images] if all(objects) else []
    return Evaluation(
        prepared=prepared,
        split=split,
        store=store,
        captions=captions,
        generation=params.generation,
        boxes=boxed(sizes, objects),
        objects=nouns,
        num_resamples=settings.bootstrap_resamples,
        seed=params.seed,
    )


def _objects(images: Sequence[str]) -> tuple[list[tuple[Box, ...]], frozenset[str]]:
    """The objects of each image, and the nouns of all images of the data set."""
    by_image: dict[str, tuple[Box, ...]] = dict.fromkeys(images, ())
    nouns: set[str] = set()
    for record in iterate_records(paths.RAW / "captions.jsonl"):
        nouns.update(box.noun for box in record.objects)
        if record.image in by_image:
            by_image[record.image] = record.objects
    return [by_image[image] for image in images], frozenset(nouns)


def _strategies(generation: GenerationConfig) -> dict[str, GenerationConfig]:
    """Greedy and beam search, so that all reports can be compared, and the strategy of the parameters."""
    changes: dict[str, dict[str, object]] = {
        "greedy": {"strategy": "greedy", "num_return_sequences": 1},
        "beam": {"strategy": "beam"},
    }
    strategies = {name: generation.model_copy(update=change) for name, change in changes.items()}
    return strategies | {generation.strategy: generation}


def write_reports(evaluation: Evaluation, params: Params) -> None:
    """Writes everything that DVC tracks of an evaluation to ``reports/``."""
    report = evaluation.report(params.dataset.name, sha256(paths.STAGE2 / WEIGHTS))
    details = evaluation.details()
    report.save(paths.REPORTS / "evaluation.json")
    report.save_metrics(paths.REPORTS / "scores.json")
    details.save(paths.REPORTS / "details.json")
    bins = [one.model_dump(mode="json") for one in details.calibration]
    write_csv(paths.REPORTS / "calibration.csv", list(ReliabilityBin.model_fields), bins)
    curve = [point.model_dump(mode="json") for point in details.confidence.curve] if details.confidence else []
    write_csv(paths.REPORTS / "confidence.csv", list(CoveragePoint.model_fields), curve)
    nouns = [pair._asdict() for pair in evaluation.noun_pairs()]
    write_csv(paths.REPORTS / "nouns.csv", list(NounPair._fields), nouns)
    _write_captions(paths.REPORTS / "captions.csv", evaluation)
    _draw_attention(paths.REPORTS / "attention", evaluation, params.evaluate.num_attention_images)
    curves = (read_training_curve(paths.REPORTS / f"train_stage{n}.csv", f"Stage {n}") for n in (1, 2))
    trainings = [curve for curve in curves if curve]
    page = render_page(report, details, _examples(evaluation), f"wordgaze on {params.dataset.name}", trainings)
    write_text(paths.REPORTS / "evaluation.html", page)


def _examples(evaluation: Evaluation) -> list[CaptionExample]:
    cider = evaluation.comparison.per_image(evaluation.strategy)["cider"]
    return [
        CaptionExample(
            image=evaluation.images[place],
            caption=evaluation.shown(place).text,
            references=tuple(evaluation.prepared.raw[evaluation.images[place]]),
            score=float(cider[place]),
            picture=_attention_sheet(evaluation, place),
            kind=kind,
        )
        for kind, place in evaluation.examples(_NUM_EXAMPLES)
    ]


def _write_captions(path: Path, evaluation: Evaluation) -> None:
    """Writes each image's best caption by each strategy beside its references."""
    strategies = list(evaluation.captions)
    rows = (
        {
            "image": image,
            **{name: evaluation.shown(place, name).text for name in strategies},
            "references": BETWEEN.join(evaluation.prepared.raw[image]),
        }
        for place, image in enumerate(evaluation.images)
    )
    write_csv(path, ["image", *strategies, "references"], rows)


def _draw_attention(path: Path, evaluation: Evaluation, count: int) -> None:
    with atomic_directory(path) as folder:
        for place, name in enumerate(evaluation.images[:count]):
            unique = name if name.endswith(".jpg") else f"{name}.jpg"  # dog.jpg and dog.png may both be there
            _attention_sheet(evaluation, place).save(folder / unique, quality=88)


def _attention_sheet(evaluation: Evaluation, place: int) -> Image.Image:
    return attention_sheet(_load(evaluation.images[place]), evaluation.shown(place))


def _load(image: str) -> Image.Image:
    return decode_safely(paths.RAW / "images" / image)
