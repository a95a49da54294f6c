"""Mutations of files: of bytes, and of the numbers and marks of a text."""

import random

_BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff")
_TEXTS = (
    "1e999", "-1e999", "NaN", "Infinity", "1e-320", "9" * 400, "9" * 5000, "-1", "0", "0.5", "null", "true", "[]", "{}",
    '""', '"\\ud800"', "\ud7ff", "\0", "\x1b[31m", "\u2028", "﷽" * 9, "<unk>", "<end>", "&lt;pad&gt;", "2001-99-99",
    "2001-01-01", "&a", "*a", "!!binary x", "!!set {a}", "? [a]", "<<: *a", "%", "'", '"', "\\", "\n", "\t", "|", ";", ",",
    "[" * 3000, "{a: " * 1500, "<a>" * 2000, "<!DOCTYPE a>", "../", "/etc/passwd", "a" * 5000, " " * 20000,
    "< " + " " * 5000, "12:30:45", "0x1F", "0b1", "1_000", "..", "~", "#0\t",
)  # fmt: skip


def mutated(data: bytes, rng: random.Random, other: bytes, is_text: bool) -> bytes:
    """``data`` after one to five mutations; ``other`` is another file, of which a part may be inserted."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((1, 1, 2, 4, 8, 30, 300)))
        choice = rng.randrange(8)
        if is_text and choice < 4:
            _replace_word(content, rng)
        elif choice in (0, 4) and start < len(content):
            content[start] ^= 1 << rng.randrange(8)
        elif choice in (1, 5):
            content[start:end] = rng.choice(_BYTES)
        elif choice in (2, 6):
            del content[start : end if rng.random() < 0.7 else None]
        elif choice == 3:
            content[start:start] = content[start:end] * rng.choice((1, 2, 50))
        else:
            place = rng.randrange(len(other) + 1)
            content[start:end] = other[place : place + rng.choice((4, 40, 400))]
    return bytes(content)


def _replace_word(content: bytearray, rng: random.Random) -> None:
    """A word of a text, up to the next mark, becomes a value that readers stumble over, or goes before it."""
    marks = b" \n\t,:;{}[]\"'<>="
    start = rng.randrange(len(content) + 1)
    while start > 0 and content[start - 1] not in marks:
        start -= 1
    end = start
    while end < len(content) and content[end] not in marks:
        end += 1
    content[start : end if rng.random() < 0.7 else start] = rng.choice(_TEXTS).encode("utf-8", "surrogatepass")
