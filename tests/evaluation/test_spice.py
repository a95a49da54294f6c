"""SPICE: what its Java program is given, what is read of it, and what is said where something is missing."""

import json
import stat
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest

from wordgaze.core.errors import ScoreError
from wordgaze.evaluation import spice
from wordgaze.evaluation.score import score_files
from wordgaze.evaluation.spice import SpiceProgram

CAPTIONS = [("a", "dog", "runs"), ("two", "men"), ()]
REFERENCES = [[("a", "dog"), ("the", "dog", "runs")], [("men",)], [("a", "cat")]]
JAVA = f"""#!{sys.executable}
import json, pathlib, sys
if sys.argv[1:] == ["-version"]:
    sys.exit('openjdk version "%s"')
memory, jar, program, given, out, found, *rest = sys.argv[1:]
assert (memory, jar, out, rest) == ("-Xmx8G", "-jar", "-out", ["-subset", "-silent"]), sys.argv
assert pathlib.Path(program).name == "spice-1.0.jar"
images = json.load(open(given, encoding="utf-8"))
(pathlib.Path(program).parent / "given.json").write_text(json.dumps(images))
f = lambda image: sum(image["test"] == each for each in image["refs"]) / len(image["refs"])
scores = [{{"image_id": image["image_id"], "scores": {{"All": {{"pr": 1, "re": 1, "f": f(image)}}}}}} for image in images]
%s
"""
WRITE = "pathlib.Path(found).write_text(json.dumps(scores[::-1]))"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's folder of SPICE, complete but for what is in its files; java is ``WRITE``."""
    package = tmp_path / "pycocoevalcap"
    (package / "spice/lib").mkdir(parents=True)
    for name in ("spice-1.0.jar", "lib/stanford-corenlp-3.6.0.jar", "lib/stanford-corenlp-3.6.0-models.jar"):
        (package / "spice" / name).touch()
    spec = ModuleSpec("pycocoevalcap", None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    monkeypatch.setattr(spice, "find_spec", lambda name: spec)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    java(tmp_path, WRITE)
    return package / "spice"


def java(tmp_path: Path, ending: str, version: str = "1.8.0_402") -> None:
    program = tmp_path / "bin/java"
    program.parent.mkdir(exist_ok=True)
    program.write_text(JAVA % (version, ending))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_the_program_is_given_all_captions_and_the_mean_is_read(folder: Path) -> None:
    other = [("dog",), ("men",), ("a", "cat")]
    assert SpiceProgram.find().scores({"mine": CAPTIONS, "theirs": other}, REFERENCES) == {
        "mine": 0.0,
        "theirs": pytest.approx(2 / 3),
    }
    assert json.loads((folder / "given.json").read_text())[0] == {
        "image_id": 0, "test": "dog", "refs": ["a dog", "the dog runs"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("spice-1.0.jar", "SPICE needs spice-1.0.jar of the package pycocoevalcap; run pip install pycocoevalcap"),
        ("lib/stanford-corenlp-3.6.0-models.jar", "3.6.0-models.jar; download it with: python -c"),
        ("../../bin/java", "SPICE needs Java 8 to 14, and java is not on PATH; install such a Java runtime"),
    ],
)
def test_what_is_missing_is_named(folder: Path, missing: str, message: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ScoreError, match=message):
        SpiceProgram.find()


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22", "14"])
def test_a_java_with_its_javascript_is_taken(folder: Path, tmp_path: Path, version: str) -> None:
    java(tmp_path, WRITE, version)
    assert SpiceProgram.find().java == str(tmp_path / "bin/java")


@pytest.mark.parametrize(
    ("version", "found"),
    [("15.0.2", "15"), ("17.0.1", "17"), ("21-ea", "21"), ("1.7.0_80", "7"), ("?", "of an unknown")],
)
def test_a_java_whose_program_would_fail_at_its_end_is_refused(
    folder: Path, tmp_path: Path, version: str, found: str
) -> None:
    java(tmp_path, WRITE, version)
    with pytest.raises(ScoreError, match=rf"SPICE needs Java 8 to 14, and \S+/bin/java is {found}.*first on PATH"):
        SpiceProgram.find()


def test_the_package_is_named_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spice, "find_spec", lambda name: None)
    with pytest.raises(ScoreError, match="run pip install pycocoevalcap"):
        SpiceProgram.find()


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("sys.exit('Exception in thread main: no heap')", r"exit code 1 \(Exception in thread main: no heap\)"),
        (
            "sys.exit('Parsing references\\njava.lang.OutOfMemoryError: heap\\n\\tat edu.Parser')",
            "OutOfMemoryError: heap",
        ),
        ("sys.exit('Parsing references\\nended\\n')", r"exit code 1 \(ended\)"),
        ("sys.exit(3)", r"exit code 3 \(without a message\)"),
        ("", r"exit code 0 \(without a message\)"),
        ("pathlib.Path(found).write_text('[')", "scores that cannot be read"),
        ("pathlib.Path(found).write_text('[{}]')", "scores that cannot be read"),
        ("pathlib.Path(found).write_text(json.dumps(scores[:2]))", "scored 2 of 3 images"),
    ],
)
def test_a_failure_is_one_line(folder: Path, tmp_path: Path, ending: str, message: str) -> None:
    java(tmp_path, ending)
    with pytest.raises(ScoreError, match=message) as raised:
        SpiceProgram.find().scores({"mine": CAPTIONS}, REFERENCES)
    assert "\n" not in str(raised.value)


def test_a_report_has_spice_where_it_is_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wordgaze.evaluation.score.toolkit_meteor", lambda systems, references: {})
    captions, references = tmp_path / "mine.csv", tmp_path / "truth.csv"
    captions.write_text("image,caption\na.jpg,A dog runs.\nb.jpg,two men\n")
    references.write_text("image,caption\na.jpg,a dog runs\nb.jpg,three men\n")
    plain, with_spice = (score_files(captions, references, spice=spice) for spice in (False, True))
    assert plain.summary.scores["mine"].spice_toolkit is None
    assert "spice_toolkit" not in plain.model_dump_json()
    assert with_spice.summary.scores["mine"].spice_toolkit == 0.5
    with pytest.raises(ScoreError, match="SPICE is for English, and the tokenizer is unicode; leave out --spice"):
        score_files(captions, references, tokenizer="unicode", spice=True)


def test_the_published_program_gives_1_to_a_caption_that_is_its_reference() -> None:
    try:
        program = SpiceProgram.find()
    except ScoreError as error:
        pytest.skip(str(error))
    words = ("a", "black", "dog", "runs", "on", "green", "grass")
    assert program.scores({"mine": [words]}, [[words]]) == {"mine": pytest.approx(1)}


def test_the_toolkit_has_the_program_under_this_name() -> None:
    spec = find_spec("pycocoevalcap")
    if spec is None:
        pytest.skip("pycocoevalcap is not installed")
    assert any((Path(folder) / "spice/spice-1.0.jar").is_file() for folder in spec.submodule_search_locations or ())
