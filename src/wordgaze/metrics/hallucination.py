"""Object hallucination: CHAIR (Rohrbach et al. 2018)."""

from collections.abc import Iterable, Sequence

import numpy as np

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats, Tokens
from wordgaze.text.objects import Lexicon


class Chair:
    """How often captions name objects that are not in the image: ``chair_i``, ``chair_s`` and ``object_recall``.

    As in the paper, an object is in image i if ``objects[i]`` contains it (its boxes) or one of ``references[i]`` names
    it; ``objects`` may be empty for a data set without boxes. Objects that the lexicon lacks are not counted. Raises
    ScoreError if the numbers of images differ or the noun of a box is not in the lexicon.
    """

    columns = 6

    def __init__(
        self,
        references: Sequence[Sequence[Tokens]],
        objects: Sequence[Iterable[str]],
        lexicon: Lexicon,
    ) -> None:
        if objects and len(objects) != len(references):
            raise ScoreError(f"objects of {len(objects)} images for references of {len(references)}: give both of each")
        self._lexicon = lexicon
        self._present: list[set[str]] = [
            {m.name for r in of_image for m in lexicon.mentions(r)} for of_image in references
        ]
        for number, (present, boxed) in enumerate(zip(self._present, objects, strict=False)):
            present.update(boxed)
            if not present <= lexicon.names:
                unknown = ", ".join(sorted(present - lexicon.names))
                raise ScoreError(f"image number {number} has objects that the lexicon lacks: {unknown}; add them")

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, 6): mentions, hallucinated mentions, 1, 1 if any is hallucinated, objects, objects that are named."""
        if len(candidates) != len(self._present):
            raise ScoreError(f"{len(candidates)} captions for {len(self._present)} images: each needs exactly one")
        rows = [self._row(words, present) for words, present in zip(candidates, self._present, strict=True)]
        return np.array(rows, dtype=np.float64).reshape(-1, 6)

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., 6) → each score (...), a share in 0…1.

        ``chair_i``: of the mentions of objects, those that are hallucinated. ``chair_s``: of the captions, those with a
        hallucination. ``object_recall``: of the objects in the images, those that are named. NaN if there is no
        mention, no caption or no object.
        """
        mentions, hallucinated, captions, with_one, present, named = np.moveaxis(np.asarray(totals, np.float64), -1, 0)
        return {
            "chair_i": share(hallucinated, mentions),
            "chair_s": share(with_one, captions),
            "object_recall": share(named, present),
        }

    def _row(self, words: Tokens, present: set[str]) -> tuple[int, ...]:
        named = [mention.name for mention in self._lexicon.mentions(words)]
        wrong = sum(name not in present for name in named)
        return len(named), wrong, 1, int(wrong > 0), len(present), len(present.intersection(named))


def share(part: Floats, whole: Floats) -> Floats:
    """part / whole, of the same shape; NaN where the whole is zero."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)
