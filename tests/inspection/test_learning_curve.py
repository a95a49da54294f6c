import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.config.params import load_params
from wordgaze.core.errors import ParamsError
from wordgaze.data.prepared import Prepared
from wordgaze.inspection.curve_chart import draw_learning_curve
from wordgaze.inspection.learning_curve import (
    METRICS,
    CurvePoint,
    default_sizes,
    fitted_curve,
    gains,
    measure_learning_curve,
    subset,
)
from wordgaze.metrics.intervals import Interval
from wordgaze.text.vocabulary import SPECIAL, Vocabulary

if TYPE_CHECKING:
    from tests.conftest import Project

SIZES = (50, 200, 1000, 6000)


def point(images: int) -> CurvePoint:
    value = 0.6 - 1.2 * images**-0.4
    scores = {name: Interval(value, value - 0.01, value + 0.01) for name in METRICS}
    return CurvePoint(images, 3, 100.0, 60.0, scores, dict.fromkeys(METRICS, 0.005))


def test_a_curve_is_extrapolated_and_checks_itself_on_the_largest_size() -> None:
    curve = fitted_curve("flickr8k", 1000, "cider", [point(n) for n in SIZES])
    assert [each.images for each in curve.predictions] == [12_000, 24_000]
    assert curve.check is not None
    assert curve.check.images == 6000
    assert curve.check.low <= point(6000).scores["cider"].value <= curve.check.high
    per_doubling = [gain for _, gain in gains(curve)]
    assert all(a > b > 0 for a, b in pairwise(per_doubling))
    two = fitted_curve("flickr8k", 1000, "cider", [point(n) for n in SIZES[:2]])
    assert (two.law, list(two.predictions), two.check) == (None, [], None)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_picture_has_every_point_as_text(number: int) -> None:
    drawn = draw_learning_curve(fitted_curve("a & b", 10, "cider", [point(n) for n in SIZES[:number]]))
    root = ElementTree.fromstring(drawn)
    assert len(root.findall(".//{*}circle")) == number
    assert ("extrapolated" in drawn) == (number >= 3)
    assert all(f"{n:,} images" in root.attrib["aria-label"] for n in SIZES[:number])


@given(st.integers(1, 300_000))
def test_default_sizes_grow_up_to_the_whole_data_set(available: int) -> None:
    sizes = default_sizes(available)
    assert sizes[-1] == available
    assert sizes == sorted(set(sizes))
    assert sizes[0] >= 1
    assert len(sizes) >= 3 or available < 8


def test_the_sizes_of_flickr8k_are_those_of_its_figure() -> None:
    assert default_sizes(6000) == [50, 200, 1000, 6000]


@given(st.integers(0, 20), st.integers(1, 40), st.integers(1, 40))
def test_subsets_of_a_seed_are_nested_and_have_the_words_of_their_captions(seed: int, first: int, second: int) -> None:
    train = {f"{i:02}.jpg": [["a", f"word{i % 7}"]] for i in range(40)}
    whole = Prepared({"train": train, "dev": {"d": [["a"]]}, "test": {}}, {}, Vocabulary(SPECIAL))
    small, large = (subset(whole, size, seed, 2, 0) for size in sorted((first, second)))
    assert len(small.captions["train"]) == min(first, second)
    assert small.captions["train"].items() <= large.captions["train"].items()
    assert set(small.vocabulary.words) <= set(large.vocabulary.words)
    assert small.captions["dev"] == whole.captions["dev"]


@pytest.mark.slow
def test_a_curve_of_a_finished_project_leaves_its_models_and_continues(
    copied: "Callable[[], Project]", monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copied()
    monkeypatch.chdir(project.root)
    monkeypatch.setattr("wordgaze.inspection.learning_curve.MIN_BATCHES", 2)
    params = load_params(Path("params.yaml"))
    settings = params.train_stage1.model_copy(update={"epochs": 1, "batch_size": 8})
    params = params.model_copy(update={"train_stage1": settings})
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in Path("models").rglob("*")}
    trained: list[tuple[int, int]] = []

    def on_training(images: int, seed: int) -> None:
        trained.append((images, seed))

    curve = measure_learning_curve(params, [8, 16], [2, 1], "cider", on_training)
    assert trained == [(8, 1), (8, 2), (16, 1)]
    assert [(each.images, each.seeds) for each in curve.points] == [(8, 2), (16, 1)]
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in Path("models").rglob("*")} == before
    more = measure_learning_curve(params, [8, 16, 20], [1], "cider", on_training)
    assert trained[3:] == [(20, 1)]
    assert more.law is not None
    assert all(each.suffix == ".json" for each in Path(".scratch/learning-curve").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "seeds", "reason"),
    [([10_000], [1], "--sizes 10000"), ([0], [1], "--sizes 0"), ([2, 4], [1, 2, 3], "--seeds")],
)
def test_sizes_that_the_data_set_cannot_fill_are_refused(
    finished: "Project", monkeypatch: pytest.MonkeyPatch, sizes: list[int], seeds: list[int], reason: str
) -> None:
    monkeypatch.chdir(finished.root)
    with pytest.raises(ParamsError, match=reason):
        measure_learning_curve(load_params(Path("params.yaml")), sizes, seeds, "cider", lambda _images, _seed: None)
