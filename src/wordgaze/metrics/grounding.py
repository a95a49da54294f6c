"""Grounding: attention of the words that name an object with boxes, compared with the boxes of that object.

Two measures: the pointing game (Zhang et al. 2016), whether the cell with the largest weight lies in a box, and the
mass, the share of the attention that lies in the boxes. Each is reported beside three kinds of attention that do not
depend on the image: uniform attention, attention to the centre, and the attention of words of other images.

The attention of a word over the image may sum to less than 1: with a sentinel the rest goes to the language model, with
local-p attention it is lost outside the window. The mass is therefore normalised: it is the share of the attention that
falls on the image, not of 1, so that captioners with and without a sentinel compare. The rest is reported as
``elsewhere``. A word whose attention is elsewhere altogether points at nothing: it is counted, but not measured.

Only words that name an object that is in the image are measured; others are counted by ``hallucination.Chair``.

The encoder resizes an image as a whole and never crops it, so a cell of the grid is the same part of every image:
``width / columns`` by ``height / rows`` pixels. Boxes are (left, top, right, bottom), right and bottom exclusive.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats
from wordgaze.metrics.hallucination import share
from wordgaze.text.objects import Lexicon

KINDS = ("attention", "uniform", "centre", "shuffled")

CENTRE_SIGMA = 0.25
"""Width of the Gaussian of attention to the centre, as a share of the image's width and height."""

_TOLERANCE = 0.05  # by which a sum may exceed 1: attention is computed in half precision too
_ELSEWHERE = 1e-6  # a word with less attention than this on the image is not measured


class LabelledBox(Protocol):
    """Where the object named ``noun`` is; ``box`` = (left, top, right, bottom) in pixels."""

    @property
    def noun(self) -> str: ...

    @property
    def box(self) -> tuple[int, int, int, int]: ...


class AttendedCaption(Protocol):
    """A caption with the attention of its words, such as :class:`wordgaze.generation.outputs.Caption`."""

    @property
    def words(self) -> Sequence[str]:
        """T words."""
        ...

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """(T, L), the cells of the grid in row-major order."""
        ...


@dataclass(frozen=True)
class Boxed:
    """An image's size (width, height) in pixels and the boxes of its objects."""

    size: tuple[int, int]
    boxes: tuple[LabelledBox, ...]


@dataclass(frozen=True)
class GroundingReport:
    """``words``: how many were measured. ``scores``: of all measured words. ``nouns``: for each noun its number of
    words and its two scores."""

    words: int
    scores: dict[str, float]
    nouns: dict[str, dict[str, float]]


class _Mention(NamedTuple):
    """A word (or a name of several words) that names an object with boxes."""

    image: int
    noun: str
    weights: Floats  # (L,)


@dataclass(frozen=True)
class _Measured:
    """The W words that are measured: their images, their nouns, and how the cells lie to the boxes."""

    image: npt.NDArray[np.int64]  # (W,)
    nouns: list[str]
    weights: Floats  # (W, L), each row of sum 1
    hit: Floats  # (W, L): 1 where the centre of the cell is in a box
    cover: Floats  # (W, L): share of the cell that is in the boxes


