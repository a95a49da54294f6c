"""What the gate asks: a better score, and nothing guarded that becomes worse."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wordgaze.config.params import GateParams, GateTolerances
from wordgaze.core.errors import TrackingError
from wordgaze.generation.config import GenerationConfig
from wordgaze.text.tokenizers import Tokenizer, get_tokenizer
from wordgaze.tracking import gate
from wordgaze.tracking.gate import GateResult, pass_gate
from wordgaze.tracking.gate_captions import Candidate
from wordgaze.tracking.gate_data import GateData, GateIdentity

REFERENCES = [[f"a {animal} runs over the {place}"] for animal in ("dog", "cat", "horse") for place in range(12)]
RIGHT = [texts[0] for texts in REFERENCES]
WRONG = ["a man with a hat" if number % 3 else text for number, text in enumerate(RIGHT)]


def gate_data(num_images: int = len(REFERENCES), tokenizer: Tokenizer | None = None) -> GateData:
    tokenizer = tokenizer or get_tokenizer("ptb")
    references = tuple(tuple(tuple(tokenizer.tokenize(text)) for text in texts) for texts in REFERENCES[:num_images])
    identity = GateIdentity(
        name="dev", num_images=num_images, pictures="", references="", tokenizer=tokenizer.name, checksum=""
    )
    return GateData(identity, (None,) * num_images, references, tokenizer, (), frozenset(), ())  # type: ignore[arg-type]


def compared(
    challenger: Sequence[str],
    champion: Sequence[str],
    seconds: tuple[float, float] = (1.0, 1.0),
    data: GateData | None = None,
    **asked: object,
) -> GateResult:
    """The result for given captions and times."""
    data = data or gate_data()
    captions = {2: challenger, 1: champion}
    settings_ = GateParams.model_validate({"tolerances": GateTolerances(hallucination=0.5), **asked})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "gate_captions", lambda candidate, _: list(captions[candidate.version]))
        patch.setattr(gate, "seconds_per_image", lambda candidates, _: list(seconds)[: len(candidates)])
        patch.setattr(Candidate, "num_bytes", property(lambda self: 1e6 * self.version))
        two = [Candidate(version, Path(), GenerationConfig()) for version in (2, 1)]
        return pass_gate(two[0], two[1], data, settings_)


def test_a_better_challenger_passes_and_a_worse_one_does_not() -> None:
    better = compared(RIGHT, WRONG)
    assert better.failures == ()
    assert "difference +" in better.gain
    assert [row.name for row in better.rows if row.passed is not None] == ["cider", *gate.GUARDED]
    worse = compared(WRONG, RIGHT).failures
    assert worse[0].startswith("it is not better at a confidence of 0.95: CIDEr")


@given(st.lists(st.sampled_from(["a dog runs", "a cat", "the", ""]), min_size=36, max_size=36))
@settings(max_examples=5)
def test_no_challenger_with_the_same_captions_passes(captions: list[str]) -> None:
    assert compared(captions, captions).failures


@given(st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999]))
@settings(max_examples=5)
def test_every_confidence_can_be_reached(confidence: float) -> None:
    assert compared(RIGHT, ["a hat"] * 36, confidence=confidence, tolerances=GateTolerances(length=9.0)).failures == ()


def test_a_chance_difference_does_not_pass() -> None:
    barely = [*WRONG[:-1], RIGHT[-1]]
    assert compared(barely, WRONG).failures


@pytest.mark.parametrize(
    ("captions", "seconds", "tolerances", "failure"),
    [
        (
            [f"{text} and then over it once more" for text in RIGHT],
            (1, 1),
            {},
            r"length \(words per caption\) goes from",
        ),
        ([f"{text} {text.split()[-1]}" for text in RIGHT], (1, 1), {}, r"repetition .* from 0 to 1, beyond"),
        ([f"{text} bus" for text in RIGHT], (1, 1), {}, r"hallucination \(share that names an absent object\)"),
        (RIGHT, (2.1, 1), {}, r"latency \(seconds per image\) goes from 1 to 2\.1, beyond its tolerance"),
        (RIGHT, (1, 1), {"size": 0.5}, r"size \(megabytes\) goes from 1 to 2, beyond its tolerance"),
    ],
)
def test_what_is_guarded_may_not_become_worse(
    captions: list[str], seconds: tuple[float, float], tolerances: dict[str, float], failure: str
) -> None:
    champion = ["a cow on a field", *WRONG[1:]]
    champion = [text.replace("man", "tree").replace("hat", "leaf") for text in champion]
    found = "; ".join(compared(captions, champion, seconds, tolerances=GateTolerances(**tolerances)).failures)
    assert re.search(failure, found), found


def test_a_gate_set_that_is_too_small_and_a_metric_that_it_does_not_define_are_named() -> None:
    with pytest.raises(TrackingError, match=r"dev has 29 images, a comparison needs 30; give a larger one"):
        compared(RIGHT[:29], WRONG[:29], data=gate_data(29))
    with pytest.raises(TrackingError, match=r"meteor is not defined for the gate set dev .* set --metric to another"):
        compared(RIGHT, WRONG, data=gate_data(tokenizer=get_tokenizer("unicode")), metric="meteor")


def test_objects_are_counted_in_english_alone() -> None:
    rows = {row.name: row for row in compared(RIGHT, WRONG, data=gate_data(tokenizer=get_tokenizer("unicode"))).rows}
    assert (rows["hallucination"].challenger, rows["hallucination"].passed) == (None, None)
