"""The model card of a captioner, from the records of the project and what MLflow knows of its training."""

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from wordgaze.core.errors import ModelError, TrackingError
from wordgaze.core.files import sha256
from wordgaze.evaluation.model_card.page import card_charts, render_card_page
from wordgaze.evaluation.model_card.records import StageCost, training_records
from wordgaze.evaluation.model_card.sections import render_model_card
from wordgaze.inference.captioner_folder import CaptionerCard, read_card
from wordgaze.inference.folder_names import CARD_PAGE, MODEL_CARD, WEIGHTS
from wordgaze.tracking.cost import CPU_SECONDS, ENERGY, MACHINE, SECONDS
from wordgaze.tracking.resolve import resolve
from wordgaze.tracking.runs import COMMIT, STAGE, WEIGHTS_TAG, newest_run
from wordgaze.tracking.store import Store, open_store

if TYPE_CHECKING:
    from mlflow.entities import Run

_COPY = "## This copy"
STAGES = ("download", "prepare", "finetune", "features", "train_stage1", "train_stage2", "evaluate")


class ModelCard(NamedTuple):
    """A model card in both forms."""

    markdown: str
    html: str

    def files(self) -> dict[str, str]:
        """The card's files in a captioner folder, by name."""
        return {MODEL_CARD: self.markdown, CARD_PAGE: self.html}


def make_model_card(
    name: str, card: CaptionerCard, weights: str, command: str, costs: tuple[StageCost, ...]
) -> ModelCard:
    """The card of a captioner whose trained weights have this SHA-256 checksum; ``command`` wrote its folder."""
    records = training_records(weights, costs)
    markdown = render_model_card(name, card, records, command)
    return ModelCard(markdown, render_card_page(markdown, card_charts(records)))


def model_card(model: str) -> ModelCard:
    """The card of the captioner of any address.

    One whose training the project in the working directory did not record keeps the card of its folder, if it has one.
    Raises as :func:`wordgaze.tracking.resolve.resolve`.
    """
    folder = resolve(model).folder
    weights = weights_checksum(folder)
    if (shipped := shipped_card(folder, weights)) is not None:
        return ModelCard(shipped, render_card_page(shipped, {}))
    name = Path(model).name if Path(model).is_absolute() else model  # without the folders of the machine
    command = f"wordgaze card {shlex.quote(name)}"
    return make_model_card(name, read_card(folder), weights, command, recorded_costs(weights))


def shipped_card(folder: Path, weights: str) -> str | None:
    """The card in a captioner's folder, if the project did not record the training of its ``weights`` (SHA-256)."""
    path = folder / MODEL_CARD
    if not path.is_file() or training_records(weights).report is not None:
        return None
    return path.read_text(encoding="utf-8", errors="replace")


def copied_card(shipped: str, command: str) -> ModelCard:
    """The card of a captioner that ``command`` wrote from one with the card ``shipped``."""
    original = shipped.partition(_COPY)[0].rstrip("\n")
    markdown = (
        f"{original}\n\n{_COPY}\n\nThe sections above are of the captioner that it was made from, by `{command}`.\n"
    )
    return ModelCard(markdown, render_card_page(markdown, {}))


def weights_checksum(folder: Path) -> str:
    """The SHA-256 of a captioner's weights. Raises ModelError where they cannot be read."""
    try:
        return sha256(folder / WEIGHTS)
    except OSError as error:
        raise ModelError(f"{folder / WEIGHTS} cannot be read ({error.strerror}); train the captioner again") from error


@contextmanager
def with_model_card(captioner_folder: Path, card: ModelCard) -> Iterator[Path]:
    """A temporary copy of the captioner's folder with the card: the captioner's own folder is an output of DVC."""
    with TemporaryDirectory() as parent:  # a copy, because MLflow follows no links out of a folder
        folder = shutil.copytree(captioner_folder, Path(parent) / captioner_folder.name)
        for name, text in card.files().items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        yield folder


def training_costs(store: Store, weights: str) -> tuple[StageCost, ...]:
    """What the stages took that made the weights with this SHA-256 checksum, in the order of the pipeline.

    A stage whose results DVC used again has no run in the same pass; its newest run before counts, and is marked.
    Empty where the training is not in the store.
    """
    trained = newest_run(store, {STAGE: "train_stage2", WEIGHTS_TAG: weights})
    if trained is None:
        return ()
    evaluated = newest_run(store, {STAGE: "evaluate", WEIGHTS_TAG: weights})
    found = {"train_stage2": trained} | ({"evaluate": evaluated} if evaluated else {})
    parent = trained.data.tags.get("mlflow.parentRunId", "")
    costs = []
    for stage in STAGES:
        run = found.get(stage) or _run_before(store, stage, trained, parent)
        if run is not None and SECONDS in run.data.metrics:
            metrics, tags = run.data.metrics, run.data.tags
            energy, earlier = metrics.get(ENERGY), tags.get("mlflow.parentRunId", "") != parent
            values = (metrics[SECONDS], metrics.get(CPU_SECONDS, 0.0), energy)
            costs.append(StageCost(stage, *values, tags.get(MACHINE, ""), tags.get(COMMIT, ""), earlier))
    return tuple(costs)


def recorded_costs(weights: str) -> tuple[StageCost, ...]:
    """As :func:`training_costs`, from the project's store; empty where there is none that can be read."""
    with suppress(TrackingError):
        return training_costs(open_store(create=False), weights)
    return ()


def _run_before(store: Store, stage: str, trained: "Run", parent: str) -> "Run | None":
    """The stage's run in the same pass, else its newest run that had ended before the training began."""
    same = newest_run(store, {STAGE: stage, "mlflow.parentRunId": parent})
    return same or newest_run(store, {STAGE: stage}, before=trained.info.start_time)
