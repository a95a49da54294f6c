"""The stages of the pipeline as commands, in the order in which DVC runs them."""

import os
from collections.abc import Callable
from contextlib import nullcontext

import typer

PANEL = "Pipeline stages (dvc repro runs them)"

STAGES = {
    "check_params": "Check params.yaml, before DVC deletes the outputs of another stage.",
    "download": "Download the data set, and leave out what cannot be used.",
    "prepare": "Clean the captions, split them by image, and count the vocabulary.",
    "finetune": "Train the encoder by the captions, if finetune.blocks says so.",
    "features": "Encode the images to grids of features.",
    "train_stage1": "Train the decoder from scratch.",
    "train_stage2": "Continue the training from the best decoder of stage 1.",
    "evaluate": "Score the test split, and log the captioner as a model.",
}

_WITH_RANKS = ("finetune", "features", "train_stage1", "train_stage2")

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

        params = load_params(paths.PARAMS)
        if params.fixes_kernels:
            fix_cpu_kernels()  # before the stage imports PyTorch
        # Of a lost rank, PyTorch prints traces of C++; the stage says in one line what happened.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
        with nullcontext() if _is_other_rank(stage) else exclusive(stage, stage):
            run: Callable[[Params], None] = import_module(f"wordgaze.stages.{stage}").run
            run(params)
        check_interruption()  # DVC would go on to the next stage


def _is_other_rank(stage: str) -> bool:
    """Whether torchrun has started this process to work beside rank 0, which alone writes."""
    return stage in _WITH_RANKS and os.environ.get("RANK", "0") != "0"


for _stage, _summary in STAGES.items():
    _add(_stage, _summary)
