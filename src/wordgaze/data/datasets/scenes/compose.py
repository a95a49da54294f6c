"""Composes a scene from one random generator: place, time, objects and their boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wordgaze.data.datasets.scenes.nouns import AIRBORNE, GROUNDED, NOUNS, pictogram

Time = Literal["day", "sunset", "night"]
Layout = Literal["row", "beside", "stack"]

BACKDROPS = 6  # drawn variants of each place at each time

_SMALL, _LARGE = (0.20, 0.24), (0.34, 0.42)  # longest side as a fraction of the image; there is no size in between
_MOST_THINGS = 4
_WIDTH, _BOTTOM, _CEILING, _SKY = 0.94, 0.96, 0.03, 0.47  # the usable width; airborne things stay in _CEILING.._SKY


@dataclass(frozen=True)
class Place:
    """The place of a scene. ``ground`` is the highest line that things may stand on, as a share of the height."""

    name: str
    preposition: str
    ground: float
    outdoors: bool = True


PLACES = (
    Place("beach", "on", 0.68),
    Place("street", "on", 0.66),
    Place("field", "in", 0.64),
    Place("park", "in", 0.66),
    Place("desert", "in", 0.62),
    Place("lake", "by", 0.70),
    Place("room", "in", 0.66, outdoors=False),
    Place("snowy hill", "on", 0.64),
)


@dataclass(frozen=True)
class Thing:
    """One pictogram; ``box`` = (left, top, right, bottom) in pixels is the tight bounding box of its visible part."""

    box: tuple[int, int, int, int]
    mirrored: bool


@dataclass(frozen=True)
class Group:
    """One to three objects of one kind and size."""

    noun: str
    large: bool
    things: tuple[Thing, ...]


@dataclass(frozen=True)
class Scene:
    """``groups`` go from left to right (``row``, ``beside``) or from top to bottom (``stack``).

    Groups of a row do not overlap horizontally; in a stack the second is wholly below the first.
    """

    size: int
    place: Place
    time: Time
    layout: Layout
    groups: tuple[Group, ...]
    backdrop: int


@dataclass
class _Plan:
    """A group before it has a position; lengths are fractions of the image, ``offsets`` bottom-left corners."""

    noun: str
    width: float
    height: float
    offsets: Sequence[tuple[float, float]]
    large: bool

    @property
    def span(self) -> float:
        return max(x for x, _ in self.offsets) + self.width

    @property
    def rise(self) -> float:
        """From the lowest to the highest bottom line."""
        return max(y for _, y in self.offsets)


def compose(seed: int, index: int, size: int) -> Scene:
    """Scene ``index`` of the data set with this ``seed``, for images of ``size`` x ``size`` pixels."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, index)))
    place = PLACES[rng.integers(len(PLACES))]
    time = _time(rng, place)
    nouns = _nouns(rng, place)
    counts = _counts(rng, len(nouns))
    layout = _layout(rng, nouns)
    if layout == "stack":
        nouns.sort(key=lambda noun: noun in GROUNDED)
    gap = {"row": 0.12, "beside": 0.03, "stack": 0.0}[layout] if len(nouns) == 2 else 0.03
    plans = _plans(rng, nouns, counts, gap, stacked=layout == "stack")
    lefts = _lefts(rng, plans, gap, layout)
    bases = _bases(rng, plans, place, layout)
    groups = (_group(rng, *planned, size) for planned in zip(plans, lefts, bases, strict=True))
    return Scene(size, place, time, layout, tuple(groups), int(rng.integers(BACKDROPS)))


def _time(rng: np.random.Generator, place: Place) -> Time:
    chance = rng.random()
    if chance < 0.3:
        return "night"
    return "sunset" if place.outdoors and chance < 0.5 else "day"


def _nouns(rng: np.random.Generator, place: Place) -> list[str]:
    kinds = rng.choice([1, 2, 3], p=[0.35, 0.5, 0.15])
    known = NOUNS if place.outdoors else tuple(GROUNDED)
    return [known[number] for number in rng.choice(len(known), size=kinds, replace=False)]


def _counts(rng: np.random.Generator, kinds: int) -> list[int]:
    counts: list[int] = []
    for kind in range(kinds):
        wanted = int(rng.choice([1, 2, 3], p=[0.72, 0.17, 0.11]))
        kinds_to_come = kinds - kind - 1
        counts.append(min(wanted, _MOST_THINGS - sum(counts) - kinds_to_come))
    return counts


