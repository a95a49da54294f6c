"""A whole training, from stored features or from pictures, to a captioner folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.stored_features import write_features
from tests.training.coloured import SIZES, WORDS, colour_of, picture_of, small_encoder, write_coloured
from wordgaze.config.params import Stage2Params, TrainParams
from wordgaze.core.errors import ModelError
from wordgaze.core.files import write_tensors
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner
from wordgaze.metrics.nearest import nearest
from wordgaze.text.vocabulary import SPECIAL, Vocabulary
from wordgaze.text.word_vectors import WordVectors
from wordgaze.training.fit import TrainingTask, fit
from wordgaze.training.trainer import EpochMetrics
from wordgaze.vision.feature_store import FeatureStore
from wordgaze.vision.sources import ImageFeatures
from wordgaze.vision.tagger import Head, Tagger

PLAIN: dict[str, Any] = {"epochs": 2, "batch_size": 4, "warmup_steps": 1, "device": "cpu", "checkpoint_seconds": 0.0}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TrainingTask:
    root = tmp_path_factory.mktemp("fit")
    prepared, encoder = write_coloured(root / "images"), small_encoder()
    source, folder = ImageFeatures(root / "images", encoder), root / "features"
    names = sorted(path.name for path in (root / "images").iterdir())
    write_tensors(folder / "encoder.safetensors", encoder.state_dict())
    write_tensors(folder / "tagger.safetensors", {})
    write_features(folder, encoder.spec, names, lambda of: source.read(of).bfloat16(), shard_size=5)
    settings = TrainParams.model_validate(PLAIN)
    return TrainingTask(prepared, FeatureStore(folder), SIZES, settings, 6, 1)


def trained(task: TrainingTask, folder: Path) -> dict[str, torch.Tensor]:
    fit(task, folder / "scratch", folder / "captioner", lambda _: None, lambda _, __: None)
    return load_file(folder / "captioner" / "weights.safetensors")


def as_stage2(task: TrainingTask, start: Path | None, **more: Any) -> TrainingTask:
    return replace(task, settings=Stage2Params.model_validate({**PLAIN, **more}), start=start)


def test_the_encoder_is_that_of_the_features(task: TrainingTask, tmp_path: Path) -> None:
    weights = trained(task, tmp_path)
    stored = task.store.encoder_state()
    assert all(torch.equal(weights[f"encoder.{name}"], tensor) for name, tensor in stored.items())


def test_a_captioner_knows_the_pictures_that_it_was_trained_on(task: TrainingTask, tmp_path: Path) -> None:
    trained(task, tmp_path)
    captioner = Captioner.load(tmp_path / "captioner", "cpu")
    assert captioner.parts.neighbours
    colours = [colour_of(i) for i in range(8)]
    images = [picture_of(colour) for colour in colours]
    known = captioner.parts.neighbours
    rows = nearest(known.embed(captioner.features(images)), known.vectors.float(), 1).tolist()
    assert [colours[place] for [place] in rows] == colours  # pictures of one colour are all the same
    params = GenerationConfig(strategy="neighbours", max_new_tokens=6)
    assert [len(of_one) for of_one in captioner.caption(images, params)] == [1] * 8


def test_a_captioner_knows_how_sure_it_is_of_its_captions(task: TrainingTask, tmp_path: Path) -> None:
    image = picture_of("red")
    weights = trained(task, tmp_path / "first")
    [best] = Captioner.load(tmp_path / "first/captioner", "cpu").caption(image)
    assert best.confidence is not None and 0 < best.confidence < 1
    again = trained(task, tmp_path / "second")
    parts = {name for name in weights if name.startswith("confidence.")}
    assert parts and all(torch.equal(weights[name], again[name]) for name in parts)


def test_standardised_channels_are_those_of_the_training_images(task: TrainingTask, tmp_path: Path) -> None:
    weights = trained(replace(task, model=SIZES.model_copy(update={"standardise": True})), tmp_path / "first")
    features = task.store.read([f"{i:02}.png" for i in range(8)]).float()
    torch.testing.assert_close(weights["decoder.feature_mean"], features.mean((0, 1)))
    start = replace(as_stage2(task, tmp_path / "first/captioner"), model=SIZES.model_copy(update={"standardise": True}))
    assert torch.equal(trained(start, tmp_path / "second")["decoder.feature_mean"], weights["decoder.feature_mean"])


def test_the_key_of_a_checkpoint_holds_all_that_the_weights_depend_on(task: TrainingTask, tmp_path: Path) -> None:
    trained(task, tmp_path)
    others = [
        replace(task, code="another loss"),
        replace(task, seed=2),
        replace(task, max_words=5),
        replace(task, model=SIZES.model_copy(update={"num_layers": 2})),
        replace(task, settings=task.settings.model_copy(update={"epochs": 3})),
        replace(task, vectors=vectors(8)),
        replace(task, start=tmp_path / "captioner"),
    ]
    assert len({task.key(), *(other.key() for other in others)}) == 8
    seldom = task.settings.model_copy(update={"checkpoint_seconds": 60.0})
    assert replace(task, settings=seldom).key() == task.key()


class Killed(Exception):
    pass


@pytest.mark.parametrize("more", [{}, {"objective": "both", "bleu_weight": 0.5, "ema_decay": 0.9}])
def test_a_training_that_was_killed_ends_with_the_same_bytes(
    task: TrainingTask, tmp_path: Path, more: dict[str, Any]
) -> None:
    wanted = as_stage2(task, None, **more)
    trained(wanted, tmp_path / "whole")

    def kill(done: int, _: int) -> None:
        if done == 3:
            raise Killed

    folder = tmp_path / "twice"
    with pytest.raises(Killed):
        fit(wanted, folder / "scratch", folder / "captioner", lambda _: None, kill)
    trained(wanted, folder)
    one, two = (path / "captioner/weights.safetensors" for path in (tmp_path / "whole", folder))
    assert one.read_bytes() == two.read_bytes()


def test_a_second_training_takes_no_other_decoder(task: TrainingTask, tmp_path: Path) -> None:
    trained(task, tmp_path)
    other = replace(task, start=tmp_path / "captioner", model=SIZES.model_copy(update={"tie_embeddings": True}))
    with pytest.raises(ModelError, match=r"was trained with model.tie_embeddings False, and params.yaml has True"):
        trained(other, tmp_path / "other")


def vectors(width: int) -> WordVectors:
    matrix = torch.from_numpy(np.random.default_rng(1).normal(size=(len(SPECIAL) + len(WORDS), width))).float()
    return WordVectors("file", matrix, 5, ("red",))


@pytest.mark.parametrize("width", [8, 3])
def test_training_begins_with_the_word_vectors(task: TrainingTask, tmp_path: Path, width: int) -> None:
    frozen = SIZES.model_copy(update={"word_vectors": "file", "freeze_word_vectors": True})
    begun = replace(task, vectors=vectors(width), model=frozen)
    weights = trained(begun, tmp_path / "frozen")
    assert torch.equal(weights["decoder.embedding.weight"], vectors(width).matrix)
    second = trained(replace(task, model=frozen, start=tmp_path / "frozen/captioner"), tmp_path / "second")
    assert torch.equal(second["decoder.embedding.weight"], vectors(width).matrix)
    free = replace(begun, model=SIZES.model_copy(update={"word_vectors": "file"}))
    moved = trained(free, tmp_path / "free")["decoder.embedding.weight"] - vectors(width).matrix
    assert moved.abs().max() > 1e-4
    assert moved.abs().max() < 0.5


def test_rewards_begin_with_the_score_that_the_first_training_ended_with(task: TrainingTask, tmp_path: Path) -> None:
    curves: list[list[EpochMetrics]] = []
    first, second = tmp_path / "first", tmp_path / "second"
    for run, folder in ((task, first), (as_stage2(task, first, objective="scst"), second)):
        curves.append(fit(run, folder / "scratch", folder, lambda _: None, lambda _, __: None))
    before, after = curves
    assert [row["epoch"] for row in after] == [0, 1, 2]
    assert after[0]["dev_cider"] == max(row["dev_cider"] for row in before)
    assert (
        set(after[1])
        == set(after[2])
        == {*before[0], "train_reward", "train_dangling", "train_endless", "train_repeating"}
    )


def test_sentences_of_extra_text_are_trained_on_where_no_reward_is_computed(task: TrainingTask) -> None:
    image = sorted(task.prepared.captions["train"])[2]
    sentences = [["a", "picture", "of", "red"]] * 7
    extended = replace(task, prepared=replace(task.prepared, extra={image: sentences, "unused.png": [["red"]]}))
    added = [(example.image, len(example.captions)) for example in extended.examples()][len(task.images()) :]
    assert added == [(image, 5), (image, 2)]
    assert extended.key() != task.key()
    scst = Stage2Params.model_validate({**PLAIN, "objective": "scst"})
    assert list(replace(extended, settings=scst).examples()) == list(replace(task, settings=scst).examples())


def test_a_captioner_has_the_classifiers_of_its_encoder_and_the_nouns_that_no_caption_has(
    task: TrainingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger = Tagger([Head(torch.randn(1000, 4), torch.randn(1000), 2)], task.store.spec.channels)
    monkeypatch.setattr(FeatureStore, "tagger_state", lambda _: tagger.tensors())
    fit(task, tmp_path / "scratch1", tmp_path / "first", lambda _: None, lambda _, __: None)
    prepared = replace(task.prepared, vocabulary=Vocabulary((*SPECIAL, *WORDS, "dog", "dogs")))
    model = SIZES.model_copy(update={"new_words": "glove-6b-50d"})
    first = replace(task, model=model, prepared=prepared)
    fit(first, tmp_path / "scratch2", tmp_path / "stage1", lambda _: None, lambda _, __: None)
    assert Captioner.load(tmp_path / "stage1").vocabulary == prepared.vocabulary  # a second stage continues from it
    second = replace(first, start=tmp_path / "stage1", settings=Stage2Params.model_validate(PLAIN))
    fit(second, tmp_path / "scratch3", tmp_path / "stage2", lambda _: None, lambda _, __: None)
    captioner = Captioner.load(tmp_path / "stage2")
    assert captioner.vocabulary.words[: len(prepared.vocabulary)] == prepared.vocabulary.words
    assert {"zebra", "zebras", "owl", "geese"} <= set(captioner.vocabulary.words)
    assert captioner.parts.tagger
    torch.testing.assert_close(
        captioner.parts.tagger.heads[0].weight.float(), tagger.heads[0].weight, atol=1e-2, rtol=0
    )
