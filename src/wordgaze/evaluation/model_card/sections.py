"""The sections of a model card as Markdown, from what the pipeline recorded.

Nothing in them is typed by hand for one captioner: scores are those of ``reports/``, settings and checksums those of
``dvc.lock``, costs those that the stages measured. Where a record is missing, or belongs to other weights, the card
says so.
"""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from wordgaze.core import paths
from wordgaze.core.files import stable_json
from wordgaze.evaluation.model_card.records import StageCost, TrainingRecords
from wordgaze.evaluation.result_types import SCORE_LABELS, ConfidenceInterval
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

SCORES_SECTION, GROUNDING_SECTION, CALIBRATION_SECTION = (
    "Scores",
    "Attention",
    "How far its probabilities can be trusted",
)
"""The titles of the sections that have charts on the page."""

NOT_EVALUATED = "No evaluation of these weights is recorded."

_PATHS = ("dataset.captions", "dataset.karpathy", "features.weights", "prepare.extra_text", "model.word_vectors")
_UNKNOWN = "The captioner does not state its data set; ask its author for the terms."


CARD_TITLE = "{name}: a captioner of wordgaze"


def card_sections(name: str, card: CaptionerCard, records: TrainingRecords, command: str) -> dict[str, str]:
    """The sections of a captioner's model card as Markdown, by title; ``command`` is the one that wrote the folder."""
    return {
        CARD_TITLE.format(name=name): _about(name, card),
        "Training data": _data(card, records),
        SCORES_SECTION: _scores(records),
        GROUNDING_SECTION: _grounding(records),
        CALIBRATION_SECTION: _calibration(records),
        "Intended use": _use(card),
        "What it cannot say": _limits(card, records),
        "Environmental cost": _cost(records),
        "How it was made": _recipe(records, command),
        "Files": _files(card),
    }


def render_model_card(name: str, card: CaptionerCard, records: TrainingRecords, command: str) -> str:
    """The Markdown of a captioner's model card; see :func:`card_sections`."""
    sections = card_sections(name, card, records, command)
    titles = (f"{'#' if n == 0 else '##'} {title}" for n, title in enumerate(sections))
    return (
        "\n\n".join(part for title, text in zip(titles, sections.values(), strict=True) for part in (title, text))
        + "\n"
    )


def _about(name: str, card: CaptionerCard) -> str:
    words = len(card.vocabulary)
    return (
        f"It describes an image in {_language(card)}, and shows the attention of each word (Xu et al. 2015). An"
        f" attention decoder with a vocabulary of {words:,} words reads the features of {card.encoder.name}"
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
        return NOT_EVALUATED
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


def _grounding(records: TrainingRecords) -> str:
    report = records.report
    if report is None:
        return NOT_EVALUATED
    if report.grounding is None:
        return (
            f"The {report.split} split of {report.dataset} has no boxes of objects, so it is not measured whether the"
            " attention lies on what a word names. The attention pictures are shown without that evidence."
        )
    pointing, mass = report.grounding.pointing, report.grounding.mass
    rows = (
        ("the attention's maximum lies in a box of the noun (pointing game)", pointing),
        ("share of the attention inside the boxes", mass),
    )
    table = "\n".join(
        f"| {label} | {_share(of.attention)} | {_share(of.centre)} | {_share(of.shuffled)} |" for label, of in rows
    )
    return (
        "Measured on the nouns of captions of images with boxes, beside two that do not depend on the word:\n\n"
        f"| | attention | centre of the image | attention of other words |\n| --- | --- | --- | --- |\n{table}"
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _calibration(records: TrainingRecords) -> str:
    report = records.report
    if report is None:
        return NOT_EVALUATED
    lines = [
        f"Words: expected calibration error {_number(report.calibration.ece)}, Brier score"
        f" {_number(report.calibration.brier)}; a word counts as right if a reference has it."
    ]
    if confidence := report.confidence:
        lines.append(
            f"Captions: expected calibration error {confidence.ece:.3f}, Brier score {confidence.brier:.3f}. The half"
            f" with the highest confidence has a CIDEr of {confidence.cider_half:.3f}, all have {confidence.cider:.3f}."
        )
    else:
        lines.append("The captioner states no confidence of a whole caption.")
    return "\n\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _cost(records: TrainingRecords) -> str:
    """Times and energy that were measured; what a stage took whose results DVC used again is said to be earlier."""
    costs = records.costs
    if not costs:
        return "What the training took is not recorded."
    rows = "\n".join(_cost_row(cost) for cost in (*costs, _total(costs)))
    machines = ", ".join(dict.fromkeys(cost.machine for cost in costs if cost.machine)) or "a machine that is not named"
    energy = (
        "Energy is that of processors and GPUs, as they measure it."
        if any(cost.joules is not None for cost in costs)
        else "The machine does not measure its energy, so none is stated and no emission is guessed."
    )
    return (
        f"Measured while the stages ran on {machines}:\n\n| stage | seconds | CPU seconds | energy |\n"
        f"| --- | --- | --- | --- |\n{rows}\n\n{energy} The encoder's pretraining by others is not included."
    )


def _total(costs: tuple[StageCost, ...]) -> StageCost:
    known = [cost.joules for cost in costs if cost.joules is not None]
    seconds, cpu = sum(cost.seconds for cost in costs), sum(cost.cpu_seconds for cost in costs)
    return StageCost("all", seconds, cpu, sum(known) if len(known) == len(costs) else None, "", "")


def _cost_row(cost: StageCost) -> str:
    earlier = " (in an earlier pass)" if cost.earlier else ""
    energy = "–" if cost.joules is None else f"{cost.joules / 3600:.1f} Wh"
    return f"| {cost.stage}{earlier} | {cost.seconds:,.0f} | {cost.cpu_seconds:,.0f} | {energy} |"


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
    return f"{text.rstrip()}\n\n{_bytes(records)}\n\nAll parameters of the training:\n\n{shown.rstrip()}"


def _bytes(records: TrainingRecords) -> str:
    """By what a reader knows that the training was repeated to the byte."""
    commits = list(dict.fromkeys(cost.commit for cost in records.costs if cost.commit))
    code = f", at the commit {' and '.join(f'`{one[:12]}`' for one in commits)} of the project" if commits else ""
    everywhere = records.params.get("reproducible") == "any_cpu" or (
        records.params.get("reproducible") == "auto" and records.dataset == "scenes"
    )
    machine = "every x86-64 processor" if everywhere else "the same kind of machine"
    weights = records.report.weights if records.report else ""
    outputs = [(f"{path}, MD5", md5) for path, md5 in records.outputs.items()]
    checks = [("weights before packing, SHA-256", weights), *outputs]
    rows = "\n".join(f"| {name} | `{checksum}` |" for name, checksum in checks if checksum)
    return (
        f"With these parameters, data and the packages of `requirements.lock`{code}, the commands give the same bytes"
        f" on {machine}:\n\n| file or folder | checksum |\n| --- | --- |\n{rows}"
    )


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
