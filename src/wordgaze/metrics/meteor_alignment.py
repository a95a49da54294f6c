"""The alignment of METEOR: which words of a caption correspond to which of a reference (Denkowski and Lavie 2011)."""

from collections.abc import Sequence
from typing import NamedTuple

BEAM = 40
"""Partial alignments that are kept at each word; only captions with many repetitions have more."""


class Match(NamedTuple):
    """Words of the caption that may correspond to words of the reference."""

    caption_start: int
    caption_length: int
    reference_start: int
    reference_length: int
    weight: float  # of the kind of match: 1 for an exact one
    coverage: int  # what the match adds to the first aim of the alignment


class Alignment(NamedTuple):
    """The chosen matches from left to right in the reference, and the number of runs that are adjacent in both."""

    matches: tuple[Match, ...]
    chunks: int


class _Path(NamedTuple):
    """An alignment of the first words of the reference."""

    rank: tuple[int, int, int]  # coverage, minus chunks, number of matches
    used: int  # words of the caption, as bits
    next_word: tuple[int, int]  # of the caption and of the reference: a match that starts here continues the chunk
    matches: tuple[Match, ...]

    def extended(self, match: Match, words: int) -> "_Path":
        """This path with a match of these words of the caption, as bits."""
        coverage, chunks, count = self.rank
        i, caption_length, j, reference_length, _, added = match
        return _Path(
            (coverage + added, chunks if (i, j) == self.next_word else chunks - 1, count + 1),
            self.used | words,
            (i + caption_length, j + reference_length),
            (*self.matches, match),
        )


def best_alignment(candidates: Sequence[Sequence[Match]]) -> Alignment:
    """The alignment with most coverage, then fewest chunks, then most matches; of equals the one that is found first.

    ``candidates[j]`` are the matches that start at word j of the reference, the preferred ones first. A word is in one
    match at most. A match always takes part if no other claims one of its words.
    """
    contested = _contested([match for matches in candidates for match in matches])
    paths = [_Path((0, 0, 0), 0, (-1, -1), ())]
    for j, matches in enumerate(candidates):
        if not matches:  # every path only goes on
            continue
        options = [(match, (bits := _bits(match))[0], _is_free(bits, contested)) for match in matches]
        extended: list[_Path] = []
        for path in paths:
            can_skip = True
            if path.next_word[1] <= j:
                for match, words, is_certain in options:
                    if not path.used & words:
                        extended.append(path.extended(match, words))
                        can_skip = can_skip and not is_certain
            if can_skip:
                extended.append(path)
        paths = extended
        if len(paths) > BEAM:
            paths = _best(paths)
    best = max(paths, key=_rank)
    return Alignment(best.matches, -best.rank[1])


def _best(paths: Sequence[_Path]) -> list[_Path]:
    """The best paths, one of those that go on alike."""
    ordered = sorted(paths, key=_rank, reverse=True)
    by_state: dict[tuple[int, tuple[int, int]], _Path] = {}
    for path in ordered:
        by_state.setdefault((path.used, path.next_word), path)
    return list(by_state.values())[:BEAM]


def _rank(path: _Path) -> tuple[int, int, int]:
    return path.rank


def _bits(match: Match) -> tuple[int, int]:
    """The covered words of the caption and of the reference, as bits."""
    i, caption_length, j, reference_length = match[:4]
    return ((1 << caption_length) - 1) << i, ((1 << reference_length) - 1) << j


def _contested(matches: Sequence[Match]) -> tuple[int, int]:
    """The words that several matches cover, as bits."""
    of_caption = of_reference = contested_of_caption = contested_of_reference = 0
    for match in matches:
        caption, reference = _bits(match)
        contested_of_caption |= of_caption & caption
        contested_of_reference |= of_reference & reference
        of_caption |= caption
        of_reference |= reference
    return contested_of_caption, contested_of_reference


def _is_free(bits: tuple[int, int], contested: tuple[int, int]) -> bool:
    return not (bits[0] & contested[0] or bits[1] & contested[1])
