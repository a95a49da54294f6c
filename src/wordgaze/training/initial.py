"""The captioner that a training continues: whether it fits, its words, and the name that its folder has to have.

DVC sees the name of the folder, which is a parameter, and not its contents. So the name is a checksum of the contents,
and a folder with another name is refused: other contents are another value of the parameter.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from wordgaze.core.checksums import tensor_digest
from wordgaze.core.errors import ModelError
from wordgaze.core.files import stable_json
from wordgaze.data.prepared import Prepared
from wordgaze.inference.captioner_folder import (
    CaptionerCard,
    encoder_state,
    load_decoder,
    read_captioner,
    read_card,
    tensors_of,
    tokenizer_of,
)
from wordgaze.inference.folder_names import CARD
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import SPECIAL, Vocabulary
from wordgaze.training.new_words import extended_decoder
from wordgaze.vision.encoders import EncoderSpec
from wordgaze.vision.feature_store import FeatureStore

FROM_SCRATCH = "train from scratch: wordgaze retrain --from-scratch"


def initial_checksum(folder: Path) -> str:
    """Sixteen hexadecimal digits of what a training takes over: decoder, words, tokenizer, and which encoder.

    ``wordgaze pack --dtype fp32`` does not change it. Raises ModelError where there is no captioner.
    """
    return _checksum(folder, *read_captioner(folder))


def check_initial(folder: Path, store: FeatureStore) -> None:
    """Raises ModelError if the captioner is missing, its folder is not named by its checksum, or it has another encoder
    than the features."""
    if not (folder / CARD).is_file():
        raise ModelError(
            f"train_stage1.initial.captioner: {folder} holds no captioner; run wordgaze retrain, which makes it, or"
            f" {FROM_SCRATCH}"
        )
    card, state = read_captioner(folder)
    if (checksum := _checksum(folder, card, state)) != folder.name:
        raise ModelError(
            f"train_stage1.initial.captioner: {folder} has to be named by its contents, whose checksum is {checksum};"
            f" rename it to {folder.parent / checksum}, and set train_stage1.initial.captioner to that"
        )
    check_encoder(folder, card, store)
    own, stored = encoder_state(folder, card, state), store.encoder_state()
    if own.keys() != stored.keys() or any(not torch.equal(own[name], stored[name]) for name in own):
        raise ModelError(f"{folder} has other weights of the encoder than {store.folder}; {FROM_SCRATCH}")


def check_encoder(folder: Path, card: CaptionerCard, store: FeatureStore) -> None:
    """Raises ModelError if the features are not those of the captioner's kind of encoder; weights are not compared."""
    if card.tuned:
        raise ModelError(f"the encoder of {folder} was trained too, so {store.folder} are not its; {FROM_SCRATCH}")
    check_encoder_spec(folder, card, store.spec)


def check_encoder_spec(folder: Path, card: CaptionerCard, spec: EncoderSpec) -> None:
    """Raises ModelError if the captioner has another kind of encoder than the section ``features`` describes."""
    if card.encoder != spec:
        raise ModelError(
            f"{folder} has the encoder {_named(card.encoder)}, and the features are those of {_named(spec)}; set the"
            f" section features as for that captioner, or {FROM_SCRATCH}"
        )


def check_model(folder: Path, trained: DecoderConfig, model: DecoderConfig) -> None:
    """Raises ModelError if a captioner has other settings of ``model`` than params.yaml, but for dropout."""
    before, after = trained.model_dump(), model.model_dump()
    for key, value in after.items():
        if before[key] != value and not key.startswith("dropout_"):
            raise ModelError(
                f"{folder} was trained with model.{key} {before[key]!r}, and params.yaml has {value!r}; set that, or"
                f" {FROM_SCRATCH}"
            )


def with_words_of(prepared: Prepared, folder: Path) -> Prepared:
    """The prepared data with the vocabulary of a captioner, followed by the words of the data that it lacks.

    A word that the captioner has keeps its token id, however often the data have it. Raises ModelError for a captioner
    with another tokenizer.
    """
    card, vocabulary = read_card(folder), prepared.vocabulary
    if tokenizer_of(folder, card) != vocabulary.tokenizer:
        files = sorted(tokenizer_of(folder, card).files())
        raise ModelError(
            f"{folder} has another tokenizer ({card.tokenizer}) than the data ({vocabulary.tokenizer.name}); set"
            f" prepare.tokenizer to {folder / files[0] if files else card.tokenizer}, or {FROM_SCRATCH}"
        )
    known = set(card.vocabulary)
    words = (*card.vocabulary, *(word for word in vocabulary.words if word not in known))
    return replace(prepared, vocabulary=Vocabulary(words, vocabulary.tokenizer))


def continued_decoder(folder: Path, model: DecoderConfig, vocabulary: Vocabulary) -> Decoder:
    """The decoder of a captioner with the settings ``model``, and with a row for each word that it lacks.

    The embedding and the classifier of a new word are the means of those of the known words. Raises ModelError if the
    captioner was trained with other settings, or ``vocabulary`` does not begin with its words.
    """
    decoder, known = load_decoder(folder)
    check_model(folder, decoder.config, model)
    if vocabulary.words[: len(known)] != known.words:
        raise ModelError(f"{folder} was trained with another vocabulary; run dvc repro")
    mixtures = torch.zeros(len(vocabulary) - len(known), len(known))
    mixtures[:, len(SPECIAL) :] = 1 / max(1, len(known) - len(SPECIAL))
    return extended_decoder(decoder, mixtures, config=model)


def _checksum(folder: Path, card: CaptionerCard, state: dict[str, Tensor]) -> str:
    files = {name: data.hex() for name, data in sorted(tokenizer_of(folder, card).files().items())}
    fields = ("model", "vocabulary", "vector_size", "tokenizer", "encoder", "tuned")
    text = stable_json([card.model_dump(mode="json", include=set(fields)), files])
    return tensor_digest(tensors_of(state, "decoder."), text)[:16]


def _named(spec: EncoderSpec) -> str:
    return f"{spec.name} ({spec.image_size} pixels, {spec.grid[0]} × {spec.grid[1]} cells, {spec.channels} channels)"
