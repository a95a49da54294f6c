"""The plan for larger data sets in docs/explanation/scale.md: its tables are those that its script prints."""

import importlib.util
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "benchmarks" / "scale_plan.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def plan() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scale_plan", ROOT / "benchmarks" / "scale_plan.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def k() -> dict[str, float]:
    return {name: float(value["value"]) for kind in ("measured", "assumed") for name, value in SETTINGS[kind].items()}


def test_tables_of_page_are_those_of_script(plan: ModuleType) -> None:
    stored = (ROOT / "benchmarks" / "scale_plan.md").read_text(encoding="utf-8")
    assert plan.report(SETTINGS) == stored, "run python benchmarks/scale_plan.py --output benchmarks/scale_plan.md"


def test_every_measured_coefficient_names_a_benchmark_that_exists() -> None:
    for name, coefficient in SETTINGS["measured"].items():
        script = coefficient["source"].split()[0].rstrip(":,")
        assert script == "stage" or (ROOT / "benchmarks" / script).is_file(), name


def test_a_hundred_machines_are_a_hundred_times_as_fast_where_the_bucket_allows_it(
    plan: ModuleType, k: dict[str, float]
) -> None:
    data = plan.Data("x", 4_000_000, 1, 1000, (1, 0), 1024, 1000)
    one = plan.Machine("one", 1, 16, 0, 1e12, 1e12)
    ratio = plan.caption_all(data, one, k).seconds / plan.caption_all(data, replace(one, nodes=100), k).seconds
    assert 90 < ratio <= 100.5


def test_slow_network_is_named_as_bottleneck(plan: ModuleType, k: dict[str, float]) -> None:
    data = plan.Data("x", 100_000, 1, 1e6, (1, 0), 1024, 1000)
    stage = plan.caption_all(data, plan.Machine("slow", 1, 64, 0, 1e6, 1e12), k)
    assert stage.bottleneck == "network"
    assert stage.seconds == pytest.approx(100_000, rel=0.02)  # 1 MB each at 1 MB/s


def test_more_ranks_than_images_of_a_step_gain_nothing(plan: ModuleType, k: dict[str, float]) -> None:
    data = plan.Data("x", 10_000, 5, 1e5, (1, 0), 16, 0)
    step = plan.train("t", data, plan.Machine("m", 1, 16, 0, 1e9, 1e12), k, "train", 1)
    more = plan.train("t", data, plan.Machine("m", 1, 64, 0, 1e9, 1e12), k, "train", 1)
    assert step.seconds == more.seconds


@given(images=st.integers(1, 100_000), servers=st.integers(1, 50), seconds=st.floats(0.01, 10))
def test_queue_lasts_as_long_as_its_slowest_resource_needs(
    plan: ModuleType, images: int, servers: int, seconds: float
) -> None:
    shards = -(-images // plan.SHARD)
    stations = [plan.Station("fast", 1, 0.001), plan.Station("slow", servers, seconds)]
    stage = plan.run_shards("x", images, stations, 0.0)
    rounds = -(-shards // servers)
    assert stage.seconds == pytest.approx(rounds * seconds, rel=0.01, abs=0.001 * (shards + 1))
    assert stage.bottleneck == "slow" or seconds / servers <= 0.001 * 1.0001
