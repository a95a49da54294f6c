"""Writes a captioner as a small folder: half precision, and encoders by reference to their installed packages."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from wordgaze.core.errors import ModelError
from wordgaze.core.files import check_output_folder
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.neighbours import NeighbourReranker
from wordgaze.generation.ngram_summary import NgramSummaryReranker
from wordgaze.inference.captioner_folder import (
    CaptionerCard,
    body_name,
    encoder_state,
    read_captioner,
    tensors_of,
    tokenizer_of,
    write_captioner,
    written_format,
)
from wordgaze.inference.folder_names import CARD, TRAINING_IMAGES
from wordgaze.inference.precision import WeightsDtype, narrowed
from wordgaze.text.vocabulary import Vocabulary
from wordgaze.vision.encoders import packaged_body
from wordgaze.vision.weights import PACKAGED, WeightsReference, package_root


class PackedSizes(NamedTuple):
    """The bytes of all files of a captioner folder, before and after."""

    before: int
    after: int


def pack_captioner(
    source: Path,
    folder: Path,
    *,
    dtype: WeightsDtype = "fp16",
    keep_neighbours: bool = False,
    generation: GenerationConfig | None = None,
    dataset: str = "",
    documents: Callable[[CaptionerCard], Mapping[str, str]] = lambda _: {},
    overwrite: bool = False,
) -> PackedSizes:
    """Writes the captioner in ``source`` to ``folder``, whole or not at all.

    The weights of an encoder are left out if its package is installed and has the same. ``generation`` and ``dataset``
    replace what the captioner states; ``dataset`` only if it states none. ``documents`` makes further files, such as
    README.md. Raises ModelError for a source without a captioner, for a ``folder`` that exists unless it is a captioner
    and ``overwrite``, for a strategy that needs the neighbours that are left out, and for weights too large for
    ``dtype``.
    """
    check_target(source, folder, overwrite)
    check_output_folder(folder, "FOLDER")
    card, state = read_captioner(source)
    generation = generation or card.generation
    if not keep_neighbours:
        state = _summarised(card, state)
    if generation.strategy == "neighbours" and not any(k.startswith(("neighbours.", "summary.")) for k in state):
        raise ModelError("the captioner has no training images, which the strategy neighbours needs; give another one")
    references, encoder = _referred(card, encoder_state(source, card, state))
    stored = {k: v for k, v in state.items() if not k.startswith("encoder.")}
    stored |= {f"encoder.{k}": v for k, v in encoder.items()}
    update = {
        "format": written_format(card.tokenizer),
        "dtype": dtype,
        "encoder_weights": references,
        "generation": generation,
        "dataset": card.dataset or dataset,
    }
    packed = card.model_copy(update=update)
    texts = {**_training_images(source), **documents(packed)}
    write_captioner(folder, packed, narrowed(stored, dtype), tokenizer_of(source, card), texts)
    return PackedSizes(_size(source), _size(folder))


def _summarised(card: CaptionerCard, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with a summary of the training images in place of their captions."""
    neighbours = NeighbourReranker.load(tensors_of(state, "neighbours."), Vocabulary(card.vocabulary))
    if neighbours is None:
        return state
    summary = NgramSummaryReranker.summarise(neighbours).tensors()
    kept = {k: v for k, v in state.items() if not k.startswith("neighbours.")}
    return kept | {f"summary.{k}": v for k, v in summary.items()}


def _training_images(source: Path) -> dict[str, str]:
    """The file with the checksums of the training images, if there is one: they stay those of the captioner."""
    path = source / TRAINING_IMAGES
    return {path.name: path.read_text(encoding="utf-8")} if path.is_file() else {}


def check_target(source: Path, folder: Path, overwrite: bool) -> None:
    """Raises ModelError if ``folder`` must not be replaced."""
    if folder.resolve() == source.resolve():
        raise ModelError(f"{folder} is the captioner itself; give the packed one another folder")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / CARD).is_file():
        raise ModelError(f"{folder} exists and is not a captioner; give the name of a new folder")
    if not overwrite:
        raise ModelError(f"{folder} exists; give --overwrite to replace it, or the name of a new folder")


def _referred(
    card: CaptionerCard, state: dict[str, Tensor]
) -> tuple[tuple[WeightsReference | None, ...], dict[str, Tensor]]:
    """For each network the package that has its weights, and the weights that no package has."""
    references: list[WeightsReference | None] = []
    for number, network in enumerate(card.encoder.networks):
        reference = None
        own = tensors_of(state, body_name(number, ""))
        if network.name in PACKAGED and package_root(network.name) is not None:
            found, body = packaged_body(network)
            reference = found if _are_equal(own, body) else None
        references.append(reference)
        if reference is not None:
            state = {k: v for k, v in state.items() if not k.startswith(body_name(number, ""))}
    return tuple(references), state


def _are_equal(own: dict[str, Tensor], packaged: dict[str, Tensor]) -> bool:
    return own.keys() == packaged.keys() and all(torch.equal(own[name], packaged[name]) for name in own)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
