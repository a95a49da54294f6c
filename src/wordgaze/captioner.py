"""A captioner: encoder, decoder and vocabulary, and the folder that holds them on disk.

    captioner.json        format version, decoder sizes, vocabulary, tokenizer, encoder and its transform
    weights.safetensors   ``decoder.*`` and ``encoder.*``

Nothing in it is pickled, and nothing that is loaded can run code.
"""

import hashlib
import json
import textwrap
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from wordgaze.decoding.base import Caption
from wordgaze.decoding.ensemble import Ensemble
from wordgaze.decoding.search import search
from wordgaze.device import pick_device
from wordgaze.errors import ModelError
from wordgaze.files import replacing_folder, write_json, write_tensors
from wordgaze.model.decoder import Decoder, WordTable
from wordgaze.params import DecodeParams, ModelParams
from wordgaze.text import tokenizer
from wordgaze.text.vocabulary import Vocabulary
from wordgaze.vision.encoders import Encoder, EncoderSpec, encoder_from_spec
from wordgaze.vision.store import FeatureStore

FORMAT = 1
CARD, WEIGHTS = "captioner.json", "weights.safetensors"


class Captioner:
    """Captions pictures. Made by training, or loaded from a folder with :meth:`load`."""

    def __init__(self, decoder: Decoder, vocabulary: Vocabulary, encoder: Encoder) -> None:
        self.decoder, self.vocabulary, self.encoder = decoder, vocabulary, encoder

    @cached_property
    def table(self) -> WordTable:
        """What decoding needs of the words; a captioner's weights do not change."""
        with torch.inference_mode():
            return self.decoder.table()

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return self.decoder.classify.weight.device

    @classmethod
    def load(cls, folder: Path, device: Literal["auto", "cpu", "cuda"] = "auto") -> "Captioner":
        """Reads a captioner folder. Raises ModelError where there is none, it is broken or of another version."""
        card, state = _read(folder)
        try:
            vocabulary = Vocabulary(tuple(card["vocabulary"]))
            spec = EncoderSpec.model_validate(card["encoder"])
            decoder = Decoder(ModelParams.model_validate(card["model"]), spec.channels, len(vocabulary))
            decoder.load_state_dict(_part(state, "decoder."))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise _broken(folder, error) from error
        encoder = encoder_from_spec(spec, _part(state, "encoder."))
        where = pick_device(device)
        return cls(decoder.eval().to(where), vocabulary, encoder.optimised(where, torch.float32))

    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """The grids of RGB pictures, (B, L, channels)."""
        with torch.inference_mode():
            return self.encoder(self.encoder.pixels(images).to(self.device))  # type: ignore[no-any-return]

    def caption(self, images: Sequence[Image.Image], decode: DecodeParams, seed: int = 0) -> list[list[Caption]]:
        """``decode.num`` captions of each RGB picture, best first."""
        return caption_together([self], images, decode, seed)


def caption_together(
    captioners: Sequence[Captioner], images: Sequence[Image.Image], decode: DecodeParams, seed: int = 0
) -> list[list[Caption]]:
    """Captions of RGB pictures by one captioner, or by several as an ensemble.

    What is sampled depends on ``seed`` and on a picture's pixels. Raises ModelError where the captioners' vocabularies
    differ.
    """
    first = captioners[0]
    if any(other.vocabulary != first.vocabulary for other in captioners):
        raise ModelError("an ensemble needs one vocabulary, and these captioners know different words; name just one")
    keys = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    features = [captioner.features(images) for captioner in captioners]
    if len(captioners) == 1:
        return search(first.decoder, features[0], first.vocabulary, decode, keys=keys, seed=seed, table=first.table)
    together = Ensemble([captioner.decoder for captioner in captioners])
    table = tuple(captioner.table for captioner in captioners)
    return search(together, features, first.vocabulary, decode, keys=keys, seed=seed, table=table)


def save_captioner(
    folder: Path, decoder: Decoder, vocabulary: Vocabulary, spec: EncoderSpec, encoder_state: dict[str, Tensor]
) -> None:
    """Writes a captioner folder, whole or not at all. Equal weights give equal bytes."""
    state = {f"encoder.{k}": v for k, v in encoder_state.items()}
    state |= {f"decoder.{k}": v.detach().cpu() for k, v in decoder.state_dict().items()}
    card = {
        "format": FORMAT,
        "tokenizer": tokenizer.NAME,
        "vocabulary": list(vocabulary.words),
        "model": decoder.sizes.model_dump(),
        "encoder": spec.model_dump(mode="json"),
    }
    with replacing_folder(folder) as temporary:
        write_tensors(temporary / WEIGHTS, state)
        write_json(temporary / CARD, card)


def caption_stored(
    decoder: Decoder,
    vocabulary: Vocabulary,
    store: FeatureStore,
    images: Sequence[str],
    decode: DecodeParams,
    batch: int,
    seed: int = 0,
) -> list[list[Caption]]:
    """``decode.num`` captions of each image, best first, from its stored features, ``batch`` images at a time."""
    found: list[list[Caption]] = []
    with torch.inference_mode():
        table = decoder.table()
    for i in range(0, len(images), batch):
        names = images[i : i + batch]
        features = store.read(names).to(decoder.classify.weight)
        found += search(decoder, features, vocabulary, decode, keys=names, seed=seed, table=table)
    return found


def load_decoder(folder: Path, decoder: Decoder) -> None:
    """Gives ``decoder`` the weights of a captioner folder: where a second training starts from."""
    state = _part(_read(folder)[1], "decoder.")
    try:
        decoder.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{folder} was trained with other sizes of the model or other words; run dvc repro") from error


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not (folder / CARD).is_file():
        raise ModelError(f"{folder} holds no captioner ({CARD} is missing); run dvc repro, or give --model a folder")
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        version = card.get("format") if isinstance(card, dict) else None
        if version != FORMAT:
            raise ModelError(f"{folder / CARD} has format {version!r}, this wordgaze reads format {FORMAT}")
        return card, load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise _broken(folder, error) from error


def _broken(folder: Path, error: Exception) -> ModelError:
    reason = textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
    return ModelError(f"{folder} holds a broken captioner ({reason}); train it again or fetch it anew")


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
