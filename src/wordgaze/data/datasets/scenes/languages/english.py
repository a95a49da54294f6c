"""Captions in English."""

from collections.abc import Sequence

from wordgaze.data.datasets.scenes.compose import Group, Scene
from wordgaze.data.datasets.scenes.nouns import plural

_NUMBERS = {2: "two", 3: "three"}
_TIMES = {"day": "", "sunset": " at sunset", "night": " at night"}


def english_captions(scene: Scene) -> tuple[str, ...]:
    """The five forms; see :mod:`wordgaze.data.datasets.scenes.grammar`."""
    view = f"a {scene.place.name}{_TIMES[scene.time]}"
    where = f"{scene.place.preposition} {view}"
    everything = _listing(scene.groups)
    first, *others = scene.groups
    common = (f"{everything} {where}", f"a view of {view} with {everything}")
    if not others:
        return (
            *common,
            f"{where} there {_verb(first)} {_name(first)}",
            f"{_name(first)} and nothing else {where}",
            f"{_name(first, sized=True)} {_verb(first)} {where}",
        )
    forth, back, seen_from = _relations(scene)
    return (
        *common,
        f"{where} there {_verb(first)} {_name(first)} with {_listing(others)} {seen_from}",
        f"{_name(first)} {forth} {_listing(others)} {where}",
        f"{_listing(others, sized=True)} {_verb(*others)} {back} {_name(first, sized=True)}",
    )


def _relations(scene: Scene) -> tuple[str, str, str]:
    """The relations of the first group to the others, of the others to the first, and the side of the others."""
    alone = len(scene.groups[0].things) == 1
    if scene.layout == "stack":
        return "above", "below", "below it" if alone else "below them"
    forth = "next to" if scene.layout == "beside" else "to the left of"
    return forth, "to the right of", f"to {'its' if alone else 'their'} right"


def _listing(groups: Sequence[Group], *, sized: bool = False) -> str:
    *names, last = (_name(group, sized=sized) for group in groups)
    return f"{', '.join(names)} and {last}" if names else last


def _name(group: Group, *, sized: bool = False) -> str:
    count = len(group.things)
    noun = group.noun if count == 1 else plural(group.noun)
    phrase = f"{'large' if group.large else 'small'} {noun}" if sized else noun
    if count > 1:
        return f"{_NUMBERS[count]} {phrase}"
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _verb(*groups: Group) -> str:
    return "is" if sum(len(group.things) for group in groups) == 1 else "are"
