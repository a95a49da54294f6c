"""A params.yaml of another's hand: every fault of YAML is a ParamsError in one line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.config.params import load_params, parse_params
from wordgaze.config.yaml_files import parse_yaml
from wordgaze.core.errors import ParamsError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 2001-99-99", "is not YAML: month must be in 1..12"),
        ("seed: 2001-01-01", "seed must be an integer, not datetime.date(2001, 1, 1)"),
        ("seed: " + "{a: " * 2000, "nested too deeply"),
        ("dataset: &a\n  scenes: *a\n", "refers to itself"),
        ("a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*{'a' if not n else f'b{n - 1}'}, *{'a' if not n else f'b{n - 1}'}]\n"
                                   for n in range(20)), "more than 10000 values"),
        ("seed: " + "9" * 5000, "is not YAML: it has an integer of more than 4300 digits"),
        ("seed: 0x" + "f" * 5000, "seed must be less than 2147483648, not an integer of 20000 bits"),
        ("#" * 100_001, "more than 100000 bytes"),
        ("".join(f"k{n}: 1\n" for n in range(60)), "and 10 more"),
        ("x" * 1000 + ": 1", "is not a parameter"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError) as error:
        load_params(tmp_path / "params.yaml")
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "params.yaml"))
    assert len(str(error.value)) < 4000


def test_a_folder_is_no_params_file(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="cannot be read"):
        load_params(tmp_path)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_params(parse_yaml(text, "x"), "x")
    except ParamsError as error:
        assert str(error).startswith("x")
