"""The stages of the pipeline as commands, in the order in which DVC runs them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

PANEL = "Pipeline stages (dvc repro runs them)"

STAGES = {
    "download": "Download the data set, and leave out what cannot be used.",
    "prepare": "Clean the captions, split them by image, and count the vocabulary.",
    "features": "Encode the images to grids of features.",
    "train_stage1": "Train the decoder from scratch.",
    "train_stage2": "Continue the training from the best decoder of stage 1.",
    "evaluate": "Score the test split, and log the captioner as a model.",
}

app = typer.Typer()


def _add(stage: str, summary: str) -> None:
    @app.command(stage, help=summary, rich_help_panel=PANEL)
    def command() -> None:
        from importlib import import_module

        from wordgaze.config.params import Params, load_params
        from wordgaze.core import paths
        from wordgaze.core.interruption import check_interruption
        from wordgaze.core.reproducibility import fix_cpu_kernels
        from wordgaze.core.scratch import exclusive

        with _outputs_kept():
            params = load_params(paths.PARAMS)
            if params.fixes_kernels:
                fix_cpu_kernels()  # before the stage imports PyTorch
            with exclusive(stage, stage):
                run: Callable[[Params], None] = import_module(f"wordgaze.stages.{stage}").run
                run(params)
        check_interruption()  # DVC would go on to the next stage


@contextmanager
def _outputs_kept() -> Iterator[None]:
    """Brings back the outputs of the stage's last run if this one fails, for example because of a misspelt parameter.

    DVC deletes them before it starts a stage. Those that are in its cache are restored from there; reports are in git.
    """
    try:
        yield
    except Exception:
        if stage := os.environ.get("DVC_STAGE"):
            dvc = [sys.executable, "-m", "dvc", "checkout", "--quiet", stage]
            subprocess.run(dvc, cwd=os.environ.get("DVC_ROOT"), capture_output=True, check=False)
        raise


for _stage, _summary in STAGES.items():
    _add(_stage, _summary)
