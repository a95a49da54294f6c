"""The scores of a set of captions."""

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
