"""The folder of an exported captioner.

    config.json          an :class:`ExportedCard`
    encoder.onnx         pixels (B, 3, S, S), uint8 → features (B, L, C)
    decoder_init.onnx    features → what is computed once per image, and the states before the first word
    tokenizer.json       or tokenizer.model: only where the captioner's words are pieces of words from a file
    decoder_step.onnx    words (B, R), states → logits (B, R, V), attention weights (B, R, L), states
    conformance/         optional: images, and the captions that every runtime must give them

``wordgaze export`` writes it. It is read without PyTorch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from wordgaze.core.errors import ModelError
from wordgaze.core.files import sha256
from wordgaze.core.settings import problems_of
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.folder_names import ENCODER_GRAPH, EXPORTED_CARD, INIT_GRAPH, STEP_GRAPH

EXPORTED_FORMAT = "wordgaze-onnx"
EXPORTED_VERSION = 1
EXPORT_AGAIN = "export the captioner again with wordgaze export"

ExportedDtype = Literal["fp32", "fp16", "int8"]


class FileRecord(BaseModel):
    """The size of a file in bytes and its SHA-256 checksum."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class Transform(BaseModel):
    """How an image becomes pixels: it is resized to a square of ``image_size`` pixels by Pillow's filter
    ``interpolation``. ``grid`` is the (rows, columns) that the attention lies over."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int
    interpolation: Literal["bilinear", "bicubic", "lanczos"]
    grid: tuple[int, int]


class ExportedCard(BaseModel):
    """The contents of config.json.

    ``dtype`` is how the weights are stored; ``calibrated`` says whether the encoder also computes in 8 bits. ``memory``
    and ``states`` are the names of the decoder's tensors in both of its graphs. ``separator`` is what stands between
    the words of a caption on the page; in Python the tokenizer joins them. ``files`` are the graphs by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["wordgaze-onnx"] = "wordgaze-onnx"
    version: int = EXPORTED_VERSION
    opset: int
    dtype: ExportedDtype
    calibrated: bool = False
    tokenizer: str
    separator: str = " "
    vocabulary: tuple[str, ...]
    transform: Transform
    memory: tuple[str, ...]
    states: tuple[str, ...]
    generation: GenerationConfig
    dataset: str = ""
    files: Mapping[str, FileRecord]


def read_exported_card(folder: Path) -> ExportedCard:
    """The card of an exported captioner. Raises ModelError if there is none, or one of another version."""
    path = folder / EXPORTED_CARD
    try:
        card = ExportedCard.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} holds no exported captioner ({EXPORTED_CARD} is missing); {EXPORT_AGAIN}"
        ) from error
    except ValidationError as error:
        raise ModelError(
            f"{path} is not the card of an exported captioner ({problems_of(error)}); {EXPORT_AGAIN}"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}); {EXPORT_AGAIN}") from error
    if card.version != EXPORTED_VERSION:
        raise ModelError(
            f"{path} has version {card.version}, and this version of wordgaze reads version {EXPORTED_VERSION};"
            f" {EXPORT_AGAIN}"
        )
    return card


def check_graphs(folder: Path, card: ExportedCard) -> None:
    """Raises ModelError if a graph is missing, truncated or another file than was exported."""
    for name in (ENCODER_GRAPH, INIT_GRAPH, STEP_GRAPH):
        path, record = folder / name, card.files.get(name)
        if record is None or not path.is_file():
            raise ModelError(f"{path} is missing; {EXPORT_AGAIN}")
        if (size := path.stat().st_size) != record.bytes:
            raise ModelError(f"{path} has {size:,} bytes, not {record.bytes:,}; copy it again, or {EXPORT_AGAIN}")
        if sha256(path) != record.sha256:
            raise ModelError(f"{path} is not the file that was exported (SHA-256); copy it again, or {EXPORT_AGAIN}")
