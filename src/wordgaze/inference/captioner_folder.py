"""The folder of a captioner on disk.

    captioner.json        a :class:`CaptionerCard`
    tokenizer.json        or tokenizer.model: only where the captioner's words are pieces of words from a file
    weights.safetensors   ``decoder.*``; ``encoder.*``, but for networks that the card refers to; and for each of the
                          captioner's parts (:class:`CaptionerParts`) its tensors, under its name
    SHA256SUMS            the checksums of these files, in the form of ``sha256sum``; older folders have none
    README.md             optional: the model card, for people; model_card.html is the same as a page
    training_images.txt   optional: the checksums of the images that it was trained on

Nothing in the folder is pickled, and loading it cannot run code.
"""

import json
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from wordgaze.core.checksums import check_file, checked_meanwhile, read_checksums, read_tensors, write_checksums
from wordgaze.core.errors import DataError, ModelError
from wordgaze.core.files import atomic_directory, write_json, write_tensors, write_text
from wordgaze.core.settings import problems_of
from wordgaze.generation.confidence import ConfidenceModel
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.neighbours import NeighbourReranker
from wordgaze.generation.ngram_summary import NgramSummaryReranker
from wordgaze.inference.folder_names import CARD, WEIGHTS, is_exported
from wordgaze.inference.precision import WeightsDtype, widened
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.models.format3 import upgrade_config, upgrade_tensors
from wordgaze.text.tokenizers import RULE_BASED, STORED, Tokenizer, stored_tokenizer
from wordgaze.text.vocabulary import PTB, SPECIAL, Vocabulary
from wordgaze.vision.encoders import EncoderSpec, packaged_body
from wordgaze.vision.tagger import Tagger
from wordgaze.vision.weights import PACKAGED, WeightsReference

READABLE_FORMATS = (3, 4, 5, 6)

_RESTORE = (
    "copy it, fetch it or train it again; after a change by hand, write the new checksum with sha256sum into SHA256SUMS"
)


class CaptionerCard(BaseModel):
    """The contents of captioner.json. Since format 5 there are ``dtype``, ``encoder_weights`` and what follows it; a
    captioner with another tokenizer than ``ptb`` has format 6, which older versions of wordgaze refuse.

    ``tuned``: the encoder was trained after the features were computed, as stage 2 could do once, so that stored
    features are not those of this encoder; False of all that are written now. ``dtype``: how the
    weights are stored (``wordgaze.inference.precision``). ``encoder_weights``: for each network of the encoder the
    package with its weights, or None if they are in the folder. ``dataset``: the data set of the training, by its name
    in params.yaml; "" if unknown. ``generation``: the decoding settings unless others are given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    tokenizer: str
    vocabulary: tuple[str, ...]
    model: dict[str, Any]
    vector_size: int
    tuned: bool = False
    encoder: EncoderSpec
    dtype: WeightsDtype = "fp32"
    encoder_weights: tuple[WeightsReference | None, ...] = ()
    dataset: str = ""
    generation: GenerationConfig = GenerationConfig()


class _Part(Protocol):
    def tensors(self) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class CaptionerParts:
    """What a captioner may have besides encoder and decoder. A part's tensors are stored under its field's name.

    A part has a method ``tensors()``, and a class method ``load`` that gives None for no tensors. Each keeps the dtypes
    of its tensors. ``neighbours``: the training images, for the strategy of that name; ``summary`` stands for them in a
    captioner that stores no captions. ``tagger``: the classifiers of the encoder, which name objects.
    ``confidence``: estimates how probably a caption is right.
    """

    neighbours: NeighbourReranker | None = None
    summary: NgramSummaryReranker | None = None
    tagger: Tagger | None = None
    confidence: ConfidenceModel | None = None

    @classmethod
    def load(cls, stored: Callable[[str], dict[str, Tensor]], vocabulary: Vocabulary) -> "CaptionerParts":
        """The parts; ``stored(name)`` are the tensors under a name. Raises KeyError if a part lacks a tensor."""
        return cls(
            neighbours=NeighbourReranker.load(stored("neighbours"), vocabulary),
            summary=NgramSummaryReranker.load(stored("summary"), vocabulary),
            tagger=Tagger.load(stored("tagger")),
            confidence=ConfidenceModel.load(stored("confidence"), vocabulary),
        )

    @property
    def reranker(self) -> NeighbourReranker | NgramSummaryReranker | None:
        """What reranks the candidates of the strategy ``neighbours``."""
        return self.neighbours or self.summary

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of all parts, with the names under which they are stored."""
        parts: dict[str, _Part | None] = {field.name: getattr(self, field.name) for field in fields(self)}
        return {f"{name}.{k}": v for name, part in parts.items() if part for k, v in part.tensors().items()}


NO_PARTS = CaptionerParts()


