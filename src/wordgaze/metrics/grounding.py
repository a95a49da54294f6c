"""Does it look where it speaks? Attention of the words that name a boxed object, against the boxes of that object.

Two measures: the pointing game (Zhang et al. 2016), whether the cell with the most weight lies in a box, and the share
of the weight that lies in the boxes. Each is read beside what needs no picture: attention that is the same everywhere,
attention to the centre, and the attention of another picture's words.

Only words that name something that is there are measured; what is not there is for ``hallucination.Chair`` to count.

The encoder resizes a picture as a whole and never crops it, so a cell of the grid is the same part of every picture:
``width / columns`` by ``height / rows`` pixels. Boxes are (left, top, right, bottom), right and bottom exclusive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.hallucination import share
from wordgaze.text.objects import Lexicon

Floats = npt.NDArray[np.float64]

KINDS = ("attention", "uniform", "centre", "shuffled")


class Box(Protocol):
    """Where a noun is; ``box`` = (left, top, right, bottom) in pixels."""

    @property
    def noun(self) -> str: ...

    @property
    def box(self) -> tuple[int, int, int, int]: ...


class AttendedCaption(Protocol):
    """A caption with where its words looked: a ``decoding.base.Caption``, or anything of the kind."""

    @property
    def words(self) -> Sequence[str]:
        """T words."""
        ...

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """(T, L), row-major over the grid."""
        ...


@dataclass(frozen=True)
class Boxed:
    """A picture's size (width, height) in pixels and where its objects are."""

    size: tuple[int, int]
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class GroundingReport:
    """``words`` measured, the scores of all of them, and for each noun its number of words and its two scores."""

    words: int
    scores: dict[str, float]
    nouns: dict[str, dict[str, float]]


@dataclass(frozen=True)
class _Words:
    """The W words that were measured: their pictures, their nouns, and how their cells lie to the boxes."""

    picture: npt.NDArray[np.int64]  # (W,)
    nouns: list[str]
    weights: Floats  # (W, L)
    hit: Floats  # (W, L): 1 where the centre of the cell is in a box
    cover: Floats  # (W, L): share of the cell that is in the boxes


