"""The short form of the campaign: mutated inputs give a result or an error of wordgaze, whatever they are."""

from pathlib import Path

import pytest

from tests.fuzz.campaign import run, wrong
from tests.fuzz.mutation import mutated


@pytest.mark.parametrize(
    ("kind", "tries"),
    [("pictures", 60), ("captions", 120), ("boxes", 80), ("params", 25), ("archives", 60), ("captioners", 12)],
)
def test_mutated_inputs_are_read_or_refused(kind: str, tries: int, tmp_path: Path) -> None:
    outcomes = run(kind, tries, seed=3, folder=tmp_path)
    assert wrong(outcomes) == []
    assert outcomes["read"] > 0
    assert outcomes["refused"] > 0


def test_an_input_that_is_wrong_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> object:
        raise KeyError(path.name)

    monkeypatch.setattr("wordgaze.config.params.load_params", broken)
    outcomes = run("params", 3, 1, tmp_path, tmp_path / "kept")
    assert all(outcome.startswith(("foreign KeyError", "seed ")) for outcome in wrong(outcomes))
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_mutations_are_those_of_the_seed() -> None:
    import random

    first, second = (mutated(b"seed: 1", random.Random(5), b"other", True) for _ in range(2))
    assert first == second