def save_captioner(
    folder: Path,
    decoder: Decoder,
    vocabulary: Vocabulary,
    spec: EncoderSpec,
    encoder_state: dict[str, Tensor],
    *,
    parts: CaptionerParts = NO_PARTS,
    dataset: str = "",
    generation: GenerationConfig | None = None,
    documents: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Writes a captioner folder, whole or not at all. Equal weights give equal bytes. ``documents`` are further texts
    by file name."""
    card = CaptionerCard(
        format=written_format(vocabulary.tokenizer.name),
        tokenizer=vocabulary.tokenizer.name,
        vocabulary=vocabulary.words,
        model=decoder.config.model_dump(),
        vector_size=decoder.vector_size,
        encoder=spec,
        encoder_weights=(None,) * len(spec.networks),
        dataset=dataset,
        generation=generation or GenerationConfig(),
    )
    state = {f"encoder.{k}": v for k, v in encoder_state.items()}
    state |= {f"decoder.{k}": v.detach().cpu() for k, v in decoder.state_dict().items()}
    write_captioner(folder, card, state | parts.tensors(), vocabulary.tokenizer, documents)


def written_format(tokenizer: str) -> int:
    """The format of a captioner with the tokenizer of this name."""
    return 5 if tokenizer == PTB.name else 6


def write_captioner(
    folder: Path,
    card: CaptionerCard,
    state: dict[str, Tensor],
    tokenizer: Tokenizer = PTB,
    documents: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Writes the files of a captioner folder, whole or not at all; ``documents`` are further texts by file name."""
    with atomic_directory(folder) as temporary:
        for name, data in tokenizer.files().items():
            (temporary / name).write_bytes(data)
        write_tensors(temporary / WEIGHTS, state)
        write_json(temporary / CARD, card.model_dump(mode="json"))
        write_checksums(temporary, [*tokenizer.files(), WEIGHTS, CARD])
        for name, text in documents.items():
            write_text(temporary / name, text)


def load_decoder(folder: Path) -> tuple[Decoder, Vocabulary]:
    """The decoder of a captioner folder and its vocabulary, from which a second training starts. Raises ModelError."""
    return build_decoder(folder, *read_captioner(folder))


def build_decoder(folder: Path, card: CaptionerCard, state: dict[str, Tensor]) -> tuple[Decoder, Vocabulary]:
    """The decoder of a captioner folder and its vocabulary. Raises ModelError."""
    tokenizer = tokenizer_of(folder, card)
    try:
        vocabulary = Vocabulary(card.vocabulary, tokenizer)
        config = DecoderConfig.model_validate(card.model)
        tensors = tensors_of(state, "decoder.")
        _check_sizes(config, card, sum(tensor.numel() for tensor in tensors.values()))
        decoder = Decoder(config, card.encoder.channels, len(vocabulary), card.vector_size)
        decoder.load_state_dict(tensors)
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise ValueError(f"decoder.{name} has a value that is not a finite number")
    except ValidationError as error:
        raise broken_captioner(folder, ValueError(f"{CARD}: model: {problems_of(error)}")) from error
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise broken_captioner(folder, error) from error
    return decoder, vocabulary


def _check_sizes(config: DecoderConfig, card: CaptionerCard, stored: int) -> None:
    """Raises ValueError for settings of a larger decoder than the ``stored`` values fill, before memory is taken."""
    hidden, features = config.hidden_size, config.feature_size or card.encoder.channels
    matrices = {
        "hidden_size": hidden * hidden,
        "embedding_size": hidden * config.embedding_size,
        "feature_size": hidden * features,
        "channels": card.encoder.channels * (config.feature_size or 1),
        "vector_size": len(card.vocabulary) * (card.vector_size or config.embedding_size),
    }
    if config.attention in ("additive", "concat") or config.sentinel or config.span == "local_p":
        matrices["attention_size"] = hidden * config.attention_size
    for name, values in matrices.items():
        if values > stored:
            raise ValueError(f"{name} is for a larger decoder than {WEIGHTS} holds")


def tokenizer_of(folder: Path, card: CaptionerCard) -> Tokenizer:
    """The tokenizer of a captioner folder. Raises ModelError if its file is missing or broken, or its library is."""
    if card.tokenizer in STORED:
        for name, expected in _checksums(folder).items():
            if name not in (CARD, WEIGHTS):
                _check(folder / name, expected)
    return stored_tokenizer(card.tokenizer, folder, card.vocabulary[len(SPECIAL) :])


def read_captioner(folder: Path) -> tuple[CaptionerCard, dict[str, Tensor]]:
    """The card and the stored tensors of a captioner folder, those of decoder and encoder in fp32.

    A folder of an older format has the names of the current one. Raises ModelError if there is no captioner, or it is
    broken or of an unknown format.
    """
    with weights_checked(folder):
        return read_unchecked(folder)


@contextmanager
def weights_checked(folder: Path) -> Iterator[None]:
    """Checks the weights of a captioner folder against their checksum while the block uses them. Raises ModelError."""
    try:
        with checked_meanwhile(folder / WEIGHTS, _checksums(folder).get(WEIGHTS), _RESTORE):
            yield
    except DataError as error:
        raise ModelError(str(error)) from error


def read_unchecked(folder: Path) -> tuple[CaptionerCard, dict[str, Tensor]]:
    """As :func:`read_captioner`, without the check of the weights."""
    card = read_card(folder)
    try:
        state = widened(read_tensors(folder / WEIGHTS, None, _RESTORE))
    except (DataError, ValueError) as error:
        raise broken_captioner(folder, error) from error
    if card.format == 3:
        state = {k: v for k, v in state.items() if not k.startswith("decoder.")} | {
            f"decoder.{k}": v for k, v in upgrade_tensors(tensors_of(state, "decoder.")).items()
        }
    return card, state


def read_card(folder: Path) -> CaptionerCard:
    """The card of a captioner folder. Raises ModelError as :func:`read_captioner`."""
    card = _read_card(folder)
    _check(folder / CARD, _checksums(folder).get(CARD))
    return card


def _read_card(folder: Path) -> CaptionerCard:
    if is_exported(folder):
        raise ModelError(
            f"{folder} is an exported captioner; load it with wordgaze.OnnxCaptioner.load, or give it to"
            " wordgaze caption"
        )
    if not (folder / CARD).is_file():
        raise ModelError(f"{folder} holds no captioner ({CARD} is missing); run dvc repro, or give --model a folder")
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
        values = json.loads(text)
        version = values.get("format") if isinstance(values, dict) else None
        if version not in READABLE_FORMATS:
            *known, newest = map(str, READABLE_FORMATS)
            raise ModelError(
                f"{folder / CARD} has format {version!r}, and this version of wordgaze reads formats {', '.join(known)}"
                f" and {newest}; train the captioner again with dvc repro, or use the version of wordgaze that wrote it"
            )
        card = CaptionerCard.model_validate_json(text)
        _check_tokenizer(folder, card.tokenizer)
    except ValidationError as error:
        raise broken_captioner(folder, ValueError(f"{CARD}: {problems_of(error)}")) from error
    except (OSError, ValueError, RecursionError) as error:
        raise broken_captioner(folder, ValueError(f"{CARD}: {error}")) from error
    return card.model_copy(update={"model": upgrade_config(card.model)}) if card.format == 3 else card


def _checksums(folder: Path) -> dict[str, str]:
    try:
        return read_checksums(folder, (CARD, WEIGHTS), _RESTORE)
    except DataError as error:
        raise ModelError(str(error)) from error


def _check(path: Path, expected: str | None) -> None:
    try:
        check_file(path, expected, _RESTORE)
    except DataError as error:
        raise ModelError(str(error)) from error


def _check_tokenizer(folder: Path, name: str) -> None:
    """Raises ModelError for the name of a tokenizer that this version does not have."""
    known = [*RULE_BASED, *STORED]
    if name not in known:
        raise ModelError(
            f"{folder / CARD} has the tokenizer {name!r}, and this version has {', '.join(known)}; train the"
            " captioner again with dvc repro, or use the version of wordgaze that wrote it"
        )


def encoder_state(folder: Path, card: CaptionerCard, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a captioner's encoder: stored ones, and those of installed packages that the card refers to.

    Raises ModelError if a package is not installed, or has other weights.
    """
    found = tensors_of(state, "encoder.")
    for number, reference in enumerate(card.encoder_weights):
        if reference is not None:
            body = _referenced_body(folder, card, number, reference)
            found |= {body_name(number, name): tensor for name, tensor in body.items()}
    return found


def body_name(number: int, name: str) -> str:
    """The name in the encoder's state dict of a tensor of its network ``number``."""
    return f"bodies.{number}.{name}"


def broken_captioner(folder: Path, error: Exception) -> ModelError:
    """The error for a captioner folder whose contents cannot be used."""
    reason = textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
    return ModelError(f"{folder} holds a broken captioner ({reason}); train it or fetch it again")


def tensors_of(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, by the rest of their names."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _referenced_body(folder: Path, card: CaptionerCard, number: int, reference: WeightsReference) -> dict[str, Tensor]:
    networks: Sequence[Any] = card.encoder.networks
    if number >= len(networks) or PACKAGED.get(networks[number].name) != (reference.package, reference.file):
        raise broken_captioner(folder, ValueError(f"no encoder of {reference.package}/{reference.file} is known"))
    found, body = packaged_body(networks[number])
    if found.sha256 != reference.sha256:
        raise ModelError(
            f"{folder} needs {reference.package}/{reference.file} with SHA-256 {reference.sha256[:12]}…, and the"
            f" installed file has {found.sha256[:12]}…; pip install --force-reinstall"
            f" {reference.package.replace('_', '-')}"
        )
    return body
