"""The paths of a project, relative to the working directory, in which a stage runs.

An experiment that DVC runs in a copy of the project (``--temp``, ``--queue``) has that copy as its working directory,
while ``DVC_ROOT`` names the original. The inputs and outputs of a run are in the copy; what outlives the run (the
MLflow store, unfinished work) is under :func:`home`.
"""

import os
from pathlib import Path

PARAMS = Path("params.yaml")
PARAMS_CHECKED = Path("data/params_checked.txt")

RAW = Path("data/raw")
PREPARED = Path("data/prepared")
FEATURES = Path("data/features")
FINETUNED_ENCODER = Path("models/encoder")
STAGE1 = Path("models/stage1")
STAGE2 = Path("models/stage2")
REPORTS = Path("reports")
CORRECTIONS = Path("corrections.sqlite")  # under home(): written by people, not reproducible
CAPTION_QUEUE = Path("corrections-queue.jsonl")  # under home(), beside them


def home() -> Path:
    """The root of the original project: ``DVC_ROOT`` under DVC, otherwise the working directory."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def scratch(name: str) -> Path:
    """A folder for unfinished work. It is not an output of DVC, because DVC deletes outputs before a run."""
    return home() / ".scratch" / name
