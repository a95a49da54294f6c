"""A training that continues that of a captioner: which captioners fit, and what becomes of their words."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.stored_features import write_features
from wordgaze.core.errors import ModelError
from wordgaze.core.files import write_tensors
from wordgaze.data.prepared import Prepared
from wordgaze.inference.captioner_folder import load_decoder
from wordgaze.inference.pack import pack_captioner
from wordgaze.models.config import DecoderConfig
from wordgaze.text.tokenizers import get_tokenizer
from wordgaze.text.vocabulary import PTB, SPECIAL, Vocabulary
from wordgaze.training.initial import check_initial, continued_decoder, initial_checksum, with_words_of
from wordgaze.vision.encoders import Encoder
from wordgaze.vision.feature_store import FeatureStore

SIZES = DecoderConfig(embedding_size=8, hidden_size=8, attention_size=8, feature_size=8)


def prepared(*words: str, tokenizer: str = "ptb") -> Prepared:
    return Prepared({"train": {}, "dev": {}, "test": {}}, {}, Vocabulary((*SPECIAL, *words), get_tokenizer(tokenizer)))


def features_of(encoder: Encoder, folder: Path) -> FeatureStore:
    grid = encoder.spec.grid[0] * encoder.spec.grid[1]
    features = torch.zeros(1, grid, encoder.spec.channels)
    write_tensors(folder / "encoder.safetensors", encoder.state_dict())
    write_features(folder, encoder.spec, ["a.png"], lambda _: features)
    return FeatureStore(folder)


def test_known_words_keep_their_rows_and_new_ones_begin_as_their_mean(captioner_folder: Path) -> None:
    old, known = load_decoder(captioner_folder)
    data = with_words_of(prepared("zebra", "dog", "a"), captioner_folder)
    assert data.vocabulary.words == (*known.words, "zebra")  # what the data lack stays, what it lacks is added
    config = SIZES.model_copy(update={"dropout_output": 0.5})
    new = continued_decoder(captioner_folder, config, data.vocabulary)
    assert new.config == config
    before, after = old.state_dict(), new.state_dict()
    for name in ("embedding.weight", "lm_head.weight", "lm_head.bias"):
        assert torch.equal(after[name][:-1], before[name])
        assert torch.allclose(after[name][-1], before[name][len(SPECIAL) :].mean(0))


def test_other_settings_another_tokenizer_and_other_words_are_named(captioner_folder: Path) -> None:
    words = load_decoder(captioner_folder)[1]
    gru = SIZES.model_copy(update={"cell": "gru"})
    with pytest.raises(ModelError, match=r"model.cell 'lstm', and params.yaml has 'gru'; .* --from-scratch"):
        continued_decoder(captioner_folder, gru, words)
    with pytest.raises(ModelError, match="another vocabulary; run dvc repro"):
        continued_decoder(captioner_folder, SIZES, Vocabulary((*SPECIAL, "zebra"), PTB))
    with pytest.raises(ModelError, match=r"another tokenizer \(ptb\) than the data \(unicode\); set .* to ptb, or"):
        with_words_of(prepared("a", tokenizer="unicode"), captioner_folder)


def test_the_folder_is_named_by_its_contents_and_a_packed_copy_has_the_same_name(
    captioner_folder: Path, tiny_encoder: Encoder, write_captioner: Callable[..., Path], tmp_path: Path
) -> None:
    store = features_of(tiny_encoder, tmp_path / "features")
    named = tmp_path / initial_checksum(captioner_folder)
    pack_captioner(captioner_folder, named, dtype="fp32", keep_neighbours=True)
    check_initial(named, store)
    other = write_captioner(tmp_path / "other", seed=11)
    assert initial_checksum(other) != named.name
    shutil.copytree(other, named, dirs_exist_ok=True)  # other bytes by the same name
    with pytest.raises(ModelError, match=f"its contents, whose checksum is {initial_checksum(other)}; rename it"):
        check_initial(named, store)
    with pytest.raises(ModelError, match=r"nowhere holds no captioner; run wordgaze retrain"):
        check_initial(tmp_path / "nowhere", store)


def test_another_encoder_is_refused(captioner_folder: Path, tiny_encoder: Encoder, tmp_path: Path) -> None:
    named = captioner_folder.rename(tmp_path / initial_checksum(captioner_folder))
    store = features_of(tiny_encoder, tmp_path / "features")
    state = {
        name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in store.encoder_state().items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "encoder_state", lambda: state)
        with pytest.raises(ModelError, match=r"other weights of the encoder than .*features; train from scratch"):
            check_initial(named, store)
    store.spec = store.spec.model_copy(update={"image_size": 96})
    with pytest.raises(
        ModelError, match=r"has the encoder timm/test_efficientnet \(64 pixels.* those of .* \(96 pixels"
    ):
        check_initial(named, store)