class Grounding:
    """Grounding scores against the boxes of fixed pictures, of captions whose attention has this ``grid``.

    ``grid`` is (rows, columns). ``lexicon`` says which words name which noun of the boxes (its synonyms, its phrases);
    without one the nouns name themselves, in singular and plural. ``margin`` is how far outside a box, in pixels of
    the picture, a point still counts as in it (15 in Zhang et al.). ``sigma`` is the width of the centre-biased
    Gaussian as a share of the picture's width and height. Raises ScoreError for an empty box or picture.
    """

    columns = 2 + 2 * len(KINDS)

    def __init__(
        self,
        pictures: Sequence[Boxed],
        grid: tuple[int, int],
        lexicon: Lexicon | None = None,
        margin: float = 0.0,
        sigma: float = 0.25,
    ) -> None:
        for number, picture in enumerate(pictures):
            _check(number, picture)
        self._pictures, self._grid, self._margin = pictures, grid, margin
        self._lexicon = lexicon or Lexicon({box.noun for picture in pictures for box in picture.boxes})
        self._uniform = np.full((1, grid[0] * grid[1]), 1 / (grid[0] * grid[1]))
        self._centre = centre_attention(grid, sigma)[None]

    def statistics(self, candidates: Sequence[AttendedCaption]) -> Floats:
        """(N, 10): measured words, those of them that have a shuffled partner, then hits and mass of each of KINDS.

        ``candidates[i]`` is the caption of picture i. Shuffled is the expectation over every word measured in another
        picture, so no draw has to be seeded; its sums depend on the captions handed in together. Raises ScoreError
        where the number of captions or the shape of their weights misfits, or weights are no distribution.
        """
        words = self._measure(candidates)
        totals = np.zeros((len(self._pictures), 10))
        np.add.at(totals, words.picture, self._rows(words))
        return totals

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., 10) → ``pointing`` and ``mass`` (...), each 0…1, and the same with ``_uniform``, ``_centre``
        and ``_shuffled``. NaN where no word was measured.
        """
        totals = np.asarray(totals, dtype=np.float64)
        found = {}
        for measure, first in (("pointing", 2), ("mass", 3)):
            for i, kind in enumerate(KINDS):
                name = measure if kind == "attention" else f"{measure}_{kind}"
                found[name] = share(totals[..., first + 2 * i], totals[..., 1 if kind == "shuffled" else 0])
        return found

    def report(self, candidates: Sequence[AttendedCaption]) -> GroundingReport:
        """The scores of all pictures, and of each noun."""
        words = self._measure(candidates)
        rows = self._rows(words)
        names = np.array(words.nouns, dtype=object)
        nouns = {}
        for noun in sorted(set(words.nouns)):
            totals = rows[names == noun].sum(0)
            scores = self.scores(totals)
            nouns[noun] = {"words": totals[0].item(), **{key: scores[key].item() for key in ("pointing", "mass")}}
        overall = {name: score.item() for name, score in self.scores(rows.sum(0)).items()}
        return GroundingReport(len(rows), overall, nouns)

    def _measure(self, candidates: Sequence[AttendedCaption]) -> _Words:
        if len(candidates) != len(self._pictures):
            raise ScoreError(f"{len(candidates)} captions for {len(self._pictures)} pictures: each needs exactly one")
        picture, nouns, weights, hit, cover = [], [], [], [], []
        for number, (caption, boxed) in enumerate(zip(candidates, self._pictures, strict=True)):
            attention = self._distribution(number, caption)
            there = {box.noun for box in boxed.boxes}
            for name, start, stop in self._lexicon.mentions(caption.words):
                if name in there:
                    boxes = _corners(boxed, name)
                    picture.append(number)
                    nouns.append(name)
                    weights.append(attention[start:stop].mean(0))
                    hit.append(cells_that_hit(boxes, boxed.size, self._grid, self._margin))
                    cover.append(cells_covered(boxes, boxed.size, self._grid))
        cells = self._uniform.shape[1]
        tables = (np.array(table, dtype=np.float64).reshape(-1, cells) for table in (weights, hit, cover))
        return _Words(np.array(picture, dtype=np.int64), nouns, *tables)

    def _distribution(self, number: int, caption: AttendedCaption) -> Floats:
        """(T, L) in double precision, each row of sum 1: attention in half precision sums to a little more or less."""
        weights = np.asarray(caption.weights, dtype=np.float64)
        wanted = (len(caption.words), self._uniform.shape[1])
        if weights.shape != wanted:
            raise ScoreError(f"picture number {number} has weights of shape {weights.shape} instead of {wanted}")
        sums = weights.sum(1, keepdims=True)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and (np.abs(sums - 1) < 0.05).all()):
            raise ScoreError(f"picture number {number} has weights that are no attention: each word's must sum to 1")
        return np.asarray(weights / sums, dtype=np.float64)

    def _rows(self, words: _Words) -> Floats:
        """(W, 10): what each word adds to the statistics of its picture."""
        peaks = _peaks(words.weights)
        others, (shuffled, shuffled_peaks) = _others(words.picture, (words.weights, peaks))
        kinds = [
            (peaks, words.weights),
            (self._uniform, self._uniform),
            (_peaks(self._centre), self._centre),
            (shuffled_peaks, shuffled),
        ]
        columns = [np.ones(len(words.nouns)), (others > 0).astype(np.float64)]
        for where, weights in kinds:
            columns += [(where * words.hit).sum(1).clip(0, 1), (weights * words.cover).sum(1).clip(0, 1)]
        return np.stack(columns, axis=1)


def centre_attention(grid: tuple[int, int], sigma: float) -> Floats:
    """(L,) weights of sum 1: a Gaussian about the centre, ``sigma`` as a share of the picture's width and height."""
    rows, columns = grid
    y, x = ((2 * np.arange(n) + 1 - n) / (2 * n) for n in (rows, columns))  # from −½ to ½, symmetric to the last bit
    weights = np.exp(-(y[:, None] ** 2 + x**2) / (2 * sigma**2)).ravel()
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def cells_that_hit(boxes: Floats, size: tuple[int, int], grid: tuple[int, int], margin: float = 0.0) -> Floats:
    """(L,): 1 for the cells whose centre is in one of the ``boxes`` (B, 4) or within ``margin`` pixels of it."""
    (width, height), (rows, columns) = size, grid
    x, y = (np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows
    left, top, right, bottom = boxes.T[..., None]  # (B, 1) each
    dx = np.maximum(0, np.maximum(left - x, x - right))[:, None, :]
    dy = np.maximum(0, np.maximum(top - y, y - bottom))[:, :, None]
    near: Floats = (np.hypot(dx, dy) <= margin).any(0).ravel().astype(np.float64)
    return near


def cells_covered(boxes: Floats, size: tuple[int, int], grid: tuple[int, int]) -> Floats:
    """(L,): the share of each cell that is inside the union of the ``boxes`` (B, 4), 0…1.

    Exact: the edges of boxes and cells cut the picture into rectangles that are wholly inside or wholly outside.
    """
    (width, height), (rows, columns) = size, grid
    x, dx, column = _strips(boxes[:, [0, 2]], width, columns)
    y, dy, row = _strips(boxes[:, [1, 3]], height, rows)
    left, top, right, bottom = boxes.T[..., None]
    inside = (((left < x) & (x < right))[:, None, :] & ((top < y) & (y < bottom))[:, :, None]).any(0)  # (Y, X)
    cells = np.zeros((rows, columns))
    np.add.at(cells, (row[:, None], column[None, :]), inside * dy[:, None] * dx)
    return (cells.ravel() * (rows / height) * (columns / width)).clip(0, 1)


def _strips(edges: Floats, length: float, cells: int) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Middle, width and cell of each strip between neighbouring edges, of the boxes and of the cells."""
    cuts = np.unique(np.concatenate([np.linspace(0, length, cells + 1), edges.ravel().clip(0, length)]))
    middles = (cuts[1:] + cuts[:-1]) / 2
    return middles, np.diff(cuts), (middles * (cells / length)).astype(np.int64).clip(0, cells - 1)


def _peaks(weights: Floats) -> Floats:
    """(W, L) → (W, L): where the greatest weight is, shared out between cells that tie: no corner is favoured."""
    highest = (weights == weights.max(1, keepdims=True, initial=0)).astype(np.float64)
    return np.asarray(highest / highest.sum(1, keepdims=True), dtype=np.float64)


def _others(picture: npt.NDArray[np.int64], tables: Sequence[Floats]) -> tuple[Floats, list[Floats]]:
    """How many words (W,) were measured in other pictures than a word's own, and each table's mean over these."""
    _, inverse, counts = np.unique(picture, return_inverse=True, return_counts=True)
    others = (len(picture) - counts[inverse]).astype(np.float64)
    means = []
    for table in tables:
        own = np.zeros((len(counts), table.shape[1]))
        np.add.at(own, inverse, table)
        means.append((table.sum(0) - own[inverse]) / np.maximum(others, 1)[:, None])
    return others, means


def _corners(boxed: Boxed, noun: str) -> Floats:
    return np.array([box.box for box in boxed.boxes if box.noun == noun], dtype=np.float64)


def _check(number: int, picture: Boxed) -> None:
    if min(picture.size) < 1:
        raise ScoreError(f"picture number {number} has the size {picture.size}; give its width and height in pixels")
    for box in picture.boxes:
        left, top, right, bottom = box.box
        if left >= right or top >= bottom:
            raise ScoreError(f"picture number {number} has an empty box of {box.noun!r}: {box.box}; leave it out")
