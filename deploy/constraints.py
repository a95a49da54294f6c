"""Splits the lock for the image: ``python constraints.py requirements.lock constraints.txt torch.txt``.

PyTorch's CPU builds lie on an index of their own with other checksums, and need none of the GPU's packages. They go to
the third file with their versions; all other packages go to the second with versions and checksums.
"""

import re
import sys
from pathlib import Path

TORCH = ("torch", "torchvision")
GPU = ("cuda-", "nvidia-", "triton")


def split(lock: str) -> tuple[list[str], list[str]]:
    """The entries of a lock: those with checksums, and PyTorch's versions."""
    entries = re.split(r"\n(?=\S)", lock.strip())
    kept, torch = [], []
    for entry in entries:
        name, _, version = entry.split()[0].partition("==")
        if name in TORCH:
            torch.append(f"{name}=={version}")
        elif not name.startswith(GPU):
            kept.append(entry)
    return kept, torch


def main() -> None:
    """Writes both files."""
    source, constraints, torch = map(Path, sys.argv[1:])
    entries, versions = split(source.read_text(encoding="utf-8"))
    constraints.write_text("\n".join(entries) + "\n", encoding="utf-8")
    torch.write_text("\n".join(versions) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
