"""The model card of a captioner, README.md in its folder, from what the pipeline recorded (Mitchell et al. 2019).

Nothing in it is typed by hand for one captioner: scores are those of ``reports/``, settings and checksums those of
``dvc.lock``. Where a record is missing, or belongs to other weights, the card says so.
"""

import importlib.util
import logging
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wordgaze.core import paths
from wordgaze.core.errors import DataError, ParamsError
from wordgaze.core.files import read_json, stable_json
from wordgaze.evaluation.results import SCORE_LABELS, ConfidenceInterval, EvaluationDetails, EvaluationReport
from wordgaze.inference.captioner_folder import CaptionerCard
from wordgaze.inference.folder_names import CARD, MODEL_CARD, WEIGHTS
from wordgaze.text.tokenizers import STORED

TERMS = {
    "scenes": "Drawn by wordgaze itself, with pictograms of Twemoji (CC BY 4.0). The captioner knows drawn scenes, not"
    " photographs.",
    "flickr8k": "Flickr8k (Hodosh, Young and Hockenmaier 2013) is for non-commercial research and education. Its"
    " photographs belong to their photographers.",
    "flickr30k": "Flickr30k (Young et al. 2014) is for non-commercial research and education. Its photographs belong to"
    " their photographers.",
    "coco": "The captions of COCO (Chen et al. 2015) are licensed under CC BY 4.0. Its photographs are subject to the"
    " terms of Flickr.",
    "folder": "A data set of the captioner's author; ask the author for its terms.",
}
"""The terms of each data set, by its name in params.yaml."""

_log = logging.getLogger(__name__)
_LOCK = Path("dvc.lock")
_PATHS = ("dataset.captions", "dataset.karpathy", "features.weights", "prepare.extra_text", "model.word_vectors")
_UNKNOWN = "The captioner does not state its data set; ask its author for the terms."


@dataclass(frozen=True)
class TrainingRecords:
    """What a project recorded of a captioner's training. ``params`` has dotted keys; ``outputs`` are MD5 checksums."""

    report: EvaluationReport | None = None
    details: EvaluationDetails | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        """The name of the data set; "" if it is not recorded."""
        return self.report.dataset if self.report else ""


def training_records(weights: str) -> TrainingRecords:
    """The records of the project in the working directory, if it evaluated the weights with this SHA-256 checksum.

    A record that cannot be read, such as that of another version of wordgaze, is left out with a warning.
    """
    path = paths.REPORTS / "evaluation.json"
    try:
        report = EvaluationReport.load(path) if path.is_file() else None
        return _records(report, path) if report and report.weights == weights else TrainingRecords()
    except (DataError, ParamsError) as error:
        _log.warning("%s; the model card is written without it", error)
        return TrainingRecords()


def _records(report: EvaluationReport, path: Path) -> TrainingRecords:
    details = path.with_name("details.json")
    summary = paths.PREPARED / "summary.json"
    params, outputs = _locked()
    return TrainingRecords(
        report=report,
        details=EvaluationDetails.load(details) if details.is_file() else None,
        params=params,
        outputs=outputs,
        counts=read_json(summary, "run dvc repro") if summary.is_file() else {},
    )


def render_model_card(name: str, card: CaptionerCard, records: TrainingRecords, command: str) -> str:
    """The Markdown of a captioner's model card; ``command`` is the one that wrote the folder."""
    sections = {
        f"{name}: a captioner of wordgaze": _about(name, card),
        "Training data": _data(card, records),
        "Scores": _scores(records),
        "Intended use": _use(card),
        "What it cannot say": _limits(card, records),
        "How it was made": _recipe(records, command),
        "Files": _files(card),
    }
    titles = (f"{'#' if n == 0 else '##'} {title}" for n, title in enumerate(sections))
    return (
        "\n\n".join(part for title, text in zip(titles, sections.values(), strict=True) for part in (title, text))
        + "\n"
    )


def _about(name: str, card: CaptionerCard) -> str:
    words = len(card.vocabulary)
    return (
        f"It describes an image in {_language(card)}, and shows where each word looked (Xu et al. 2015). An attention"
        f" decoder with a vocabulary of {words:,} words reads the features of {card.encoder.name}"
        f" ({card.encoder.image_size} pixels, {card.encoder.grid[0]} × {card.encoder.grid[1]} cells).\n\n"
        f"    wordgaze caption photo.jpg --model {name}"
    )


def _language(card: CaptionerCard) -> str:
    return "an English sentence" if card.tokenizer == "ptb" else "a sentence in the language of its training captions"


def _data(card: CaptionerCard, records: TrainingRecords) -> str:
    lines = [f"Data set: `{card.dataset}`." if card.dataset else "", TERMS.get(card.dataset, _UNKNOWN)]
    if counts := records.counts:
        images = ", ".join(f"{counts[f'images_{split}']:,} {split}" for split in ("train", "dev", "test"))
        lines.append(f"Images: {images}; {counts['captions']:,} captions.")
    if text := _file_name(records.params.get("prepare.extra_text")):
        lines.append(f"Sentences without images that stage 1 learned from: {counts['extra_sentences']:,} of `{text}`.")
    if path := records.outputs.get(str(paths.PREPARED)):
        lines.append(f"MD5 of the prepared captions, as DVC computes it: `{path}`.")
    return "\n\n".join(filter(None, lines))


