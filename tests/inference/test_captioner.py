"""A captioner folder gives the captioner back, in the same bytes each time, and anything else is reported in one line."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from wordgaze.core.errors import CaptionsError, ModelError, ParamsError
from wordgaze.generation.confidence import ConfidenceModel
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.captioner import Captioner, caption_ensemble
from wordgaze.inference.captioner_folder import CaptionerParts, load_decoder, save_captioner
from wordgaze.vision.encoders import Encoder

WIDE = GenerationConfig(num_beams=3, num_return_sequences=3, max_new_tokens=6)


@pytest.fixture
def pictures() -> list[Image.Image]:
    random = np.random.default_rng(3)
    return [Image.fromarray(random.integers(0, 256, (40, width, 3), dtype=np.uint8)) for width in (30, 40, 90)]


def test_an_unknown_device_is_refused(captioner_folder: Path) -> None:
    with pytest.raises(ParamsError, match="device is 'tpu'; set it to auto, cpu or cuda"):
        Captioner.load(captioner_folder, "tpu")  # type: ignore[arg-type]


def test_a_loaded_captioner_captions_as_the_one_that_was_saved(
    tiny_captioner: Captioner, pictures: list[Image.Image], tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    state = {k.removeprefix("encoder."): v for k, v in load_file(tmp_path / "models/stage2/weights.safetensors").items()
             if k.startswith("encoder.")}  # fmt: skip
    save_captioner(
        folder, tiny_captioner.decoder, tiny_captioner.vocabulary, tiny_captioner.encoder.spec, state,
        parts=tiny_captioner.parts,
    )  # fmt: skip
    again = Captioner.load(folder, "cpu")
    for mine, theirs in zip(tiny_captioner.caption(pictures, WIDE), again.caption(pictures, WIDE), strict=True):
        assert [(c.words, c.log_prob, c.score, c.finish_reason) for c in mine] == [
            (c.words, c.log_prob, c.score, c.finish_reason) for c in theirs
        ]
        assert all(np.array_equal(a.weights, b.weights) for a, b in zip(mine, theirs, strict=True))
    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS", "captioner.json", "weights.safetensors"]
    for name in ("captioner.json", "weights.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "models" / "stage2" / name).read_bytes()


def test_each_picture_has_its_captions_best_first(tiny_captioner: Captioner, pictures: list[Image.Image]) -> None:
    captions = tiny_captioner.caption(pictures, WIDE)
    assert [len(of_one) for of_one in captions] == [3, 3, 3]
    for of_one in captions:
        assert sorted((c.score for c in of_one), reverse=True) == [c.score for c in of_one]
        assert len({c.words for c in of_one}) == 3
        assert all(c.weights.shape == (len(c.words), 4) for c in of_one)
    alone = [tiny_captioner.caption([picture], WIDE)[0][0].words for picture in pictures]
    assert alone == [of_one[0].words for of_one in captions]


def test_a_stored_confidence_is_given_to_every_caption_and_changes_nothing_else(
    tiny_captioner: Captioner,
    tiny_encoder: Encoder,
    tiny_confidence: ConfidenceModel,
    pictures: list[Image.Image],
    tmp_path: Path,
) -> None:
    assert tiny_captioner.caption(pictures[0])[0].confidence is None
    before = tiny_captioner.caption(pictures, WIDE)
    save_captioner(
        tmp_path / "sure", tiny_captioner.decoder, tiny_captioner.vocabulary, tiny_captioner.encoder.spec,
        tiny_encoder.state_dict(), parts=CaptionerParts(confidence=tiny_confidence),
    )  # fmt: skip
    captioner = Captioner.load(tmp_path / "sure", "cpu")
    after = captioner.caption(pictures, WIDE)
    assert [[(c.words, c.log_prob) for c in of_one] for of_one in after] == [
        [(c.words, c.log_prob) for c in of_one] for of_one in before
    ]
    assert all(c.confidence is not None and 0 < c.confidence < 1 for of_one in after for c in of_one)
    tiny_captioner.parts = CaptionerParts(confidence=tiny_confidence)
    assert [[c.confidence for c in of_one] for of_one in tiny_captioner.caption(pictures, WIDE)] == [
        [c.confidence for c in of_one] for of_one in after
    ]
    ensemble = caption_ensemble([captioner, captioner], pictures, WIDE)
    assert {c.confidence for of_one in ensemble for c in of_one} == {None}
    state = load_file(tmp_path / "sure/weights.safetensors")
    save_file({k: v for k, v in state.items() if k != "confidence.signals"}, tmp_path / "sure/weights.safetensors")
    (tmp_path / "sure/SHA256SUMS").unlink()
    assert "holds a broken captioner (KeyError: 'signals')" in message(tmp_path / "sure")


def test_the_captioner_is_ready_to_caption(tiny_captioner: Captioner) -> None:
    assert not tiny_captioner.decoder.training
    assert not tiny_captioner.encoder.bodies.training
    assert tiny_captioner.device == torch.device("cpu")


def edit(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "captioner.json").read_text())
    (folder / "captioner.json").write_text(json.dumps({**card, **changes}))
    (folder / "SHA256SUMS").unlink(missing_ok=True)  # an older folder, which has no checksums


def message(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        Captioner.load(folder, "cpu")
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_a_folder_without_a_captioner_is_reported_with_the_way_out(tmp_path: Path) -> None:
    assert "captioner.json is missing); run dvc repro, or give --model a folder" in message(tmp_path / "nowhere")
    assert "captioner.json is missing" in message(tmp_path)


def test_another_version_of_the_format_is_reported(captioner_folder: Path) -> None:
    edit(captioner_folder, format=1)
    refusal = message(captioner_folder)
    assert (
        "has format 1, and this version of wordgaze reads formats 3, 4, 5 and 6; train the captioner again" in refusal
    )
    (captioner_folder / "captioner.json").write_text("[]")
    assert "has format None" in message(captioner_folder)


OLD_KEYS = {
    "num_layers": "layers", "attention_position": "look", "window_stride": "pace", "hard_attention": "hard",
    "soft_attention_share": "soft_share", "tie_embeddings": "tied", "word_vectors": "vectors",
    "freeze_word_vectors": "vectors_frozen",
}  # fmt: skip
OLD_TENSORS = {
    "attention.score.energy.weight": "attend.score.energy.weight",
    "attention.score.key_projection.bias": "attend.score.key.bias",
    "attention.score.key_projection.weight": "attend.score.key.weight",
    "attention.score.query_projection.weight": "attend.score.query.weight",
    "context_gate.bias": "gate.bias",
    "context_gate.weight": "gate.weight",
    "context_to_gates.weight": "context_gates.weight",
    "context_to_output.weight": "context_out.weight",
    "embedding.weight": "embed.weight",
    "feature_projection.bias": "project.bias",
    "feature_projection.weight": "project.weight",
    "feature_mean": "shift",
    "feature_scale": "scale",
    "hidden_to_output.bias": "hidden_out.bias",
    "hidden_to_output.weight": "hidden_out.weight",
    "init_state_projection.bias": "first_state.bias",
    "init_state_projection.weight": "first_state.weight",
    "layers.0.recurrent_projection.weight": "layers.0.recurrent.weight",
    "lm_head.bias": "biases",
    "lm_head.weight": "classes",
    "word_to_gates.bias": "word_gates.bias",
    "word_to_gates.weight": "word_gates.weight",
}


def write_format3(folder: Path) -> None:
    """Turns a captioner folder into what wordgaze 0.1 would have written."""
    card, state = json.loads((folder / "captioner.json").read_text()), load_file(folder / "weights.safetensors")
    edit(folder, format=3, model={OLD_KEYS.get(key, key): value for key, value in card["model"].items()})
    decoder = {name: state.pop(f"decoder.{name}") for name in OLD_TENSORS}
    assert not [name for name in state if name.startswith("decoder.")]
    save_file({**state, **{f"decoder.{OLD_TENSORS[name]}": tensor for name, tensor in decoder.items()}},
              folder / "weights.safetensors")  # fmt: skip


def test_a_folder_of_format_3_gives_the_same_captioner(captioner_folder: Path, pictures: list[Image.Image]) -> None:
    now = Captioner.load(captioner_folder, "cpu")
    write_format3(captioner_folder)
    before = Captioner.load(captioner_folder, "cpu")
    assert before.decoder.config == now.decoder.config
    assert all(torch.equal(before.decoder.get_parameter(k), p) for k, p in now.decoder.named_parameters())
    assert [[c.text for c in captions] for captions in before.caption(pictures, WIDE)] == [
        [c.text for c in captions] for captions in now.caption(pictures, WIDE)
    ]
    edit(captioner_folder, model={**json.loads((captioner_folder / "captioner.json").read_text())["model"], "color": 1})
    assert "holds a broken captioner (" in message(captioner_folder)


def cut(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])


def empty(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"")


def drop(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()


def half(folder: Path) -> None:
    (folder / "captioner.json").write_text('{"format": 4')


def bare(folder: Path) -> None:
    (folder / "captioner.json").write_text('{"format": 4}')


def twice(folder: Path) -> None:
    edit(folder, vocabulary=["<pad>", "<start>", "<end>", "<unk>", "dog", "dog"])


def longer(folder: Path) -> None:
    words = json.loads((folder / "captioner.json").read_text())["vocabulary"]
    edit(folder, vocabulary=[*words, "zebra"])


def encoderless(folder: Path) -> None:
    edit(folder, encoder={"name": "timm/test_efficientnet"})


def sizeless(folder: Path) -> None:
    edit(folder, model={"hidden_size": "large"})


def headless(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    state = load_file(folder / "weights.safetensors")
    save_file(
        {k: v for k, v in state.items() if not k.startswith("encoder.bodies.0.conv_stem")},
        folder / "weights.safetensors",
    )


def partless(folder: Path) -> None:
    state = load_file(folder / "weights.safetensors")
    save_file({k: v for k, v in state.items() if k != "neighbours.vectors"}, folder / "weights.safetensors")


@pytest.mark.parametrize("spoil", [cut, empty, drop, half, bare, twice, longer, encoderless, sizeless, partless])
def test_a_broken_folder_is_reported_in_one_line(captioner_folder: Path, spoil: Callable[[Path], None]) -> None:
    (captioner_folder / "SHA256SUMS").unlink()
    spoil(captioner_folder)
    assert "holds a broken captioner (" in message(captioner_folder)


@pytest.mark.parametrize("name", ["captioner.json", "weights.safetensors", "SHA256SUMS"])
def test_a_flipped_byte_is_named(captioner_folder: Path, name: str) -> None:
    path = captioner_folder / name
    content = path.read_bytes()
    for place in range(11, len(content), len(content) // 9):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert name in message(captioner_folder)
    path.write_bytes(content)
    Captioner.load(captioner_folder, "cpu")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("encoder", "interpolation"), "cubic"),
        (("encoder", "image_size"), 0),
        (("encoder", "image_size"), 10**9),
        (("encoder", "grid"), [0, 2]),
        (("encoder", "grid"), [10**6, 10**6]),
        (("encoder", "networks"), []),
        (("encoder", "networks", 0, "std"), [0.0, 0.0, 0.0]),
        (("encoder", "networks", 0, "mean"), [math.nan, 0.0, 0.0]),
        (("encoder", "networks", 0, "layers"), []),
        (("encoder", "networks", 0, "layers"), ["nowhere"]),
        (("encoder", "networks", 0, "channels"), 10**9),
        (("encoder", "networks", 0, "name"), "torchvision/nothing"),
        (("model", "hidden_size"), 10**8),
        (("model", "embedding_size"), 10**8),
        (("model", "attention_size"), 10**9),
        (("vector_size",), 10**9),
    ],
)
def test_a_setting_of_the_card_that_does_not_fit_is_one_line(
    captioner_folder: Path, pictures: list[Image.Image], keys: tuple[str | int, ...], value: object
) -> None:
    card = json.loads((captioner_folder / "captioner.json").read_text())
    place = card
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    edit(captioner_folder, **card)
    with pytest.raises(ModelError) as caught:
        Captioner.load(captioner_folder, "cpu").caption(pictures)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("neighbours.mean", torch.full((256,), torch.nan)),
        ("neighbours.scale", torch.ones(7)),
        ("neighbours.captions", torch.full((3, 1, 3), 99, dtype=torch.int32)),
        ("decoder.lm_head.bias", torch.full((10,), torch.inf)),
        ("decoder.embedding.weight", torch.ones(10, 8, dtype=torch.int8)),
        ("decoder.lm_head.bias.row_scale", torch.ones(10)),
    ],
)
def test_a_stored_tensor_that_does_not_fit_is_one_line(captioner_folder: Path, name: str, value: torch.Tensor) -> None:
    state = load_file(captioner_folder / "weights.safetensors")
    save_file(state | {name: value}, captioner_folder / "weights.safetensors")
    (captioner_folder / "SHA256SUMS").unlink()
    assert "holds a broken captioner (" in message(captioner_folder)


def test_weights_without_a_part_of_the_encoder_are_refused(captioner_folder: Path) -> None:
    headless(captioner_folder)
    with pytest.raises(ModelError, match="stored weights do not fit encoder timm/test_efficientnet"):
        Captioner.load(captioner_folder, "cpu")


def test_a_second_training_starts_from_the_weights_of_the_first(captioner_folder: Path) -> None:
    decoder, vocabulary = load_decoder(captioner_folder)
    saved = load_file(captioner_folder / "weights.safetensors")
    assert all(torch.equal(saved[f"decoder.{key}"], value) for key, value in decoder.state_dict().items())
    assert len(vocabulary) == 10


def test_a_captioner_that_cannot_be_written_leaves_the_old_one(
    captioner_folder: Path, write_captioner: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in captioner_folder.iterdir()}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wordgaze.inference.captioner_folder.write_json", fail)
    with pytest.raises(OSError, match="No space left"):
        write_captioner(captioner_folder, seed=2)
    assert {path.name: path.read_bytes() for path in captioner_folder.iterdir()} == before
    assert [path.name for path in captioner_folder.parent.iterdir()] == ["stage2"]


def test_attention_to_given_words_is_that_of_saying_them(
    tiny_captioner: Captioner, pictures: list[Image.Image]
) -> None:
    found = tiny_captioner.caption(
        pictures[:1], GenerationConfig(strategy="greedy", max_new_tokens=6, no_dangling_end=False)
    )[0][0]
    made = tiny_captioner.explain(pictures[0], found.words).caption
    np.testing.assert_allclose(made.weights, found.weights, atol=1e-5)
    np.testing.assert_allclose(made.word_log_probs, found.word_log_probs, atol=1e-4)
    with pytest.raises(ModelError, match="does not know 'zebra'; use words of its vocabulary"):
        tiny_captioner.explain(pictures[0], ["zebra"])


def test_one_image_of_any_form_has_a_list_of_captions(
    tiny_captioner: Captioner, pictures: list[Image.Image], tmp_path: Path
) -> None:
    pictures[0].save(tmp_path / "a.png")
    captions = tiny_captioner.caption(pictures[0], WIDE)
    assert [type(caption) for caption in captions] == [Caption] * 3
    forms = (str(tmp_path / "a.png"), tmp_path / "a.png", (tmp_path / "a.png").read_bytes(), np.asarray(pictures[0]))
    for form in forms:
        assert [c.words for c in tiny_captioner.caption(form, WIDE)] == [c.words for c in captions]
    several = tiny_captioner.caption(forms, WIDE)
    assert [[c.words for c in of_one] for of_one in several] == [[c.words for c in captions]] * 4
    assert len(tiny_captioner.caption(np.stack([np.asarray(pictures[0])] * 2))) == 2
    assert tiny_captioner.caption([]) == []


def test_the_default_is_the_default_configuration(tiny_captioner: Captioner, pictures: list[Image.Image]) -> None:
    [caption] = tiny_captioner.caption(pictures[0])
    [same] = tiny_captioner.caption(pictures[0], GenerationConfig())
    assert caption.words == same.words


def test_many_images_are_captioned_in_batches(tiny_captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    features = tiny_captioner.features

    def counting(images: list[Image.Image]) -> torch.Tensor:
        sizes.append(len(images))
        return features(images)

    monkeypatch.setattr(tiny_captioner, "features", counting)
    images = (np.full((4, 4), n, dtype=np.uint8) for n in range(40))
    assert len(tiny_captioner.caption(images, GenerationConfig(strategy="greedy", max_new_tokens=2))) == 40
    assert sizes == [16, 16, 8]


def test_every_caption_begins_with_the_prefix(tiny_captioner: Captioner, pictures: list[Image.Image]) -> None:
    for prefix in ("A cat", ["a", "cat"]):
        captions = tiny_captioner.caption(pictures[0], WIDE, prefix=prefix)
        assert [caption.words[:2] for caption in captions] == [("a", "cat")] * 3
    sample = GenerationConfig(strategy="sample", num_return_sequences=5, max_new_tokens=6)
    one, same, other = (tiny_captioner.caption(pictures[0], sample, seed=seed) for seed in (1, 1, 2))
    assert [c.words for c in one] == [c.words for c in same] != [c.words for c in other]


def test_an_explanation_has_the_attention_as_an_array_and_as_a_picture(
    tiny_captioner: Captioner, pictures: list[Image.Image], tmp_path: Path
) -> None:
    explanation = tiny_captioner.explain(np.asarray(pictures[2]), generation_config=GenerationConfig(max_new_tokens=4))
    [best] = tiny_captioner.caption(pictures[2], GenerationConfig(max_new_tokens=4))
    assert explanation.caption.words == best.words
    assert explanation.attention.shape == (len(best.words), 2, 2)
    np.testing.assert_allclose(explanation.attention, best.attention, atol=1e-5)
    assert np.array_equal(np.asarray(explanation.image), np.asarray(pictures[2]))
    assert explanation.draw().width > (len(best.words) + 1) * 224
    explanation.save_gif(str(tmp_path / "a.gif"))
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == len(best.words) + 2
    values = json.loads(json.dumps(explanation.to_dict(), allow_nan=False))
    assert (values["caption"], values["size"], values["grid"]) == (best.text, [90, 40], [2, 2])
    assert np.array(values["words"][0]["weights"]).shape == (2, 2)
    assert [word["text"] for word in values["words"]] == list(best.words)


def test_given_words_are_explained(tiny_captioner: Captioner, pictures: list[Image.Image]) -> None:
    explanation = tiny_captioner.explain(pictures[0], "A dog sleeps.")
    assert explanation.caption.words == ("a", "dog", "sleeps")
    assert tiny_captioner.explain(pictures[0], ["a", "dog", "sleeps"]).to_dict() == explanation.to_dict()
    assert [len(step) for step in explanation.likeliest] == [5] * 4
    with pytest.raises(CaptionsError, match=r"'\.\.\.' has no word in it; give a caption"):
        tiny_captioner.explain(pictures[0], "...")
    sample = GenerationConfig(strategy="sample", max_new_tokens=6)
    words = {tiny_captioner.explain(pictures[0], None, sample, seed).caption.words for seed in (1, 1, 2, 3, 4)}
    assert 1 < len(words) < 5
