"""Minimum Bayes risk: of many candidates, the caption that agrees most with the others (Kumar and Byrne 2004)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from wordgaze.generation.outputs import Caption
from wordgaze.metrics.bleu import Bleu
from wordgaze.metrics.cider import Cider, DocumentFrequencies
from wordgaze.metrics.ngrams import ORDERS

ALIKE = DocumentFrequencies({}, 1.0)
"""Every n-gram weighs the same: candidates are judged by each other alone, whatever the captioner was trained on."""


def consensus(candidates: Sequence[Caption], num: int, utility: Literal["cider", "bleu"]) -> list[Caption]:
    """The ``num`` different captions with the highest mean utility against all other candidates, best first.

    A caption that was found several times counts as often. ``score`` is the mean utility: 0…1 by BLEU-4, by CIDEr
    with every n-gram weighted alike 0…10.
    """
    words = [caption.words for caption in candidates]
    scores = _by_cider(words) if utility == "cider" else _by_bleu(words)
    ranked = sorted(zip(candidates, scores, strict=True), key=lambda pair: (-pair[1], -pair[0].log_prob))
    different = {caption.words: replace(caption, score=score) for caption, score in reversed(ranked)}
    return sorted(different.values(), key=lambda caption: (-caption.score, -caption.log_prob))[:num]


def _by_bleu(words: Sequence[tuple[str, ...]]) -> list[float]:
    others = [[*words[:i], *words[i + 1 :]] or list(words) for i in range(len(words))]
    metric = Bleu(others)
    return metric.scores(metric.statistics(words))["bleu_4"].tolist()  # type: ignore[no-any-return]


def _by_cider(words: Sequence[tuple[str, ...]]) -> list[float]:
    """One picture whose references are all candidates; what each scores against itself is taken off again."""
    count = len(words)
    if count == 1:
        return [10.0]
    against_all = Cider([words], ALIKE).reward([0] * count, words)
    itself = [10.0 * min(len(caption), ORDERS) / ORDERS for caption in words]
    return [(count * every - own) / (count - 1) for every, own in zip(against_all, itself, strict=True)]
