"""Scores of captions from any system, read from files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wordgaze.files import replacing, write_json, write_text
from wordgaze.metrics.baselines import fewer_references, human_scores
from wordgaze.metrics.comparison import Comparison, diversity
from wordgaze.metrics.meteor import toolkit_meteor
from wordgaze.readers.captions import matched, read_captions, read_references
from wordgaze.report.page import Example, render_page
from wordgaze.text import tokenizer

SAMPLES = 1000
EXAMPLES = 10


def score_files(
    captions: Path, references: Path, against: Path | None = None, column: str | None = None, html: Path | None = None
) -> dict[str, Any]:
    """Scores a file of captions, and with ``against`` those of another system on the same pictures beside them.

    Returns what the page shows; writes the page to ``html`` if given, or the same as JSON where its name ends so.
    Raises CaptionsError where a file cannot be read or the ids do not match.
    """
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
        examples = _examples(comparison.per_picture(captions.stem)["cider"].tolist(), ids, texts, raw)
        with replacing(html) as temporary:
            write_text(temporary, render_page(report, examples, f"{captions.name} against {references.name}"))
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
        "diversity": {
            name: diversity(said, [[words] for words in said], []) for name, said in comparison.systems.items()
        },
    }


def _examples(
    cider: Sequence[float], ids: Sequence[str], texts: Sequence[str], raw: Sequence[Sequence[str]]
) -> list[Example]:
    order = sorted(range(len(ids)), key=lambda i: -cider[i])
    chosen = [("best", i) for i in order[:EXAMPLES]] + [("worst", i) for i in order[::-1][:EXAMPLES]]
    return [Example(ids[i], texts[i], tuple(raw[i]), cider[i], None, kind) for kind, i in chosen]
