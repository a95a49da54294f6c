"""The scores of a set of captions, and the floors that they are read against."""

from collections import Counter
from collections.abc import Sequence

from wordgaze.errors import ScoreError
from wordgaze.metrics.bleu import corpus_bleu
from wordgaze.metrics.cider import Cider

Tokens = Sequence[str]


def score_captions(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> dict[str, float]:
    """BLEU-1…4 (0…1) and CIDEr (0…10, papers print it as it is or times 100). Raises ScoreError on a misfit."""
    if not candidates or len(candidates) != len(references):
        raise ScoreError(f"{len(candidates)} captions for {len(references)} pictures: each picture needs exactly one")
    for i, of_one in enumerate(references):
        if not of_one:
            raise ScoreError(f"picture number {i} has no reference; leave it out of the captions too")
    return {**corpus_bleu(candidates, references), "cider": Cider(references).score(candidates)}


def constant_caption(train: Sequence[Tokens], references: Sequence[Sequence[Tokens]], tried: int = 50) -> list[str]:
    """The one training caption that scores best (BLEU-4) on these references if it is said of every picture.

    Tried are the commonest captions: what a captioner that never looks would end at.
    """
    common = [list(words) for words, _ in Counter(map(tuple, train)).most_common(tried)]
    return max(common, key=lambda words: corpus_bleu([words] * len(references), references)["bleu_4"])


def human_scores(references: Sequence[Sequence[Tokens]]) -> dict[str, float]:
    """Each reference in turn against the others, averaged; with one reference fewer than a captioner is scored on.

    Pictures with a single reference are left out. Raises ScoreError if no picture has two.
    """
    several = [of_one for of_one in references if len(of_one) > 1]
    if not several:
        raise ScoreError("no picture has two references, so no human score can be computed")
    rounds = min(map(len, several))
    scores = [
        score_captions([of_one[i] for of_one in several], [[*of_one[:i], *of_one[i + 1 :]] for of_one in several])
        for i in range(rounds)
    ]
    return {name: sum(s[name] for s in scores) / rounds for name in scores[0]}
