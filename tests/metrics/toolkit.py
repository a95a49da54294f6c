"""The COCO evaluation toolkit (pycocoevalcap) as the tests ask it, its frozen numbers, and the captions they are of."""

import csv
import io
import json
import os
import shutil
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

Tokens = Sequence[str]
References = Sequence[Sequence[Tokens]]

DATA = Path(__file__).parent / "data"
FROZEN: dict[str, Any] = json.loads((DATA / "toolkit.json").read_text(encoding="utf-8"))
"""What the toolkit gave, its Java tokenizer included: ``human`` is the first caption of each of Flickr8k's 1,000 test
pictures against the other four, ``model`` a captioner's (flickr8k_beam.jsonl) against all five, ``small`` needs no data.
test_toolkit.py asks the toolkit for all of them again where Java and Flickr8k are."""

SHARED = Path(os.environ.get("WORDGAZE_SHARED", Path(__file__).parents[2] / "../shared/datasets"))
FLICKR8K = SHARED / "flickr8k" / "Flickr8k_text.zip"

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="the reference tokenizer needs java on the PATH")
needs_flickr8k = pytest.mark.skipif(
    not FLICKR8K.is_file(), reason="Flickr8k is not here: set WORDGAZE_SHARED to the folder that holds flickr8k/"
)


def tokenized_by_java(captions: Sequence[str]) -> list[list[str]]:
    """Each caption by the toolkit's tokenizer, alone: the lexer looks ahead into the next line, so a word is there."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    lines = {i: [{"caption": unicodedata.normalize("NFC", c)}, {"caption": "x"}] for i, c in enumerate(captions)}
    tokenized = PTBTokenizer().tokenize(lines)
    return [tokenized[i][0].split() for i in range(len(captions))]


def toolkit_scores(
    candidates: Sequence[Tokens], references: References
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """By name: the score of all pictures, and of each."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    generated = {i: [" ".join(words)] for i, words in enumerate(candidates)}
    truths = {i: [" ".join(words) for words in of_one] for i, of_one in enumerate(references)}
    bleu, bleus = Bleu(4).compute_score(truths, generated, verbose=0)
    rouge, rouges = Rouge().compute_score(truths, generated)
    cider, ciders = Cider().compute_score(truths, generated)
    names = ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider"]
    totals = [float(score) for score in (*bleu, rouge, cider)]
    return dict(zip(names, totals, strict=True)), {
        name: [float(score) for score in scores] for name, scores in zip(names, (*bleus, rouges, ciders), strict=True)
    }


def flickr8k(chosen: str) -> tuple[list[str], list[list[str]]]:
    """The captions to be scored and their references, as written; ``chosen`` is ``human`` or ``model``."""
    with zipfile.ZipFile(FLICKR8K) as archive:
        tokens = archive.read("Flickr8k.token.txt").decode("utf-8")
        test = archive.read("Flickr_8k.testImages.txt").decode("utf-8").split()
    of: dict[str, list[str]] = {image: [] for image in test}
    for name, caption in csv.reader(io.StringIO(tokens), delimiter="\t", quoting=csv.QUOTE_NONE):
        if (image := name.split("#")[0]) in of:
            of[image].append(caption)
    if chosen == "human":
        return [captions[0] for captions in of.values()], [captions[1:] for captions in of.values()]
    lines = (DATA / "flickr8k_beam.jsonl").read_text(encoding="utf-8").splitlines()
    generated = {row["image"]: row["caption"] for row in map(json.loads, lines)}
    return [generated[image] for image in of], list(of.values())


def small() -> tuple[list[str], list[list[str]]]:
    return FROZEN["small"]["captions"], FROZEN["small"]["references"]
