"""The folder of a captioner on disk.

    captioner.json        format version, decoder configuration, vocabulary, tokenizer, encoder and its transform
    weights.safetensors   ``decoder.*``, ``encoder.*`` and, if the captioner has them, the training images'
                          ``neighbours.*`` and the calibration's ``confidence.*``

Nothing in the folder is pickled, and loading it cannot run code.
"""

import json
import textwrap
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from wordgaze.core.errors import ModelError
from wordgaze.core.files import atomic_directory, write_json, write_tensors
from wordgaze.generation.confidence import ConfidenceModel
from wordgaze.generation.neighbours import NeighbourReranker
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.models.format3 import upgrade_config, upgrade_tensors
from wordgaze.text import tokenizer
from wordgaze.text.vocabulary import Vocabulary
from wordgaze.vision.encoders import EncoderSpec

FORMAT = 4
CARD, WEIGHTS = "captioner.json", "weights.safetensors"


def save_captioner(
    folder: Path,
    decoder: Decoder,
    vocabulary: Vocabulary,
    spec: EncoderSpec,
    encoder_state: dict[str, Tensor],
    *,
    tuned: bool = False,
    neighbours: NeighbourReranker | None = None,
    confidence: ConfidenceModel | None = None,
) -> None:
    """Writes a captioner folder of format 4, whole or not at all. Equal weights give equal bytes.

    ``tuned``: the encoder was trained too, so that stored features are not those of this encoder.
    """
    state = {f"encoder.{k}": v for k, v in encoder_state.items()}
    state |= {f"decoder.{k}": v.detach().cpu() for k, v in decoder.state_dict().items()}
    state |= {f"neighbours.{k}": v for k, v in neighbours.tensors().items()} if neighbours else {}
    state |= {f"confidence.{k}": v for k, v in confidence.tensors().items()} if confidence else {}
    card = {
        "format": FORMAT,
        "tokenizer": tokenizer.NAME,
        "vocabulary": list(vocabulary.words),
        "model": decoder.config.model_dump(),
        "vector_size": decoder.vector_size,
        "tuned": tuned,
        "encoder": spec.model_dump(mode="json"),
    }
    with atomic_directory(folder) as temporary:
        write_tensors(temporary / WEIGHTS, state)
        write_json(temporary / CARD, card)


def load_decoder(folder: Path) -> tuple[Decoder, Vocabulary]:
    """The decoder of a captioner folder and its vocabulary, from which a second training starts. Raises ModelError."""
    return build_decoder(folder, *read_captioner(folder))[:2]


def build_decoder(
    folder: Path, card: dict[str, Any], state: dict[str, Tensor]
) -> tuple[Decoder, Vocabulary, EncoderSpec]:
    """The decoder of a captioner folder, its vocabulary, and its encoder's specification. Raises ModelError."""
    try:
        vocabulary = Vocabulary(tuple(card["vocabulary"]))
        spec = EncoderSpec.model_validate(card["encoder"])
        config, weights = card["model"], tensors_of(state, "decoder.")
        if card["format"] == 3:
            config, weights = upgrade_config(config), upgrade_tensors(weights)
        decoder = Decoder(DecoderConfig.model_validate(config), spec.channels, len(vocabulary), card["vector_size"])
        decoder.load_state_dict(weights)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise broken_captioner(folder, error) from error
    return decoder, vocabulary, spec


def read_captioner(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The contents of captioner.json and the tensors of a captioner folder. Raises ModelError."""
    if not (folder / CARD).is_file():
        raise ModelError(f"{folder} holds no captioner ({CARD} is missing); run dvc repro, or give --model a folder")
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        version = card.get("format") if isinstance(card, dict) else None
        if version not in (FORMAT, 3):
            raise ModelError(
                f"{folder / CARD} has format {version!r}, and this version of wordgaze reads formats 3 and {FORMAT};"
                f" train the captioner again with dvc repro, or use the version of wordgaze that has written it"
            )
        return card, load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise broken_captioner(folder, error) from error


def broken_captioner(folder: Path, error: Exception) -> ModelError:
    """The error for a captioner folder whose contents cannot be used."""
    reason = textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
    return ModelError(f"{folder} holds a broken captioner ({reason}); train it or fetch it again")


def tensors_of(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, by the rest of their names."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
