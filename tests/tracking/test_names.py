"""``tracking.model_name`` of params.yaml is the name of the registered model."""

from pathlib import Path

import pytest

from wordgaze.core.errors import ParamsError
from wordgaze.tracking.names import champion_address, model_name


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "params.yaml"


@pytest.mark.parametrize("text", [None, "", "seed: 1\n", "tracking:\n", "tracking: {}\n", "- a list\n"])
def test_the_default_is_captioner(params: Path, text: str | None) -> None:
    if text is not None:
        params.write_text(text)
    assert (model_name(), champion_address()) == ("captioner", "models:/captioner@champion")


@pytest.mark.parametrize("name", ["birds", "a", "my birds", "v1.2_birds-x", "Vögel", "鸟"])
def test_a_name_is_read_whatever_else_the_file_has(params: Path, name: str) -> None:
    params.write_text(f"tracking:\n  model_name: {name}\ntrain_stage1:\n  unknown: 1\n", encoding="utf-8")
    assert champion_address() == f"models:/{name}@champion"


@pytest.mark.parametrize("name", ["a/b", "a:b", "a@b", "", " a", "a ", "a'b", "3", "[a]"])
def test_a_name_that_an_address_cannot_have_is_refused(params: Path, name: str) -> None:
    params.write_text(f"tracking:\n  model_name: {name if name in ('3', '[a]') else repr(name)}\n")
    with pytest.raises(ParamsError, match=r"params.yaml: tracking.model_name(:| must be a text)"):
        model_name()


def test_a_file_that_is_not_yaml_is_refused(params: Path) -> None:
    params.write_text("tracking: [")
    with pytest.raises(ParamsError, match=r"params\.yaml is not YAML"):
        model_name()
