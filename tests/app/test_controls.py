"""What the controls and the requests of programs may hold."""

from typing import Any

import pytest

from wordgaze.app.controls import (
    FIELDS,
    STRATEGIES,
    Choices,
    cut_note,
    own_preset,
    own_values,
    read_controls,
    read_seed,
    read_settings,
    read_strategies,
    with_labels,
)
from wordgaze.core.errors import ParamsError
from wordgaze.generation.config import GenerationConfig

VALUES = (True, 5, 1, 20, 1.0, 0, 1.0, "Man,  woman", None)


def test_the_controls_make_choices() -> None:
    choices = read_controls(["two", ["one", "two"], 0.5, ["nucleus 0.9", "beam"], *VALUES, 3])
    assert choices.models == ("two", "one")
    assert choices.strategies == ("beam", "nucleus 0.9")
    assert (choices.min_confidence, choices.seed) == (0.5, 3)
    assert choices.settings["bad_words"] == ["man", "woman"]
    assert (choices.settings["name_objects"], choices.settings["num_beams"]) == (True, 5)
    assert choices.settings["force_words"] == []


@pytest.mark.parametrize(
    ("model", "strategies", "message"),
    [(None, ["beam"], "no captioner is chosen"), ("one", [], "no strategy is chosen"), ("one", None, "no strategy")],
)
def test_what_is_not_chosen_is_asked_for(model: str | None, strategies: list[str] | None, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        read_controls([model, None, None, strategies, *VALUES, None])


def test_strategies_that_a_captioner_does_not_support_are_left_out() -> None:
    choices = Choices(("one",), ("beam", "neighbours"), 0, {}, 0)
    assert choices.supported("one", ["greedy", "beam"]) == ["beam"]
    with pytest.raises(ParamsError, match=r"one supports none of the chosen strategies \(beam, neighbours\)"):
        choices.supported("one", ["greedy"])


@pytest.mark.parametrize(
    ("strategy", "chosen"),
    [
        ("beam", ["beam", "greedy"]),
        ("neighbours", ["neighbours", "greedy"]),
        ("mbr", ["mbr", "greedy"]),
        ("diverse", ["diverse", "greedy"]),
        ("sample", ["sample", "greedy"]),
        ("greedy", ["greedy", "nucleus 0.9"]),
    ],
)
def test_two_strategies_are_chosen_at_first_the_captioner_s_own_before_the_other(
    strategy: Any, chosen: list[str]
) -> None:
    config = GenerationConfig(strategy=strategy)
    assert own_preset(config) == chosen[0]
    assert own_values(config)[0] == chosen == sorted(chosen, key=STRATEGIES.index)


def test_the_controls_hold_a_captioner_s_own_settings_as_far_as_they_reach() -> None:
    config = GenerationConfig(
        strategy="neighbours", name_objects=True, num_beams=60, max_new_tokens=12, bad_words=("man", "dog")
    )
    _, *values = own_values(config)
    shown = dict(zip(FIELDS, values, strict=True))
    assert (shown["name_objects"], shown["num_beams"], shown["max_new_tokens"]) == (True, 50, 12)
    assert (shown["bad_words"], shown["force_words"]) == ("man, dog", "")
    assert cut_note(config) == "This page reaches less than its own settings: Number of beams 50 instead of 60."
    assert cut_note(GenerationConfig(num_beams=50)) == ""


def test_a_message_names_the_controls_by_their_labels() -> None:
    message = "num_beams is 3 and num_return_sequences 5; temperature 0.7 and my_num_beams stay"
    assert (
        with_labels(message)
        == "Number of beams is 3 and Captions per strategy 5; temperature 0.7 and my_num_beams stay"
    )


def test_null_stands_for_the_default() -> None:
    assert (read_settings(None), read_strategies(None, "neighbours"), read_seed(None)) == ({}, ["neighbours"], 0)


@pytest.mark.parametrize("value", ["beam", [], 3, [3], [["beam"]], {"beam": 1}])
def test_strategies_are_a_list_of_names(value: Any) -> None:
    with pytest.raises(ParamsError, match=r"strategies is .* give a list of names"):
        read_strategies(value, "beam")


@pytest.mark.parametrize("value", ["num_beams", [], 3, True])
def test_settings_are_an_object(value: Any) -> None:
    with pytest.raises(ParamsError, match=r"settings is .* give an object"):
        read_settings(value)


@pytest.mark.parametrize("value", [-1, 1.5, 2**80, "1", True, [1], float("inf"), float("nan")])
def test_a_seed_is_an_integer(value: Any) -> None:
    with pytest.raises(ParamsError, match=r"the seed is .* give an integer from 0"):
        read_seed(value)


def test_a_strategy_that_is_asked_for_often_is_computed_once() -> None:
    assert read_strategies(["beam"] * 1000 + ["greedy"], "beam") == ["beam", "greedy"]


@pytest.mark.parametrize(
    ("place", "wrong", "message"),
    [
        (0, 7, "Captioner does not hold"),
        (0, ["one"], "Captioner does not hold"),
        (1, "two", "Compare with does not hold"),
        (1, [["two"]], "Compare with does not hold"),
        (2, "high", "the minimum confidence is not"),
        (2, float("nan"), "the minimum confidence is not"),
        (2, [0.5], "the minimum confidence is not"),
        (3, "beam", "Strategies does not hold"),
        (3, {"beam": 1}, "Strategies does not hold"),
        (11, ["dog"], "bad_words is not a text"),
        (12, "x" * 10_001, "force_words is not a text"),
        (13, "seed", "the seed is 'seed'"),
    ],
)
def test_what_no_control_can_hold_is_refused(place: int, wrong: Any, message: str) -> None:
    values: list[Any] = ["one", None, None, ["beam"], None, 5, 1, 20, 1.0, 0, 1.0, "", "", 0]
    assert read_controls(values).models == ("one",)
    values[place] = wrong
    with pytest.raises(ParamsError, match=message) as raised:
        read_controls(values)
    assert len(str(raised.value)) < 150
