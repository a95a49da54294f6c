"""A captioner: encoder, decoder and vocabulary, and the folder that holds them on disk.

    captioner.json        format version, decoder sizes, vocabulary, tokenizer, encoder and its transform
    weights.safetensors   ``decoder.*`` and ``encoder.*``; ``neighbours.*``, the training pictures, if any

Nothing in it is pickled, and nothing that is loaded can run code.
"""

import hashlib
import json
import math
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

from wordgaze.core.device import pick_device
from wordgaze.core.errors import ModelError
from wordgaze.core.files import atomic_directory, write_json, write_tensors
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.ensemble import Ensemble
from wordgaze.generation.generate import encode_words, generate
from wordgaze.generation.neighbours import NeighbourReranker
from wordgaze.generation.outputs import Caption
from wordgaze.generation.presets import PRESETS
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder, WordTable
from wordgaze.models.format3 import upgrade_config, upgrade_tensors
from wordgaze.text import tokenizer
from wordgaze.text.vocabulary import END, Vocabulary
from wordgaze.vision.encoders import Encoder, EncoderSpec, encoder_from_spec
from wordgaze.vision.feature_store import FeatureSource

FORMAT = 4
CARD, WEIGHTS = "captioner.json", "weights.safetensors"


class Captioner:
    """Captions pictures. Made by training, or loaded from a folder with :meth:`load`."""

    def __init__(
        self,
        decoder: Decoder,
        vocabulary: Vocabulary,
        encoder: Encoder,
        tuned: bool = False,
        neighbours: NeighbourReranker | None = None,
    ) -> None:
        self.decoder, self.vocabulary, self.encoder, self.tuned = decoder, vocabulary, encoder, tuned
        self.neighbours = neighbours

    @cached_property
    def word_table(self) -> WordTable:
        """What decoding needs of the words; a captioner's weights do not change."""
        with torch.inference_mode():
            return self.decoder.word_table()

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return self.decoder.device

    @property
    def presets(self) -> list[str]:
        """The names in PRESETS that it can follow: without training pictures there are no neighbours."""
        return [name for name in PRESETS if name != "neighbours" or self.neighbours]

    @classmethod
    def load(cls, folder: Path, device: Literal["auto", "cpu", "cuda"] = "auto") -> "Captioner":
        """Reads a captioner folder. Raises ModelError where there is none, it is broken or of another version."""
        card, state = _read(folder)
        decoder, vocabulary, spec = _decoder(folder, card, state)
        encoder = encoder_from_spec(spec, _part(state, "encoder."))
        where = pick_device(device)
        fast = encoder.optimised(where, torch.float32)
        try:
            neighbours = NeighbourReranker.load(_part(state, "neighbours."), vocabulary)
        except KeyError as error:
            raise _broken(folder, error) from error
        return cls(decoder.eval().to(where), vocabulary, fast, bool(card.get("tuned")), neighbours)

    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """The grids of RGB pictures, (B, L, channels)."""
        with torch.inference_mode():
            return self.encoder(self.encoder.pixels(images).to(self.device))  # type: ignore[no-any-return]

    def attention(self, image: Image.Image, words: Sequence[str]) -> Caption:
        """Where it looks, and how likely it finds each word, when it is made to say these words of an RGB picture.

        Raises ModelError for a word that it does not know.
        """
        return self.force_decode(self.features([image]), words)[0]

    def force_decode(self, features: Tensor, words: Sequence[str]) -> tuple[Caption, Tensor]:
        """As :meth:`attention`, of a picture's features (1, L, channels); and what else it could have said: the
        log-probabilities (T + 1, V) of all words in the place of each, and of the end."""
        said = torch.tensor([[[*encode_words(self.vocabulary, words), END]]], device=self.device)
        with torch.inference_mode():
            taught = self.decoder(features, said)
        log_probs = torch.log_softmax(taught.logits.float(), 1).cpu()
        each: list[float] = log_probs.gather(1, said[0].T.cpu()).squeeze(1).tolist()
        total = math.fsum(each)
        attention = taught.weights[0, : len(words)].float().cpu().numpy().reshape(-1, *self.encoder.spec.grid)
        return Caption(tuple(words), total, total, tuple(each[:-1]), attention, "end"), log_probs

    def generate(
        self, features: Tensor, decode: GenerationConfig, keys: Sequence[str], seed: int, prefix: Sequence[str] = ()
    ) -> list[list[Caption]]:
        """As :meth:`caption`, of features (B, L, channels) and ``keys`` that name the pictures for what is sampled."""
        how: dict[str, Any] = {
            "keys": keys,
            "seed": seed,
            "prefix": prefix,
            "neighbours": self.neighbours,
            "grid": self.encoder.spec.grid,
        }
        return generate(self.decoder, features, self.vocabulary, decode, table=self.word_table, **how)

    def caption(
        self, images: Sequence[Image.Image], decode: GenerationConfig, seed: int = 0, prefix: Sequence[str] = ()
    ) -> list[list[Caption]]:
        """``num_return_sequences`` captions of each RGB picture, best first; all begin with the words of ``prefix``."""
        return caption_ensemble([self], images, decode, seed, prefix)