def _layout(rng: np.random.Generator, nouns: list[str]) -> Layout:
    chance = rng.random()
    match len(nouns), sum(noun in AIRBORNE for noun in nouns):
        case 2, 1 if chance < 0.8:
            return "stack"
        case 2, 0 if chance < 0.3:
            return "beside"
        case _:
            return "row"


def _plans(rng: np.random.Generator, nouns: list[str], counts: list[int], gap: float, *, stacked: bool) -> list[_Plan]:
    """Random sizes; the widest large group is made small until all groups fit beside each other."""
    tight = sum(counts) == _MOST_THINGS
    larges = [bool(rng.random() < 0.5) and count < 3 and not (tight and count > 1) for count in counts]
    small, large = rng.uniform(*_SMALL), rng.uniform(*_LARGE)
    while True:
        plans = [
            _plan(noun, count, large if big else small, tight, big)
            for noun, count, big in zip(nouns, counts, larges, strict=True)
        ]
        if stacked or sum(plan.span for plan in plans) + gap * (len(plans) - 1) <= _WIDTH:
            return plans
        widest = max((number for number, big in enumerate(larges) if big), key=lambda number: plans[number].span)
        larges[widest] = False


def _plan(noun: str, count: int, side: float, tight: bool, large: bool) -> _Plan:
    """The offsets of one object, of two side by side (overlapping if space is short), or of three in a triangle."""
    image = pictogram(noun)
    width, height = (side * length / max(image.size) for length in image.size)
    if count == 3:
        offsets = [(0.0, 0.0), (width * 1.04, 0.0), (width * 0.52, height * 0.9)]
    elif count == 2:
        offsets = [(0.0, 0.0), (width * 0.55, height * 0.92) if tight else (width * 1.06, height * 0.1)]
    else:
        offsets = [(0.0, 0.0)]
    return _Plan(noun, width, height, offsets, large)


def _lefts(rng: np.random.Generator, plans: list[_Plan], gap: float, layout: Layout) -> list[float]:
    """The left side of each group: a common centre for a stack, otherwise side by side with the free width divided."""
    margin = (1 - _WIDTH) / 2
    if layout == "stack":
        half = max(plan.span for plan in plans) / 2
        centre = rng.uniform(margin + half, 1 - margin - half)
        return [float(centre) - plan.span / 2 for plan in plans]
    free = _WIDTH - sum(plan.span for plan in plans) - gap * (len(plans) - 1)
    shares = free * rng.dirichlet([2.0] * (len(plans) + 1))
    if layout == "beside":  # the gap stays narrow: the free width goes to both sides
        shares[0], shares[1] = shares[0] + shares[1], 0.0
    lefts, left = [], margin
    for plan, share in zip(plans, shares[:-1], strict=True):
        left += float(share)
        lefts.append(left)
        left += plan.span + gap
    return lefts


def _bases(rng: np.random.Generator, plans: list[_Plan], place: Place, layout: Layout) -> list[float]:
    """The lowest bottom line of each group: in the sky for airborne objects, on the ground for others."""
    bases: list[float] = []
    for plan in plans:
        tall = plan.height + plan.rise
        if plan.noun in AIRBORNE:
            lowest, highest = _SKY, _CEILING + tall
        else:
            lowest, highest = _BOTTOM, max(place.ground + plan.rise, place.ground + plan.height * 0.45)
        if layout == "stack" and bases:
            highest = max(highest, bases[0] + 0.02 + tall)
        if layout == "beside" and bases:
            lowest = highest = max(bases[0], highest)
        bases.append(float(rng.uniform(min(highest, lowest), lowest)))
    return bases


def _group(rng: np.random.Generator, plan: _Plan, left: float, base: float, size: int) -> Group:
    width, height = max(1, round(plan.width * size)), max(1, round(plan.height * size))
    things = []
    for x, y in plan.offsets:
        x0, y0 = int((left + x) * size), int((base - y) * size) - height
        things.append(Thing((x0, y0, x0 + width, y0 + height), bool(rng.random() < 0.5)))
    return Group(plan.noun, plan.large, tuple(things))
