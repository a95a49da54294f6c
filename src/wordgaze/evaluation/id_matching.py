"""Which references belong to which caption: the ids of two files, matched as the names of pictures are."""

import logging
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, TypeVar

from wordgaze.core.errors import CaptionsError
from wordgaze.data.picture_matching import AmbiguousNameError, PictureIndex
from wordgaze.data.readers.captions import ById
from wordgaze.data.readers.captions.names import SPLITS_BY_NAME

_log = logging.getLogger(__name__)

V = TypeVar("V")
NamesView: TypeAlias = dict[str, str]  # the names of images in one column, each with the id of the image
_SHOWN = 3  # ids in a message


class MatchedIds(NamedTuple):
    """The ids of the captions, in their order, with the caption and the references of each.

    ``left_out`` is the number of references without a caption that were left out.
    """

    ids: list[str]
    captions: list[str]
    references: list[list[str]]
    left_out: int = 0


def matched(
    captions: Mapping[str, str], references: Mapping[str, list[str]], partial: bool = False, way_out: str = ""
) -> MatchedIds:
    """Matches the ids of captions and references; ``ids`` are those of the references.

    Every column of a file that names its images is tried, and the two columns count with which the most captions have
    references: first by equal names, then as :class:`PictureIndex` compares the names of pictures, so that a path, a
    stem and a number with or without leading zeros match a file name.

    Raises CaptionsError if a caption has no references, if two captions have the same references, or if references have
    no caption, unless ``partial``; ``way_out`` says how to allow that.
    """
    pairing = pair_ids(captions, references)
    targets = {key: pairing.targets[key] for key in captions if key in pairing.targets}
    taken: dict[str, str] = {}
    for key, target in targets.items():
        if target in taken:
            same = f"{taken[target]!r} and {key!r}"
            raise CaptionsError(f"{same} are the same image in the references ({target!r}); remove one of them")
        taken[target] = key
    unmatched = [key for key in captions if key not in targets]
    missing = [key for key in references if key not in taken]
    if unmatched or (missing and not partial):
        difference = _difference(captions, references, unmatched, missing, partial, way_out)
        raise CaptionsError(f"{difference}; {pairing.ambiguous}" if pairing.ambiguous else difference)
    if pairing.uncertain:
        _log.warning(
            "%d captions are matched by the end of their paths, such as %s",
            len(pairing.uncertain),
            next(iter(pairing.uncertain.values())),
        )
    ids = list(targets.values())
    return MatchedIds(ids, list(captions.values()), [references[key] for key in ids], len(missing))


def of_split(references: ById[list[str]], split: str, name: str) -> ById[list[str]]:
    """The references of one split. Raises CaptionsError if the file ``name`` has no such split."""
    wanted = _split_name(split)
    names = {key: {_split_name(each) for each in of_image} for key, of_image in references.splits.items()}
    there = sorted({each for of_image in names.values() for each in of_image})
    if wanted not in there:
        what = f"the splits {', '.join(there)}, but not {split!r}" if there else f"no splits, and so no {split!r}"
        raise CaptionsError(f"{name} has {what}; leave out --split, or give another")
    result: ById[list[str]] = ById()
    result.places, result.splits = references.places, references.splits
    result.update({key: texts for key, texts in references.items() if wanted in names.get(key, ())})
    result.aliases = {
        column: {alias: key for alias, key in aliases.items() if key in result}
        for column, aliases in references.aliases.items()
    }
    return result


def without_other_splits(captions: ById[V], references: ById[list[str]], all_references: ById[list[str]]) -> ById[V]:
    """The captions without those of images in other splits, whose number is logged."""
    targets = pair_ids(captions, all_references).targets
    result: ById[V] = ById()
    result.aliases = captions.aliases
    result.update(
        {
            key: text
            for key, text in captions.items()
            if targets.get(key, key) not in all_references.keys() - references.keys()
        }
    )
    if left_out := len(captions) - len(result):
        _log.info("%d captions of images in other splits are left out", left_out)
    return result


def _split_name(name: str) -> str:
    return SPLITS_BY_NAME.get(name.casefold(), name)


class IdPairing(NamedTuple):
    """The id in the references for each caption that has one.

    ``ambiguous`` says of the first caption that fits several references which they are, and ``uncertain`` names the
    pairs of which only the ends of the paths are equal, by the id of the caption.
    """

    targets: dict[str, str]
    ambiguous: str = ""
    uncertain: Mapping[str, str] = MappingProxyType({})

    @property
    def size(self) -> tuple[int, int]:
        """The number of references with a caption, and of captions with a reference."""
        return len(set(self.targets.values())), len(self.targets)


def pair_ids(captions: Mapping[str, Any], references: Mapping[str, Any]) -> IdPairing:
    """The largest of the pairings by two columns."""
    best = IdPairing({})
    for pair in (_equal, pair_names):
        for view in _views(references):
            for names in _views(captions):
                found = pair(names, view)
                if found.size > best.size or (found.size == best.size and found.ambiguous and not best.ambiguous):
                    best = found
                if best.size == (len(captions), len(captions)):
                    return best
    return best


def _views(values: Mapping[str, Any]) -> list[NamesView]:
    own = {key: key for key in values}
    return [own, *(values.aliases.values() if isinstance(values, ById) else ())]


def _equal(names: NamesView, view: NamesView) -> IdPairing:
    return IdPairing({key: view[name] for name, key in names.items() if name in view})


def pair_names(names: NamesView, view: NamesView) -> IdPairing:
    """The pairs of one column of captions and one of references, as the names of pictures are compared."""
    targets = _equal(names, view).targets
    keys: dict[PurePosixPath, set[str]] = {}
    for name, key in view.items():
        keys.setdefault(PurePosixPath(name), set()).add(key)
    index = PictureIndex(keys)
    ambiguous, uncertain = "", {}
    for name, key in names.items():
        if key in targets:
            continue
        try:
            match = index.match(name)
        except AmbiguousNameError as error:
            ambiguous = ambiguous or str(error)
            continue
        if match is not None and len(keys[match.path]) == 1:
            [targets[key]] = keys[match.path]
            if match.dropped and len(match.path.parts) > len(PurePosixPath(name).parts) - match.dropped:
                uncertain[key] = f"{name!r} with {str(match.path)!r}"
    return IdPairing(targets, ambiguous, uncertain)


def _difference(
    captions: Mapping[str, Any], references: Mapping[str, Any], unmatched: list[str], missing: list[str], partial: bool,
    way_out: str,
) -> str:  # fmt: skip
    problems = []
    if unmatched:
        problems.append(f"{len(unmatched)} of {len(captions)} captions have no references ({_first(unmatched)})")
    if missing and not partial:
        problems.append(f"{len(missing)} of {len(references)} references have no caption ({_first(missing)})")
    elif missing:
        problems.append(f"the references have ids such as {_first(missing)}")
    only_missing = f"; {way_out}" if way_out and not unmatched else "; give both files the same ids"
    return f"the ids do not match: {' and '.join(problems)}{only_missing}"


def _first(ids: list[str]) -> str:
    return ", ".join(map(repr, ids[:_SHOWN])) + (", …" if len(ids) > _SHOWN else "")