class Grounding:
    """Grounding scores of captions whose attention has this ``grid``, against the boxes of fixed images.

    ``grid`` is (rows, columns). ``lexicon`` maps words to the nouns of the boxes. Raises ScoreError for an empty box or
    image.
    """

    columns = 4 + 2 * len(KINDS)

    def __init__(self, images: Sequence[Boxed], grid: tuple[int, int], lexicon: Lexicon) -> None:
        for number, image in enumerate(images):
            _check(number, image)
        self._images, self._grid, self._lexicon = images, grid, lexicon
        self._uniform = np.full((1, grid[0] * grid[1]), 1 / (grid[0] * grid[1]))
        self._centre = centre_attention(grid)[None]

    def statistics(self, candidates: Sequence[AttendedCaption]) -> Floats:
        """(N, 12), sums over the words of each image: measured words, those of them with a shuffled partner, words that
        name a boxed object, their attention elsewhere, then hits and mass of each of KINDS.

        ``candidates[i]`` is the caption of image i. Shuffled is the expectation over all words measured in other
        images, so it needs no random seed; its sums depend on the captions given together. Raises ScoreError if the
        number of captions or the shape of their weights does not fit, and for weights that are negative, NaN or sum to
        more than 1.
        """
        mentions = self._mentions(candidates)
        measured = self._measure(mentions)
        return self._totals(mentions, measured, self._rows(measured))

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., 12) → ``pointing`` and ``mass`` (...), and the same with ``_uniform``, ``_centre`` and
        ``_shuffled``, and ``elsewhere``; each 0…1. NaN where no word was measured.
        """
        totals = np.asarray(totals, dtype=np.float64)
        scores = {}
        for measure, first in (("pointing", 4), ("mass", 5)):
            for i, kind in enumerate(KINDS):
                name = measure if kind == "attention" else f"{measure}_{kind}"
                scores[name] = share(totals[..., first + 2 * i], totals[..., 1 if kind == "shuffled" else 0])
        scores["elsewhere"] = share(totals[..., 3], totals[..., 2])
        return scores

    def report(self, candidates: Sequence[AttendedCaption]) -> GroundingReport:
        """The scores of all images, and of each noun."""
        mentions = self._mentions(candidates)
        measured = self._measure(mentions)
        rows = self._rows(measured)
        names = np.array(measured.nouns, dtype=object)
        nouns = {}
        for noun in sorted(set(measured.nouns)):
            words, _, pointing, mass, *_ = rows[names == noun].sum(0).tolist()
            nouns[noun] = {"words": words, "pointing": pointing / words, "mass": mass / words}
        totals = self._totals(mentions, measured, rows).sum(0)
        scores = {name: score.item() for name, score in self.scores(totals).items()}
        return GroundingReport(len(rows), scores, nouns)

    def _totals(self, mentions: Sequence[_Mention], measured: _Measured, rows: Floats) -> Floats:
        """(N, 12): what :meth:`statistics` returns."""
        totals = np.zeros((len(self._images), self.columns))
        for mention in mentions:
            totals[mention.image, 2:4] += 1, max(0.0, 1 - mention.weights.sum())
        np.add.at(totals, measured.image, np.insert(rows, [2, 2], 0.0, axis=1))
        return totals

    def _mentions(self, candidates: Sequence[AttendedCaption]) -> list[_Mention]:
        if len(candidates) != len(self._images):
            raise ScoreError(f"{len(candidates)} captions for {len(self._images)} images: each needs exactly one")
        return [mention for number, caption in enumerate(candidates) for mention in self._mentions_in(number, caption)]

    def _mentions_in(self, number: int, caption: AttendedCaption) -> Iterator[_Mention]:
        """The mentions of boxed objects in a caption; the attention of a name of several words is their mean."""
        weights = self._checked_weights(number, caption)
        present = {box.noun for box in self._images[number].boxes}
        for name, start, stop in self._lexicon.mentions(caption.words):
            if name in present:
                yield _Mention(number, name, weights[start:stop].mean(0))

    def _checked_weights(self, number: int, caption: AttendedCaption) -> Floats:
        """(T, L) in double precision."""
        weights = np.asarray(caption.weights, dtype=np.float64)
        shape = (len(caption.words), self._uniform.shape[1])
        if weights.shape != shape:
            raise ScoreError(f"image number {number} has weights of shape {weights.shape} instead of {shape}")
        if not ((weights >= 0).all() and (weights.sum(1) <= 1 + _TOLERANCE).all()):
            raise ScoreError(
                f"image number {number} has weights that are not valid attention: they are negative or NaN, or those of"
                " a word sum to more than 1"
            )
        return weights

    def _measure(self, mentions: Sequence[_Mention]) -> _Measured:
        measured = [mention for mention in mentions if mention.weights.sum() > _ELSEWHERE]
        hit, cover = [], []
        for number, noun, _ in measured:
            boxed = self._images[number]
            boxes = np.array([box.box for box in boxed.boxes if box.noun == noun], dtype=np.float64)
            hit.append(cells_that_hit(boxes, boxed.size, self._grid))
            cover.append(cells_covered(boxes, boxed.size, self._grid))
        weights = [mention.weights / mention.weights.sum() for mention in measured]
        cells = self._uniform.shape[1]
        tables = (np.array(table, dtype=np.float64).reshape(-1, cells) for table in (weights, hit, cover))
        images = np.array([mention.image for mention in measured], dtype=np.int64)
        return _Measured(images, [mention.noun for mention in measured], *tables)

    def _rows(self, measured: _Measured) -> Floats:
        """(W, 10): 1, 1 with a shuffled partner, then hit and mass of each of KINDS."""
        peaks = _peaks(measured.weights)
        others, (shuffled, shuffled_peaks) = _others(measured.image, (measured.weights, peaks))
        kinds = [
            (peaks, measured.weights),
            (self._uniform, self._uniform),
            (_peaks(self._centre), self._centre),
            (shuffled_peaks, shuffled),
        ]
        columns = [np.ones(len(measured.nouns)), (others > 0).astype(np.float64)]
        for where, weights in kinds:
            columns += [(where * measured.hit).sum(1).clip(0, 1), (weights * measured.cover).sum(1).clip(0, 1)]
        return np.stack(columns, axis=1)


def centre_attention(grid: tuple[int, int], sigma: float = CENTRE_SIGMA) -> Floats:
    """(L,) weights of sum 1: a Gaussian about the centre, ``sigma`` as a share of the image's width and height."""
    rows, columns = grid
    y, x = ((2 * np.arange(n) + 1 - n) / (2 * n) for n in (rows, columns))  # from −½ to ½, symmetric to the last bit
    weights = np.exp(-(y[:, None] ** 2 + x**2) / (2 * sigma**2)).ravel()
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def cells_that_hit(boxes: Floats, size: tuple[int, int], grid: tuple[int, int]) -> Floats:
    """(L,): 1 for the cells whose centre is in one of the ``boxes`` (B, 4) or on its edge."""
    (width, height), (rows, columns) = size, grid
    x, y = (np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows
    left, top, right, bottom = boxes.T[..., None]  # (B, 1) each
    inside_x, inside_y = (left <= x) & (x <= right), (top <= y) & (y <= bottom)  # (B, columns), (B, rows)
    hit: Floats = (inside_y[:, :, None] & inside_x[:, None, :]).any(0).ravel().astype(np.float64)
    return hit


def cells_covered(boxes: Floats, size: tuple[int, int], grid: tuple[int, int]) -> Floats:
    """(L,): the share of each cell that is inside the union of the ``boxes`` (B, 4), 0…1.

    Exact: the edges of boxes and cells cut the image into rectangles that are wholly inside or wholly outside.
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


def _others(image: npt.NDArray[np.int64], tables: Sequence[Floats]) -> tuple[Floats, list[Floats]]:
    """How many words (W,) were measured in other images than a word's own, and the mean of each table over them."""
    _, inverse, counts = np.unique(image, return_inverse=True, return_counts=True)
    others = (len(image) - counts[inverse]).astype(np.float64)
    means = []
    for table in tables:
        own = np.zeros((len(counts), table.shape[1]))
        np.add.at(own, inverse, table)
        means.append((table.sum(0) - own[inverse]) / np.maximum(others, 1)[:, None])
    return others, means


def _check(number: int, image: Boxed) -> None:
    if min(image.size) < 1:
        raise ScoreError(f"image number {number} has the size {image.size}; give its width and height in pixels")
    for box in image.boxes:
        left, top, right, bottom = box.box
        if left >= right or top >= bottom:
            raise ScoreError(f"image number {number} has an empty box of {box.noun!r}: {box.box}; leave it out")
