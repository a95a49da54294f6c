"""``import wordgaze``: the exported names, which are documented, and which are imported only when they are used."""

import inspect
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import wordgaze

SOURCE = Path(__file__).parents[1] / "src"
NAMES = ["Caption", "Captioner", "Explanation", "GenerationConfig", "OnnxCaptioner", "WordgazeError", "load", "score"]


def python(code: str) -> str:
    """What a fresh interpreter prints that finds this package and its dependencies."""
    prefix = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); "
    return subprocess.run([sys.executable, "-c", prefix + code], capture_output=True, text=True, check=True).stdout


def test_the_exported_names_are_these() -> None:
    assert sorted(wordgaze.__all__) == sorted([*NAMES, "__version__"])
    assert set(wordgaze.__all__) <= set(dir(wordgaze))


@pytest.mark.parametrize("name", NAMES)
def test_every_exported_name_has_a_docstring(name: str) -> None:
    exported = getattr(wordgaze, name)
    assert exported.__name__ == name
    assert len(inspect.getdoc(exported) or "") > 40
    assert not (inspect.getdoc(exported) or "").startswith(f"{name}(")  # what dataclasses write by themselves
    if inspect.isclass(exported):
        members = {
            n: m
            for n, m in vars(exported).items()
            if not n.startswith("_") and (callable(m) or isinstance(m, property))
        }
        assert [n for n, member in members.items() if not inspect.getdoc(member)] == []


@pytest.mark.parametrize(
    "name",
    [
        "Captioner.caption",
        "Captioner.explain",
        "Captioner.load",
        "GenerationConfig",
        "OnnxCaptioner.load",
        "load",
        "score",
    ],
)
def test_what_can_fail_names_its_errors(name: str) -> None:
    exported: object = wordgaze
    for part in name.split("."):
        exported = getattr(exported, part)
    assert "Raise" in (inspect.getdoc(exported) or "")


def test_settings_that_cannot_be_computed_raise_the_documented_error() -> None:
    with pytest.raises(wordgaze.WordgazeError, match="is not a valid temperature"):
        wordgaze.GenerationConfig(temperature=1e-40)


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert wordgaze.__version__ == version("wordgaze")


def test_a_package_that_is_not_installed_has_a_version_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert wordgaze._version() == "0+unknown"


def test_the_import_is_lazy() -> None:
    heavy = {"torch", "numpy", "PIL", "pydantic", "timm", "mlflow", "typer", "rich"}
    assert python(f"import wordgaze; dir(wordgaze); print({heavy} & sys.modules.keys())") == "set()\n"
    modules = python("before = set(sys.modules); import wordgaze; print(*sorted(set(sys.modules) - before))").split()
    assert len(modules) < 40  # of the standard library: typing, importlib and what they import
    assert [name for name in modules if name.startswith("wordgaze")] == ["wordgaze"]


def test_the_captioner_needs_no_package_of_the_pipeline() -> None:
    optional = {"dvc", "filelock", "gradio", "great_expectations", "mlflow", "pandas", "pyarrow", "ruamel.yaml"}
    code = f"import wordgaze; wordgaze.load; wordgaze.Captioner; print({optional} & sys.modules.keys())"
    assert python(code) == "set()\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'wordgaze' has no attribute 'Captionner'"):
        wordgaze.Captionner  # noqa: B018


def test_type_checkers_find_the_types() -> None:
    assert files("wordgaze").joinpath("py.typed").is_file()
