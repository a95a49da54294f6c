"""Scores of captions from any system, read from files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wordgaze.core.errors import CaptionsError
from wordgaze.core.files import atomic_write, write_json, write_text
from wordgaze.data.readers.captions import ById, matched, read_captions, read_references
from wordgaze.evaluation.comparison import Comparison, diversity
from wordgaze.evaluation.report.page import Example, render_page
from wordgaze.metrics.baselines import fewer_references, human_scores
from wordgaze.metrics.meteor import toolkit_meteor
from wordgaze.text import tokenizer
from wordgaze.vision.images import load_image

SAMPLES = 1000
EXAMPLES = 10
PICTURE = 400  # pixels, the long side of a picture on the page


def score_files(
    captions: Path,
    references: Path,
    against: Path | None = None,
    column: str | None = None,
    html: Path | None = None,
    pictures: Path | None = None,
    examples: int = EXAMPLES,
) -> dict[str, Any]:
    """Scores a file of captions, and with ``against`` those of another system on the same pictures beside them.

    Returns what the page shows; writes the page to ``html`` if given, or the same as JSON where its name ends so. The
    page has the ``examples`` best and worst captions, or all if there are no more than that, with the pictures where
    their folder is given. Raises CaptionsError where a file cannot be read, the ids do not match, a picture is not in
    the folder, or there are pictures and no page to show them on.
    """
    if pictures is not None and (html is None or html.suffix == ".json"):
        raise CaptionsError(f"{pictures} is for a page, and none is written; give --output a name such as report.html")
    truths = read_references(references)
    files = {captions.stem: captions} | ({_other_name(captions, against): against} if against else {})
    read = {name: matched(read_captions(path, column), truths) for name, path in files.items()}
    ids, texts, raw = read[captions.stem]
    tokens = [[tokenizer.tokenize(text) for text in of_one] for of_one in raw]
    said = {name: [tokenizer.tokenize(text) for text in of_one] for name, (_, of_one, _) in read.items()}
    comparison = Comparison(said, tokens, SAMPLES)
    report = _report(comparison, captions.stem, references)
    if html is not None and html.suffix == ".json":
        write_json(html, report)
    elif html is not None:
        cider = comparison.per_picture(captions.stem)["cider"].tolist()
        shown = [
            Example(ids[i], texts[i], tuple(raw[i]), cider[i], _picture(pictures, ids[i], truths), kind)
            for kind, i in _chosen(cider, examples)
        ]
        with atomic_write(html) as temporary:
            write_text(temporary, render_page(report, shown, f"{captions.name} against {references.name}"))
    return report


def _other_name(captions: Path, against: Path) -> str:
    return against.stem if against.stem != captions.stem else str(against)


def _report(comparison: Comparison, system: str, references: Path) -> dict[str, Any]:
    scores = comparison.scores()
    for name, said in comparison.systems.items():
        toolkit = toolkit_meteor(said, comparison.references)
        if toolkit is not None:
            scores[name]["meteor_toolkit"] = toolkit
    return {
        "dataset": references.name,
        "images": len(comparison.references),
        "tokenizer": tokenizer.NAME,
        "cider_frequencies": "evaluated references",
        "decoding": scores,
        "intervals": comparison.intervals(),
        "differences": comparison.differences(list(comparison.systems)[-1]) if len(comparison.systems) > 1 else None,
        "baselines": {
            "human": human_scores(comparison.references),
            f"{system}, one reference fewer": fewer_references(comparison.systems[system], comparison.references),
        },
        "by_length": comparison.by_length(system),
        "diversity_penalty": {
            name: diversity(said, [[words] for words in said], []) for name, said in comparison.systems.items()
        },
    }


def _chosen(cider: Sequence[float], most: int) -> list[tuple[str, int]]:
    """Which captions are shown, each with the kind of example that it is."""
    order = sorted(range(len(cider)), key=lambda i: -cider[i])
    if len(order) <= 2 * most:
        return [("all, the best first", i) for i in order]
    return [("best", i) for i in order[:most]] + [("worst", i) for i in order[::-1][:most]]


def _picture(folder: Path | None, key: str, truths: ById[list[str]]) -> Any:
    if folder is None:
        return None
    names = [key, *(name for name, of_one in truths.names.items() if of_one == key)]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise CaptionsError(f"{folder} has no picture {names[-1]}; give --pictures the folder that holds the pictures")
    picture = load_image(found)
    picture.thumbnail((PICTURE, PICTURE))
    return picture