def caption_ensemble(
    captioners: Sequence[Captioner],
    images: Sequence[Image.Image],
    decode: GenerationConfig,
    seed: int = 0,
    prefix: Sequence[str] = (),
) -> list[list[Caption]]:
    """Captions of RGB pictures by one captioner, or by several as an ensemble, that begin with the words of ``prefix``.

    What is sampled depends on ``seed`` and on a picture's pixels. Raises ModelError where the captioners' vocabularies
    differ, and for a word of ``prefix`` that they do not know.
    """
    first = captioners[0]
    if any(other.vocabulary != first.vocabulary for other in captioners):
        raise ModelError("an ensemble needs one vocabulary, and these captioners know different words; name just one")
    keys = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    features = [captioner.features(images) for captioner in captioners]
    if len(captioners) == 1:
        return first.generate(features[0], decode, keys, seed, prefix)
    together = Ensemble([captioner.decoder for captioner in captioners])
    table = tuple(captioner.word_table for captioner in captioners)
    how: dict[str, Any] = {
        "keys": keys,
        "seed": seed,
        "prefix": prefix,
        "neighbours": first.neighbours,
        "grid": first.encoder.spec.grid,
    }
    return generate(together, features, first.vocabulary, decode, table=table, **how)


def save_captioner(
    folder: Path,
    decoder: Decoder,
    vocabulary: Vocabulary,
    spec: EncoderSpec,
    encoder_state: dict[str, Tensor],
    *,
    tuned: bool = False,
    neighbours: NeighbourReranker | None = None,
) -> None:
    """Writes a captioner folder of format 4, whole or not at all. Equal weights give equal bytes.

    ``tuned``: the encoder was trained too, so that stored features are not those of this encoder.
    """
    state = {f"encoder.{k}": v for k, v in encoder_state.items()}
    state |= {f"decoder.{k}": v.detach().cpu() for k, v in decoder.state_dict().items()}
    state |= {f"neighbours.{k}": v for k, v in neighbours.tensors().items()} if neighbours else {}
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


def caption_features(
    decoder: Decoder,
    vocabulary: Vocabulary,
    store: FeatureSource,
    images: Sequence[str],
    decode: GenerationConfig,
    batch: int,
    seed: int = 0,
    neighbours: NeighbourReranker | None = None,
    grid: tuple[int, int] | None = None,
) -> list[list[Caption]]:
    """``num_return_sequences`` captions of each image, best first, from the features of ``store``, ``batch`` images at a time."""
    found: list[list[Caption]] = []
    with torch.inference_mode():
        table = decoder.word_table()
    for i in range(0, len(images), batch):
        names = images[i : i + batch]
        features = store.read(names).to(decoder.device, decoder.dtype)
        found += generate(
            decoder, features, vocabulary, decode, keys=names, seed=seed, table=table, neighbours=neighbours, grid=grid
        )
    return found


def load_decoder(folder: Path) -> tuple[Decoder, Vocabulary]:
    """The decoder of a captioner folder and its words: where a second training starts from. Raises ModelError."""
    return _decoder(folder, *_read(folder))[:2]


def _decoder(folder: Path, card: dict[str, Any], state: dict[str, Tensor]) -> tuple[Decoder, Vocabulary, EncoderSpec]:
    """The decoder of a captioner folder, its vocabulary, and its encoder's specification. Raises ModelError."""
    try:
        vocabulary = Vocabulary(tuple(card["vocabulary"]))
        spec = EncoderSpec.model_validate(card["encoder"])
        config, weights = card["model"], _part(state, "decoder.")
        if card["format"] == 3:
            config, weights = upgrade_config(config), upgrade_tensors(weights)
        decoder = Decoder(DecoderConfig.model_validate(config), spec.channels, len(vocabulary), card["vector_size"])
        decoder.load_state_dict(weights)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _broken(folder, error) from error
    return decoder, vocabulary, spec


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
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
        raise _broken(folder, error) from error


def _broken(folder: Path, error: Exception) -> ModelError:
    reason = textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
    return ModelError(f"{folder} holds a broken captioner ({reason}); train it again or fetch it anew")


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
