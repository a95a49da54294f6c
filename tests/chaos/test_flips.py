"""One changed byte, or a cut file, of any kind that wordgaze writes is harmless or named; never another result."""

from itertools import islice
from typing import TYPE_CHECKING

import pytest

from tests.chaos.flips import TinyProject, tries

if TYPE_CHECKING:
    from wordgaze.vision.encoders import Encoder


@pytest.fixture(scope="module")
def tiny_project(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: "Encoder") -> TinyProject:
    return TinyProject(tmp_path_factory.mktemp("flips") / "project", tiny_encoder)


@pytest.mark.parametrize("truncate", [False, True])
def test_damage_of_any_file_is_harmless_or_named(tiny_project: TinyProject, truncate: bool) -> None:
    count = 2 * len(tiny_project.files())
    outcomes = list(islice(tries(tiny_project, seed=count, truncate=truncate), count))
    assert [outcome for outcome in outcomes if not outcome.is_allowed] == []
    assert {outcome.kind for outcome in outcomes} == {"same", "named"}
