"""The direction of text, and the order in which a line of mixed directions is shown."""

import unicodedata
from collections.abc import Sequence
from typing import TypeVar

LEFT_TO_RIGHT_MARK, RIGHT_TO_LEFT_MARK = "\u200e", "\u200f"  # invisible letters with a direction

_RIGHT_TO_LEFT = frozenset({"R", "AL"})
_STRONG = _RIGHT_TO_LEFT | {"L"}
# What makes some part of a line run from right to left: letters, Arabic digits, and explicit embeddings and isolates.
_REORDERED = _RIGHT_TO_LEFT | {"AN", "RLE", "RLO", "RLI"}

# Classes that the library does not know, each with a character whose class stands for it: isolates are invisible, and
# characters that the tables of Unicode lack run from left to right.
_STAND_INS = {"LRI": "\u200b", "RLI": "\u200b", "FSI": "\u200b", "PDI": "\u200b", "": "x"}

T = TypeVar("T")


def is_right_to_left(text: str) -> bool:
    """Whether the first letter with a direction runs from right to left, as HTML's ``dir="auto"`` decides."""
    classes = (unicodedata.bidirectional(char) for char in text)
    return next((one in _RIGHT_TO_LEFT for one in classes if one in _STRONG), False)


def with_mark(word: str, right_to_left: bool) -> str:
    """A word, with the mark of its line's direction after it where a number behind it would change sides."""
    if right_to_left:
        return word + RIGHT_TO_LEFT_MARK
    is_reordered = any(unicodedata.bidirectional(char) in _REORDERED for char in word)
    return word + LEFT_TO_RIGHT_MARK if is_reordered else word


def embedding_levels(line: str, right_to_left: bool) -> list[int]:
    """The level of each character by the Unicode bidirectional algorithm: odd where it runs from right to left."""
    base = int(right_to_left)
    if not right_to_left and not any(unicodedata.bidirectional(char) in _REORDERED for char in line):
        return [0] * len(line)
    from bidi import algorithm

    storage = algorithm.get_empty_storage() | {"base_level": base, "base_dir": "LR"[base]}
    known_line = "".join(_STAND_INS.get(unicodedata.bidirectional(char), char) for char in line)
    algorithm.get_embedding_levels(known_line, storage)
    characters = list(storage["chars"])  # the algorithm drops joiners and embeddings, and changes the dictionaries
    for position, character in enumerate(characters):
        character["position"] = position
    algorithm.explicit_embed_and_overrides(storage)
    algorithm.resolve_weak_types(storage)
    algorithm.resolve_neutral_types(storage, False)
    algorithm.resolve_implicit_levels(storage, False)
    known = {character["position"]: int(character["level"]) for character in storage["chars"]}
    levels: list[int] = []
    for position in range(len(line)):  # a character that was dropped goes with the one before it
        levels.append(known.get(position, levels[-1] if levels else base))
    return levels


def visual_order(parts: Sequence[T], levels: Sequence[int]) -> list[T]:
    """Parts of a line with their levels, from logical order to the order in which they stand from left to right."""
    order = list(range(len(parts)))
    for level in range(max(levels, default=0), 0, -1):
        start = 0
        while start < len(order):
            end = start
            while end < len(order) and levels[order[end]] >= level:
                end += 1
            order[start:end] = reversed(order[start:end])
            start = max(end, start + 1)
    return [parts[place] for place in order]
