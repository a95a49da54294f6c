"""Where things lie, relative to the working directory, which is the checkout that a stage runs in.

An experiment that DVC runs in a copy (``--temp``, ``--queue``) has that copy as its working directory, while
``DVC_ROOT`` still names the original. What belongs to a run is read from the copy; what outlives it (MLflow's
store, scratch for interrupted work) lies under :func:`home`.
"""

import os
from pathlib import Path

PARAMS = Path("params.yaml")

RAW = Path("data/raw")
PREPARED = Path("data/prepared")
FEATURES = Path("data/features")
STAGE1 = Path("models/stage1")
STAGE2 = Path("models/stage2")
REPORTS = Path("reports")
CORRECTIONS = Path("corrections.sqlite")  # under home(): people wrote it, and no run makes it again


def home() -> Path:
    """The project's root that outlives a run: ``DVC_ROOT`` under DVC, else the working directory."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def scratch(name: str) -> Path:
    """A folder for unfinished work, kept outside DVC's outputs because DVC deletes those before a run."""
    return home() / ".scratch" / name
