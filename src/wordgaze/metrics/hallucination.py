"""Does it name what is not there? CHAIR (Rohrbach et al. 2018)."""

from collections.abc import Iterable, Sequence

import numpy as np

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats, Tokens
from wordgaze.text.objects import Lexicon


class Chair:
    """How often captions name objects that are not there: ``chair_i``, ``chair_s`` and ``object_recall``.

    As in the paper, an object is in picture i if ``objects[i]`` has it (its boxes) or any of ``references[i]`` names
    it; ``objects`` may be empty for a data set without boxes. What the lexicon does not know is neither counted nor
    missed. Raises ScoreError where the numbers of pictures differ or a box's noun is not in the lexicon.
    """

    columns = 6

    def __init__(
        self,
        references: Sequence[Sequence[Tokens]],
        objects: Sequence[Iterable[str]],
        lexicon: Lexicon,
    ) -> None:
        if objects and len(objects) != len(references):
            raise ScoreError(
                f"objects of {len(objects)} pictures for references of {len(references)}: give both of each"
            )
        self._lexicon = lexicon
        self._there: list[set[str]] = [{m.name for r in of_one for m in lexicon.mentions(r)} for of_one in references]
        for number, (there, boxed) in enumerate(zip(self._there, objects, strict=False)):
            there.update(boxed)
            if not there <= lexicon.names:
                unknown = ", ".join(sorted(there - lexicon.names))
                raise ScoreError(f"picture number {number} has objects that the lexicon lacks: {unknown}; add them")

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, 6): mentions, hallucinated ones, 1, 1 if any is hallucinated, objects there, objects there and named."""
        if len(candidates) != len(self._there):
            raise ScoreError(f"{len(candidates)} captions for {len(self._there)} pictures: each needs exactly one")
        rows = [self._row(words, there) for words, there in zip(candidates, self._there, strict=True)]
        return np.array(rows, dtype=np.float64).reshape(-1, 6)

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., 6) → each score (...), a share in 0…1.

        ``chair_i``: of the mentions of objects, those that are hallucinated. ``chair_s``: of the captions, those with
        one. ``object_recall``: of the objects that are there, those that are named. NaN where there is nothing to
        share: no mention, no caption, no object.
        """
        mentions, hallucinated, captions, with_one, there, named = np.moveaxis(np.asarray(totals, np.float64), -1, 0)
        return {
            "chair_i": share(hallucinated, mentions),
            "chair_s": share(with_one, captions),
            "object_recall": share(named, there),
        }

    def _row(self, words: Tokens, there: set[str]) -> tuple[int, ...]:
        named = [mention.name for mention in self._lexicon.mentions(words)]
        wrong = sum(name not in there for name in named)
        return len(named), wrong, 1, int(wrong > 0), len(there), len(there.intersection(named))


def share(part: Floats, whole: Floats) -> Floats:
    """part / whole of the same shape, NaN where the whole is zero."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)
