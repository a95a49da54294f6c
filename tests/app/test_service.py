"""Captions of all strategies from one look at the picture, the story of each word, and which captioner is asked."""

import json
import math
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wordgaze.app import service as module
from wordgaze.app.service import CaptionService
from wordgaze.core.errors import CaptionsError, ModelError, ParamsError, RequestTimeoutError, TrackingError
from wordgaze.generation.config import parse_generation_config
from wordgaze.generation.naming import ObjectName
from wordgaze.generation.outputs import Caption
from wordgaze.generation.presets import PRESETS
from wordgaze.inference.captioner import Captioner, caption_ensemble
from wordgaze.inference.deadline import Deadline
from wordgaze.inference.explanation import ENDED, Explanation, ModelVersion
from wordgaze.models.decoder import Decoder
from wordgaze.text.tokenizers import get_tokenizer
from wordgaze.text.vocabulary import SPECIAL, Vocabulary

NAME = "tiny"
SHORT = {"max_new_tokens": 6}


@pytest.fixture
def service(tiny_captioner: Captioner) -> CaptionService:
    return CaptionService([(ModelVersion(NAME, "one"), tiny_captioner)])


@pytest.fixture
def attended(tiny_captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The size of every picture that the encoder looks at."""
    sizes: list[tuple[int, int]] = []
    features = tiny_captioner.features

    def counting(images: list[Image.Image]) -> torch.Tensor:
        sizes.extend(image.size for image in images)
        return features(images)

    monkeypatch.setattr(tiny_captioner, "features", counting)
    return sizes


def noise(seed: int, width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_all_strategies_answer_from_one_look_as_they_do_alone(
    service: CaptionService, tiny_captioner: Captioner, attended: list[tuple[int, int]]
) -> None:
    answers = list(service.captions(NAME, noise(1), {**SHORT, "num_return_sequences": 1}, seed=3))
    assert [answer.strategy for answer in answers] == list(PRESETS)
    assert attended == [(40, 30)]
    for answer in answers:
        decode = parse_generation_config(**{**SHORT, **PRESETS[answer.strategy]})
        [[alone]] = caption_ensemble([tiny_captioner], [noise(1)], decode, 3)
        [found] = answer.captions
        assert (found.caption, found.log_prob, found.finish_reason) == (alone.text, alone.log_prob, alone.finish_reason)
        assert [word.text for word in found.words] == list(alone.words)
        assert found.probability == pytest.approx(math.exp(alone.log_prob))
        assert answer.seconds > 0
    assert json.loads(json.dumps(answers[1].to_dict()))["captions"][0]["words"][0].keys() == {"text", "probability"}


def test_what_a_person_sets_holds_where_the_strategy_s_name_does_not_generate_otherwise(
    service: CaptionService,
) -> None:
    def generated(**settings: object) -> dict[str, tuple[str, ...]]:
        answers = service.captions(NAME, noise(2), {**SHORT, "num_return_sequences": 3, **settings}, seed=1)
        return {answer.strategy: tuple(found.caption for found in answer.captions) for answer in answers}

    free, cold = generated(), generated(temperature=0.0)
    assert set(cold["sample"]) == set(free["greedy"])
    assert {name for name in PRESETS if cold[name] != free[name]} == {"sample"}
    banned = generated(bad_words=["dog", "a"], num_beams=3)  # which diverse beam search divides into groups too
    assert not any({"dog", "a"} & set(caption.split()) for captions in banned.values() for caption in captions)
    assert len(banned["diverse"]) == 3
    required = generated(force_words=["cat"], num_beams=7)
    assert all("cat" in caption.split() for captions in required.values() for caption in captions)


def test_wrong_settings_are_reported_before_any_work(service: CaptionService, attended: list[tuple[int, int]]) -> None:
    with pytest.raises(ParamsError, match="num_beams"):
        service.captions(NAME, noise(1), {"num_beams": 0})
    with pytest.raises(ParamsError, match="colour is not a parameter"):
        service.captions(NAME, noise(1), {"colour": "red"})
    with pytest.raises(ParamsError, match="strategy 'guess' is unknown; choose one of greedy, beam, "):
        service.captions(NAME, noise(1), {}, ["guess"])
    with pytest.raises(ModelError, match="captioner 'other' is not offered; there is 'tiny'"):
        service.captions("other", noise(1), {})
    assert attended == []


def test_a_request_that_would_keep_others_waiting_is_refused_before_any_work(
    service: CaptionService, attended: list[tuple[int, int]]
) -> None:
    costly: dict[str, dict[str, object]] = {
        "sample": {"num_return_sequences": 10_000},
        "beam": {"num_beams": 200, "max_new_tokens": 200},
        "diverse": {"num_beams": 50, "force_words": ["dog", "cat", "a", "runs"]},
        "mbr": {"mbr_samples": 1000, "max_new_tokens": 1},
    }
    for strategy, settings in costly.items():
        with pytest.raises(ParamsError, match="cost more than a request may"):
            service.captions(NAME, noise(1), settings, [strategy])
    with pytest.raises(ParamsError, match="cost more than a request may"):
        service.continue_caption(NAME, noise(1), ["a"], costly["beam"])
    for words in (["a"] * 101, ["a"] * 3000):
        with pytest.raises(CaptionsError, match="more than the 100 allowed"):
            service.explain(NAME, noise(1), words)
        with pytest.raises(CaptionsError, match="more than the 100 allowed"):
            service.continue_caption(NAME, noise(1), words, {})
    assert attended == []
    most = {"num_beams": 20, "max_new_tokens": 50, "force_words": ["dog", "cat", "a", "runs"]}
    assert len(list(service.captions(NAME, noise(1), most, ["greedy", "beam"]))) == 2  # what the controls reach


def test_a_caption_that_is_more_probably_wrong_than_right_is_unsure(
    service: CaptionService, tiny_captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    [answer] = service.captions(NAME, noise(1), SHORT, ["beam"])
    assert [(found.confidence, found.unsure) for found in answer.captions] == [(None, False)]
    generate, confidences = tiny_captioner.generate, (0.62, 0.31)

    def with_confidence(*args: Any) -> list[list[Caption]]:
        pairs = zip(generate(*args)[0], confidences, strict=True)
        return [[replace(caption, confidence=confidence) for caption, confidence in pairs]]

    monkeypatch.setattr(tiny_captioner, "generate", with_confidence)
    [answer] = service.captions(NAME, noise(1), {**SHORT, "num_return_sequences": 2}, ["beam"])
    assert [(found.confidence, found.unsure) for found in answer.captions] == [(0.62, False), (0.31, True)]


def test_why_a_caption_has_a_name_is_reported(
    service: CaptionService, tiny_captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    [answer] = service.captions(NAME, noise(1), SHORT, ["greedy"])
    [before] = answer.captions
    word = next(word for word in ("dog", "cat", "outside") if word not in before.caption.split())
    name = ObjectName(word, probability=0.9, classes=("something like it",))
    monkeypatch.setattr("wordgaze.inference.captioner.object_names", lambda *_: [name])
    [answer] = service.captions(NAME, noise(1), SHORT, ["greedy"])
    [found] = answer.captions
    assert word in found.caption.split()
    reason = f"{word}: the classifiers see something like it (90%); otherwise: {before.caption}"
    assert (before.naming, found.naming) == ("", reason)
    assert json.loads(json.dumps(answer.to_dict()))["captions"][0]["naming"] == found.naming


@pytest.mark.parametrize("is_outlier", [False, True])
def test_a_picture_unlike_those_of_the_training_is_an_outlier(
    service: CaptionService, tiny_captioner: Captioner, monkeypatch: pytest.MonkeyPatch, is_outlier: bool
) -> None:
    def assign(captions: list[list[Caption]], features: torch.Tensor) -> list[list[Caption]]:
        return [[replace(caption, is_outlier=is_outlier) for caption in of_image] for of_image in captions]

    model: Any = SimpleNamespace(assign=assign)
    monkeypatch.setattr(tiny_captioner, "parts", replace(tiny_captioner.parts, confidence=model))
    [answer] = service.captions(NAME, noise(1), SHORT, ["beam"])
    assert answer.is_outlier == is_outlier


def test_the_captioner_s_own_settings_hold_where_a_person_sets_nothing_else(
    service: CaptionService, tiny_captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = parse_generation_config(strategy="neighbours", max_new_tokens=2, num_return_sequences=3)
    monkeypatch.setattr(tiny_captioner, "generation_config", own)
    [answer] = service.captions(NAME, noise(1), {}, ["beam"])
    assert len(answer.captions) == 3
    assert max(len(found.words) for found in answer.captions) <= 2
    [answer] = service.captions(NAME, noise(1), {"num_return_sequences": 1}, ["beam"])
    assert len(answer.captions) == 1


def test_a_picture_is_known_by_its_pixels_and_its_shape(
    service: CaptionService, attended: list[tuple[int, int]]
) -> None:
    picture = noise(1)
    other = Image.frombytes("RGB", (30, 40), picture.tobytes())  # the same bytes in another shape
    for image in (picture, other, picture.copy(), other.copy()):
        list(service.captions(NAME, image, SHORT, ["greedy"]))
    assert attended == [(40, 30), (30, 40)]


def test_the_features_that_are_kept_are_bounded_in_bytes(
    service: CaptionService, tiny_captioner: Captioner, attended: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEATURE_CACHE_BYTES", 2 * tiny_captioner.features([noise(0)]).nbytes)
    attended.clear()
    for width in (41, 42, 41, 43, 41, 42):  # 43 drives out 42, which was asked about longest ago
        service.explain(NAME, noise(1, width), ["dog"])
    assert [width for width, _ in attended] == [41, 42, 43, 42]


def test_many_people_at_once_get_what_each_would_get_alone(
    service: CaptionService, attended: list[tuple[int, int]]
) -> None:
    def ask(n: int) -> list[str]:
        answers = service.captions(NAME, noise(n % 3), SHORT, ["beam", "sample"], seed=5)
        return [found.caption for answer in answers for found in answer.captions]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, range(12)))
    assert len(attended) == 3
    assert together == [ask(n) for n in range(12)]


def test_a_tab_that_is_closed_halfway_holds_nobody_up(service: CaptionService) -> None:
    answers = service.captions(NAME, noise(1), SHORT)
    next(answers)
    assert next(service.captions(NAME, noise(2), SHORT)).strategy == "greedy"  # while the first waits to be asked on


def test_a_story_reports_of_each_word_what_the_captioner_does(
    service: CaptionService, tiny_captioner: Captioner
) -> None:
    words = ["a", "dog", "sleeps"]
    story, alone = service.explain(NAME, noise(1), words), tiny_captioner.explain(noise(1), words).caption
    np.testing.assert_allclose(story.caption.weights, alone.weights, atol=1e-6)
    assert story.caption.word_log_probs == pytest.approx(alone.word_log_probs, abs=1e-5)
    assert story.caption.log_prob == pytest.approx(alone.log_prob, abs=1e-5)
    assert (story.caption.grid, story.image.size) == ((2, 2), (40, 30))
    assert story.elsewhere == pytest.approx((0, 0, 0), abs=1e-6)
    assert len(story.likeliest) == 4
    for step in story.likeliest:
        assert len(step) == 5
        assert sorted((word.probability for word in step), reverse=True) == [word.probability for word in step]
        assert not {word.text for word in step} & set(SPECIAL)
    ends = [word.probability for word in story.likeliest[-1] if word.text == ENDED]
    assert ends in ([], [pytest.approx(story.end_probability)])
    every = {word.text: word.probability for word in story.likeliest[1]}
    assert every.get("dog", story.words[1].probability) == pytest.approx(story.words[1].probability)
    with pytest.raises(ModelError, match="does not know 'zebra', '<end>'"):
        service.explain(NAME, noise(1), ["a", "zebra", "<end>"])


def test_the_likeliest_word_is_the_one_that_greedy_generates(service: CaptionService) -> None:
    [answer] = service.captions(NAME, noise(4), SHORT, ["greedy"])
    words = [word.text for word in answer.captions[0].words]
    story = service.explain(NAME, noise(4), words)
    assert [step[0].text for step in story.likeliest[: len(words)]] == words
    if answer.captions[0].finish_reason == "end":
        assert story.likeliest[-1][0].text == ENDED


def test_a_story_is_json(service: CaptionService) -> None:
    message = json.loads(json.dumps(service.explain(NAME, noise(1), ["a", "dog"]).to_dict(), allow_nan=False))
    assert message["caption"] == "a dog"
    assert message["model"] == {"name": NAME, "version": "one"}
    assert np.array(message["words"][1]["weights"]).shape == (2, 2)
    assert np.array(message["words"][1]["weights"]).sum() == pytest.approx(1, abs=1e-5)
    assert message["words"][1]["text"] == "dog"
    assert [set(word) for word in message["end"]["likeliest"]] == [{"text", "probability"}] * 5


def test_a_caption_without_a_word_has_a_story_too(service: CaptionService) -> None:
    message = service.explain(NAME, noise(1), []).to_dict()
    assert (message["caption"], message["words"], len(message["end"]["likeliest"])) == ("", [], 5)
    assert message["probability"] == pytest.approx(message["end"]["probability"])


def test_attention_on_no_cell_is_reported() -> None:
    weights = np.array([[0.5, 0.1, 0.1, 0.0], [0.25] * 4], dtype=np.float32)
    caption = Caption(("a", "dog"), -1.0, -1.0, (-0.5, -0.5), weights.reshape(-1, 2, 2), "end")
    explanation = Explanation(noise(1), caption, (), 0.5)
    assert explanation.elsewhere == pytest.approx((0.3, 0.0), abs=1e-6)


@pytest.mark.parametrize("settings", [{}, {"strategy": "greedy"}, {"strategy": "sample", "temperature": 0.5}])
def test_the_rest_of_a_caption_is_generated_again(service: CaptionService, settings: dict[str, object]) -> None:
    found = service.continue_caption(NAME, noise(1), ["cat", "runs"], {**SHORT, **settings})
    assert [word.text for word in found.words[:2]] == ["cat", "runs"]
    story = service.explain(NAME, noise(1), [word.text for word in found.words])
    assert [w.probability for w in found.words] == pytest.approx([w.probability for w in story.words], abs=1e-5)
    with pytest.raises(ModelError, match="does not know 'zebra'"):
        service.continue_caption(NAME, noise(1), ["zebra"], {})


def test_the_end_can_be_chosen_too(service: CaptionService) -> None:
    found = service.continue_caption(NAME, noise(1), ["a", "cat", ENDED], {})
    assert (found.caption, found.finish_reason) == ("a cat", "end")
    assert found.log_prob == pytest.approx(service.explain(NAME, noise(1), ["a", "cat"]).caption.log_prob)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def test_a_captioner_is_loaded_when_it_is_first_asked_and_a_broken_one_harms_no_other(
    project: Path, write_captioner: Callable[..., Path]
) -> None:
    one, two = (write_captioner(project / "models" / name) for name in ("one", "two"))
    (two / "weights.safetensors").write_bytes(b"no weights")
    service = CaptionService.open([str(one)])
    assert service.names[:1] == ("one",)
    assert service.names.count("two") == 1
    assert (service.is_loaded("one"), service.is_loaded("two")) == (True, False)
    with pytest.raises(ModelError, match=r"two.weights\.safetensors is damaged"):
        service.captioner("two")
    assert len(list(service.captions("one", noise(1), SHORT, ["greedy"]))) == 1
    shutil.copy(one / "weights.safetensors", two)
    assert len(list(service.captions("two", noise(1), SHORT, ["greedy"]))) == 1
    assert service.is_loaded("two")


@pytest.mark.usefixtures("project")
def test_without_a_captioner_one_line_generates_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordgaze.tracking.resolve.packaged_captioner", lambda name: None)
    with pytest.raises(ModelError, match=r"there is no captioner: .* run `dvc repro` here, or .* --model"):
        CaptionService.open()
    with pytest.raises(ModelError, match="nowhere holds no captioner"):
        CaptionService.open(["nowhere"])


def test_the_newest_captioner_is_opened(project: Path, write_captioner: Callable[..., Path]) -> None:
    for n, name in enumerate(("stage2", "stage1", "other")):
        folder = write_captioner(project / "models" / name, n)
        os.utime(folder / "captioner.json", (n % 2, n % 2))
    service = CaptionService.open()
    [model] = service.models
    assert model.name == "stage1"
    assert len(model.version) == 12
    assert service.names[0] == "stage1"
    assert {"stage1", "stage2", "other"} <= set(service.names)


def test_several_captioners_have_names_that_tell_them_apart(
    project: Path, write_captioner: Callable[..., Path]
) -> None:
    one, two, same = (str(write_captioner(project / name)) for name in ("a/one", "a/two", "b/two"))
    service = CaptionService.open([one, two, two])
    assert service.names[:2] == ("one", "two")
    assert [model.name for model in service.models] == ["one"]
    assert {len(list(service.captions(name, noise(1), SHORT, ["greedy"]))) for name in ("one", "two")} == {1}
    assert [model.name for model in service.models] == ["one", "two"]
    assert CaptionService.open([two, same]).names[:2] == (two, same)


def test_the_champion_comes_before_what_was_trained_last(
    project: Path, write_captioner: Callable[..., Path], empty_database: Path
) -> None:
    from wordgaze.tracking.package import log_captioner
    from wordgaze.tracking.promotion import promote
    from wordgaze.tracking.registry import register
    from wordgaze.tracking.runs import stage_run

    author = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "start"], check=True)
    shutil.copy(empty_database, "mlflow.db")
    folder = write_captioner(project / "models" / "stage2")
    noise(1).save("noise.png")
    assert CaptionService.open().models[0].name == "stage2"  # a store without a champion
    with stage_run("evaluate", {}) as run:
        run.tag("dataset", "scenes")
        log_captioner(run, folder, Path("noise.png"), {"test/beam/cider": 0.5})
    register()
    promote(force=True, reason="the first")
    assert CaptionService.open().models == (ModelVersion("captioner@champion", "version 1"),)
    assert CaptionService.open(["models:/captioner/1", "models/stage2"]).models[0] == ModelVersion(
        "captioner/1", "version 1"
    )


def test_a_registry_that_cannot_be_read_is_reported_and_not_passed_over(
    project: Path, write_captioner: Callable[..., Path]
) -> None:
    write_captioner(project / "models" / "stage2")
    Path("mlflow.db").write_text("no database")
    with pytest.raises(TrackingError, match="file is not a database"):
        CaptionService.open()


def test_captions_of_a_script_without_blanks_are_given_as_text(tiny_captioner: Captioner) -> None:
    vocabulary = Vocabulary((*SPECIAL, *"一只狗在跑步"), get_tokenizer("characters"))
    torch.manual_seed(2)
    decoder = Decoder(tiny_captioner.decoder.config, tiny_captioner.encoder.spec.channels, len(vocabulary)).eval()
    service = CaptionService([(ModelVersion(NAME, "one"), Captioner(decoder, vocabulary, tiny_captioner.encoder))])
    explained = service.explain(NAME, noise(1), "一只狗。")
    assert [word.text for word in explained.words] == ["一", "只", "狗"]
    assert service.explain(NAME, noise(1), ["一", "只", "狗"]).to_dict() == explained.to_dict()
    continued = service.continue_caption(NAME, noise(1), "一只狗", {**SHORT, "min_new_tokens": 5})
    assert continued.caption.startswith("一只狗") and " " not in continued.caption and len(continued.words) >= 5
    with pytest.raises(CaptionsError, match="has 102 words, more than"):
        service.explain(NAME, noise(1), "狗" * 102)


def test_a_request_whose_client_has_left_ends_between_two_words(
    service: CaptionService, tiny_captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadline = Deadline(60)
    monkeypatch.setattr(module, "current_deadline", lambda: deadline)
    answers = service.captions(NAME, noise(1), SHORT, ["beam", "greedy", "nucleus 0.9"])
    assert next(answers).strategy == "beam"
    deadline.cancel()
    with pytest.raises(RequestTimeoutError, match="cancelled"):
        next(answers)
    assert not service._turns


def test_a_request_does_not_wait_for_the_captioner_for_ever(
    service: CaptionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "current_deadline", lambda: Deadline(0.05))
    with service._turn(Deadline(20)), pytest.raises(RequestTimeoutError, match=r"longer than the 0\.05 seconds"):
        next(service.captions(NAME, noise(1), SHORT, ["beam"]))
    with service._turn(Deadline(20)), pytest.raises(RequestTimeoutError):
        service.explain(NAME, noise(1), "a dog")


def test_requests_take_turns_in_the_order_of_coming() -> None:
    service, served = CaptionService(), []

    def ask(number: int) -> None:
        with service._turn(Deadline(20)):
            served.append(number)

    with service._turn(Deadline(20)):
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for number, thread in enumerate(threads, start=2):
            thread.start()
            while len(service._turns) < number:
                time.sleep(0.001)
    for thread in threads:
        thread.join(20)
    assert served == list(range(8))
