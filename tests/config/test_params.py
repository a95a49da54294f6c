"""params.yaml: all errors are reported at once, each with its key; valid files give typed, frozen values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from wordgaze.config.params import Params, load_params
from wordgaze.config.renamed import RENAMED
from wordgaze.core.errors import ParamsError
from wordgaze.generation.config import parse_generation_config

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Params]:
    def of(text: str) -> Params:
        (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
        return load_params(tmp_path / "params.yaml")

    return of


def message(load: Callable[[str], Params], text: str) -> str:
    with pytest.raises(ParamsError) as caught:
        load(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def keys(values: Any, prefix: str = "") -> set[str]:
    if not isinstance(values, dict):
        return {prefix}
    return set().union(*(keys(value, f"{prefix}.{key}") for key, value in values.items()))


def test_the_project_s_own_file_lists_every_parameter() -> None:
    from ruamel.yaml import YAML

    path = CHECKOUT / "params.yaml"
    assert keys(YAML(typ="safe").load(path.read_text(encoding="utf-8"))) == keys(load_params(path).model_dump())


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    nested = [flat(v, f"{prefix}{k}.") if isinstance(v, dict) else {f"{prefix}{k}": v} for k, v in values.items()]
    return {key: value for each in nested for key, value in each.items()}


def test_the_project_s_own_file_has_the_defaults() -> None:
    """Fault 15: thirteen defaults of the models differed from params.yaml."""
    assert flat(load_params(CHECKOUT / "params.yaml").model_dump()) == flat(Params().model_dump())


def test_no_stage_depends_on_the_name_of_the_registered_model() -> None:
    from ruamel.yaml import YAML

    stages = YAML(typ="safe").load((CHECKOUT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    sections = {str(param).partition(".")[0] for stage in stages.values() for param in stage.get("params", [])}
    assert set(Params.model_fields) - sections == {"tracking"}


def exists(key: str) -> bool:
    values: Any = Params().model_dump()
    for name in key.split("."):
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_renamed_key_is_refused_with_its_new_name(load: Callable[[str], Params], old: str, new: str) -> None:
    assert exists(new) and not exists(old)
    *sections, name = old.split(".")
    text = f"{name}: 1"
    for section in reversed(sections):
        text = f"{section}: {{{text}}}"
    assert f"{old} is renamed to {new}" in message(load, text)


def test_all_renamed_and_wrong_keys_are_reported_at_once(load: Callable[[str], Params]) -> None:
    text = "{decode: {num: 2, strategy: greedy, beam_width: 5}, train_stage2: {drawn: 3, bleu: 1}, seed: -1}"
    problems = set(message(load, text).partition(": ")[2].split("; "))
    assert problems - {"seed must be at least 0, not -1"} == {
        "train_stage2.drawn is renamed to train_stage2.num_samples",
        "train_stage2.bleu is not a parameter",
        "decode is renamed to generation",
        "decode.num is renamed to generation.num_return_sequences",
        "decode.beam_width is renamed to generation.num_beams",
    }


def test_every_wrong_key_is_reported_at_once(load: Callable[[str], Params]) -> None:
    error_line = message(
        load,
        """
        seed: -1
        sead: 3
        train_stage1: {learning_rat: 0.1, epochs: "ten", batch_size: 2.5}
        features: {encoder: resnet50, device: tpu}
        """,
    )
    for problem in (
        "seed must be at least 0, not -1; ",
        "sead is not a parameter",
        "train_stage1.learning_rat is not a parameter",
        "train_stage1.epochs must be an integer, not 'ten'; ",
        "train_stage1.batch_size must be an integer, not 2.5; ",
        "features.encoder: 'resnet50' is not an encoder; set the library and the network, such as torchvision/resnet50",
        "features.device must be auto, cpu or cuda, not 'tpu'; ",
    ):
        assert problem in error_line


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("dataset: {name: scenes, source: there.zip}", "dataset: scenes is built in and has no source"),
        ("dataset: {name: folder}", "dataset: folder needs source, the folder of your images"),
        (
            "dataset: {name: coco, captions: a.csv}",
            "dataset: captions is for the data set folder; clear it, or change name (coco)",
        ),
        (
            "dataset: {karpathy: a.json}",
            "dataset: karpathy is for flickr8k, flickr30k and coco; clear it, or change name (scenes)",
        ),
        ("dataset: {name: folder, source: a, karpathy: a.json}", "or change name (folder)"),
        ("dataset: {image_column: a}", "image_column is for the data set folder; clear it, or change name (scenes)"),
        (
            "dataset: {caption_column: a}",
            "caption_column is for the data set folder; clear it, or change name (scenes)",
        ),
        ("dataset: {max_train_images: -1}", "dataset.max_train_images must be at least 0, not -1"),
        ("prepare: {dev_share: 0.6, test_share: 0.5}", "prepare: dev_share (0.6) and test_share (0.5)"),
        ("generation: {strategy: greedy, num_return_sequences: 2}", "generation: num_return_sequences (2)"),
        (
            "generation: {num_beams: 3, num_return_sequences: 4}",
            "num_return_sequences (4) is more than strategy beam finds (3)",
        ),
        (
            "generation: {strategy: diverse, num_beams: 5, num_beam_groups: 2}",
            "num_beams (5) is not a multiple of num_beam_groups (2)",
        ),
        ("generation: {min_new_tokens: 9, max_new_tokens: 8}", "min_new_tokens (9) exceeds max_new_tokens (8)"),
        ("generation: {force_words: [a, b], max_new_tokens: 1}", "force_words has 2 entries; 1 is the most"),
        (
            "{train_stage1: {max_train_images: 5}, train_stage2: {max_train_images: 4}}",
            "train_stage2.max_train_images (4) is smaller",
        ),
        ("{train_stage1: {max_train_images: 0}, train_stage2: {max_train_images: 4}}", "max_train_images (all)"),
        (
            "train_stage2: {objective: scst, attention_supervision: 1}",
            "train_stage2: attention_supervision is a term of the cross entropy; set it to 0, or objective to both",
        ),
        ("train_stage2: {devices: 0}", "train_stage2.devices: 0 is not a number of devices; set auto, or a number"),
        ("features: {devices: 0}", "features.devices: 0 is not a number of devices; set auto, or a number"),
        ("features: {address: bucket/features}", "features.address: 'bucket/features' is not an address; set one such"),
        ("features: {address: 'sftp://me:secret@host/x'}", "features.address: address has a password; give it to the"),
        ("train_stage1: {devices: gpu}", "train_stage1.devices: 'gpu' is not a number of devices; set auto, or"),
    ],
)
def test_what_cannot_go_together_is_reported_with_its_values(
    load: Callable[[str], Params], text: str, key: str
) -> None:
    assert key in message(load, text)


def test_settings_that_go_together_are_taken(load: Callable[[str], Params]) -> None:
    assert (
        load("{train_stage1: {max_train_images: 5}, train_stage2: {max_train_images: 5}}").train_stage2.max_train_images
        == 5
    )
    assert load("train_stage1: {max_train_images: 5}").train_stage2.max_train_images == 0
    assert load("dataset: {name: folder, source: a, captions: b.csv}").dataset.captions == "b.csv"
    assert load("dataset: {name: coco, karpathy: a.json, max_train_images: 25600}").dataset.max_train_images == 25600
    assert load("generation: {num_beams: 3, num_return_sequences: 3}").generation.num_return_sequences == 3
    assert [load(f"train_stage1: {{devices: {n}}}").train_stage1.devices for n in ("auto", 2)] == ["auto", 2]


def test_what_dvc_writes_is_read_as_it_was_meant(load: Callable[[str], Params]) -> None:
    params = load(
        "dataset:\n  source:\n  captions:\n  karpathy:\nfeatures:\n  weights:\ntrain_stage1:\n  learning_rate: 1e-05\n  max_grad_norm: 1\n"
    )
    assert (params.dataset.source, params.features.weights) == ("", "")
    assert params.train_stage1.learning_rate == 1e-5
    assert params.train_stage1.max_grad_norm == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "train_stage1: {epochs: '10'}",
        "train_stage1: {epochs: 10.0}",
        "seed: true",
        "prepare: {max_words:}",
        "features:",
        "train_stage1: {learning_rate: .nan}",
        "train_stage1: {weight_decay: .inf}",
        "model: {dropout_output: 1.0}",
        "1: 2",
        "[1, 2]",
        "nonsense",
    ],
)
def test_nothing_is_converted_in_silence(load: Callable[[str], Params], text: str) -> None:
    message(load, text)


@pytest.mark.parametrize("text", ["seed: [1", "seed: 1\nseed: 2", "\tseed: 1", "seed: !!python/name:os.system ''"])
def test_what_is_no_yaml_is_reported_with_the_file(load: Callable[[str], Params], text: str, tmp_path: Path) -> None:
    assert f"{tmp_path / 'params.yaml'} is not YAML" in message(load, text)


def test_a_missing_file_is_reported_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml is missing; run wordgaze from the root of the project"):
        load_params(tmp_path / "params.yaml")


def test_an_empty_file_means_the_defaults(load: Callable[[str], Params]) -> None:
    assert load("# nothing\n") == Params()


def test_parameters_cannot_be_changed_once_read() -> None:
    params = Params()
    with pytest.raises(ValidationError, match="frozen"):
        params.train_stage1.epochs = 3  # type: ignore[misc]


def test_options_of_a_search_are_checked_together() -> None:
    assert parse_generation_config(strategy="greedy").num_beams == 5
    with pytest.raises(ParamsError) as caught:
        parse_generation_config(strategy="guess", max_new_tokens=0)
    assert "strategy must be greedy, beam, diverse, sample, mbr or neighbours, not 'guess'" in str(caught.value)
    assert "max_new_tokens must be at least 1, not 0" in str(caught.value)


@pytest.mark.parametrize(
    ("reproducible", "dataset", "fixed"),
    [
        ("auto", "scenes", True),
        ("auto", "flickr8k", False),
        ("any_cpu", "flickr8k", True),
        ("same_machine", "scenes", False),
    ],
)
def test_the_kernels_are_fixed_for_the_embedded_data_set_or_where_asked(
    reproducible: str, dataset: str, fixed: bool
) -> None:
    values = {"reproducible": reproducible, "dataset": {"name": dataset}}
    assert Params.model_validate(values).fixes_kernels == fixed


def test_a_long_value_is_cut_in_a_message_that_still_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"features:\n  encoder: {'<a>' * 3000}\n", encoding="utf-8")
    with pytest.raises(ParamsError) as raised:
        load_params(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: features.encoder: '<a><a>")
    assert len(message) < 1000 + len(str(path))
    with pytest.raises(ParamsError) as short:
        load_params_of(tmp_path, "features:\n  encoder: <a>\n")
    assert message.endswith(str(short.value)[-60:])


def load_params_of(folder: Path, text: str) -> Params:
    (folder / "short.yaml").write_text(text, encoding="utf-8")
    return load_params(folder / "short.yaml")