def _scores(records: TrainingRecords) -> str:
    report = records.report
    if report is None:
        return "No evaluation of these weights is recorded."
    names = [name for name in SCORE_LABELS if any(getattr(one, name) is not None for one in report.scores.values())]
    rows = [["strategy", *(SCORE_LABELS[name] for name in names)], ["---"] * (len(names) + 1)]
    for strategy, scores in report.scores.items():
        rows.append([strategy, *(_score(records, strategy, name, getattr(scores, name)) for name in names)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    confident = ""
    if report.confidence is not None:
        confident = (
            f"\n\nThe half of the captions with the highest confidence: CIDEr {report.confidence.cider_half:.3f}."
        )
    return (
        f"On the {report.num_images:,} images of the {report.split} split of {report.dataset}, before packing, with"
        f" bootstrap intervals of 95 %:\n\n{table}{confident}"
    )


def _score(records: TrainingRecords, strategy: str, name: str, value: float | None) -> str:
    if value is None:
        return "–"
    intervals = records.details.intervals.get(strategy) if records.details else None
    interval: ConfidenceInterval | None = getattr(intervals, name, None)
    if interval is None or interval.low is None or interval.high is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _use(card: CaptionerCard) -> str:
    known = f", within the terms of {card.dataset}" if card.dataset in ("flickr8k", "flickr30k", "coco") else ""
    return (
        f"Research, education and trying out wordgaze{known}: first drafts of captions and alternative texts that a"
        " person reads before they are published, and the study of attention. It must not decide anything about people."
    )


def _limits(card: CaptionerCard, records: TrainingRecords) -> str:
    chair = records.report.hallucination.chair_s if records.report else None
    measured = f" ({chair:.0%} of its captions on the evaluated images)" if chair is not None else ""
    return "\n".join(
        (
            f"- Words outside its vocabulary ({CARD} lists all {len(card.vocabulary):,}). {_unknown_things(card)}",
            "- Written text, names of people and of places, dates, and reliable counts.",
            f"- It names things that are not in the image{measured}, and guesses sex and age from appearance.",
            "- It speaks English only."
            if card.tokenizer == "ptb"
            else "- It speaks the language of its captions only.",
        )
    )


def _unknown_things(card: CaptionerCard) -> str:
    if card.generation.name_objects:
        return "Things that its training images do not show have a name if they are among ImageNet's 1,000 classes."
    return "Things that its training images do not show are named as what is most like them."


def _file_name(path: object) -> str:
    """A path without its folders, which are those of one machine."""
    return Path(path).name if isinstance(path, str) and path else ""


def _recipe(records: TrainingRecords, command: str) -> str:
    made = [*_training_commands(records), command]
    text = "".join(f"    {line}\n" for line in made)
    if not records.params:
        return f"The training is not recorded. The folder was written by\n\n{text.rstrip()}"
    params = {k: v for k, v in sorted(records.params.items()) if not k.startswith("dataset.s")}
    params |= {k: _file_name(params[k]) for k in _PATHS if k in params}
    settings = stable_json(params)
    shown = "".join(f"    {line}\n" for line in settings.splitlines())
    return f"{text.rstrip()}\n\nAll parameters of the training:\n\n{shown.rstrip()}"


def _training_commands(records: TrainingRecords) -> Iterator[str]:
    """The commands that repeat the training: the recipe with the most equal settings, and the settings that differ."""
    if not records.params:
        return
    from wordgaze.config.recipes import list_recipes

    recipes = [one for one in list_recipes() if one.settings.get("dataset.name") == records.dataset]
    if recipes:
        nearest = min(recipes, key=lambda recipe: len(_differences(recipe.settings, records.params)))
        changed = _differences(nearest.settings, records.params) | {"seed": records.params.get("seed", 1)}
        if text := _file_name(records.params.get("prepare.extra_text")):
            changed["prepare.extra_text"] = text
        options = " ".join(f"--set {shlex.quote(f'{k}={_yaml(v)}')}" for k, v in changed.items())
        yield f"wordgaze recipe use {nearest.name} {options}"
    yield "dvc repro"


def _differences(settings: Mapping[str, object], params: Mapping[str, object]) -> dict[str, object]:
    return {key: params[key] for key, value in settings.items() if key in params and params[key] != value}


def _yaml(value: object) -> str:
    """A value as YAML reads it; strings need no quotes but where they are empty."""
    return value if isinstance(value, str) and value else stable_json(value)


def _files(card: CaptionerCard) -> str:
    lines = [
        f"- `{CARD}`: format {card.format}, vocabulary, sizes and decoding settings",
        f"- `{WEIGHTS}`: the weights in {card.dtype}; nothing is pickled",
        f"- `{MODEL_CARD}`: this card",
    ]
    if card.tokenizer in STORED:
        lines.append(f"- `{STORED[card.tokenizer].file_name}`: the tokenizer")
    for network, reference in zip(card.encoder.networks, card.encoder_weights, strict=False):
        if reference is not None:
            lines.append(
                f"- {network.name} is not stored: its ImageNet weights are {reference.package}/{reference.file},"
                f" SHA-256 `{reference.sha256}`"
            )
    return "\n".join(lines)


def _locked() -> tuple[dict[str, object], dict[str, str]]:
    """All parameters and the checksums of all outputs in dvc.lock; nothing where it or ruamel.yaml is missing."""
    if not _LOCK.is_file() or importlib.util.find_spec("ruamel") is None:
        return {}, {}
    from wordgaze.config.params import read_yaml
    from wordgaze.config.recipes import flatten

    lock: Any = read_yaml(_LOCK)
    stages = list(lock.get("stages", {}).values())
    params = [values for stage in stages for values in stage.get("params", {}).values()]
    outputs = {out["path"]: str(out.get("md5", "")) for stage in stages for out in stage.get("outs", ())}
    return {k: v for values in params for k, v in flatten(values)}, outputs
