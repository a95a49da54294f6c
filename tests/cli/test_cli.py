"""The command line as a whole: help, version, errors and optional packages."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import wordgaze
from tests.cli.conftest import CHECKOUT, Refused, Run, files
from wordgaze import cli
from wordgaze.cli import main
from wordgaze.core.errors import TrackingError

LIGHT = """
import sys
from wordgaze.cli import app
try:
    app(["--help"], prog_name="wordgaze")
except SystemExit as stop:
    assert not stop.code
heavy = {"PIL", "dvc", "great_expectations", "mlflow", "nltk", "numpy", "pandas", "pydantic", "pyarrow", "ruamel",
         "safetensors", "timm", "torch", "torchvision"}
print("loaded:", sorted(heavy & set(sys.modules)))
"""


def test_help_loads_nothing_heavy() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", LIGHT],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.endswith("loaded: []\n")


def test_help_lists_the_captioning_commands_first_and_every_command(run: Run) -> None:
    code, out, err = run("-h")
    assert (code, err) == (0, "")
    commands = re.findall(r"^(?:│ |  )([a-z][a-z0-9_-]*) ", out, re.MULTILINE)
    assert commands == [
        *("caption", "explain", "compare", "look", "caption-many"),
        *("score", "audit", "document-frequencies", "ground", "faithfulness", "spread", "summary"),
        *("data", "learning-curve"),
        *("app", "serve", "corrections", "watch", "select"),
        *("export", "conformance"),
        *("register", "promote", "models", "pack", "card", "retrain"),
        *("init", "offline-plots", "fingerprint", "doctor", "recipe"),
        *("check_params", "download", "prepare", "finetune", "features", "train_stage1", "train_stage2", "evaluate"),
    ]
    assert run("--help") == (code, out, err)


def test_help_is_readable_without_rich() -> None:
    """Help texts hold no markup: a terminal without rich shows them as they are."""
    plain = subprocess.run(
        [sys.executable, "-m", "wordgaze", "caption", "--help"],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "src"), "TYPER_USE_RICH": "0", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert plain.stdout.startswith("Usage: wordgaze caption [OPTIONS] ")
    assert "--num-beams" in plain.stdout
    assert "[/" not in plain.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("caption a.jpg --num-beams x", "--num-beams must be an integer, not x; see wordgaze caption -h"),
        ("caption a.jpg --seed -1", "--seed must be at least 0, not -1; see wordgaze caption -h"),
        ("caption a.jpg --sidecar foo", "--sidecar must be txt or xmp, not 'foo'; see wordgaze caption -h"),
        ("caption", "PICTURES is missing; give images, folders or --files-from; see wordgaze caption -h"),
        ("look a.jpg -o a.png", "--words is missing; see wordgaze look -h"),
        ("capton a.jpg", "there is no command capton; did you mean caption or caption-many?"),
        ("data chek", "there is no command chek; did you mean check?"),
        ("caption --outpu a.csv", "there is no option --outpu; did you mean --output?"),
        ("caption --zebra", "there is no option --zebra; see wordgaze caption -h"),
        ("caption a.jpg -o", "-o needs a value"),
        ("caption --json=3", "--json takes no value"),
        ("explain a.jpg b.jpg", "b.jpg is more than the command takes; see wordgaze explain -h"),
    ],
)
def test_wrong_usage_is_one_sentence_in_our_words(run: Run, arguments: str, line: str) -> None:
    assert run(*arguments.split()) == (2, "", f"wordgaze: {line}\n")


def test_a_group_without_a_command_shows_its_help(run: Run) -> None:
    code, out, _ = run("data")
    assert code == 2
    assert "wordgaze data [OPTIONS] COMMAND" in out


def test_help_breaks_no_line_in_the_middle_of_a_paragraph(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert (
        " That a challenger is not better than the champion is a result and not an error. " in run("retrain", "-h")[1]
    )


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version") == (0, f"wordgaze {wordgaze.__version__}\n", "")


def test_verbosity_is_the_number_of_v_less_the_number_of_q(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    verbosities: list[int] = []
    monkeypatch.setattr("wordgaze.core.logs.configure_logging", verbosities.append)
    for options in ((), ("-v",), ("-vv",), ("-q",)):
        run(*options, "corrections", "list")
    assert verbosities == [0, 1, 2, -1]


def test_verbosity_after_the_command_replaces_that_before_it(run: Run, captioner_folder: Path, picture: Path) -> None:
    assert run("-q", "caption", picture)[2] == run("caption", picture, "-q")[2] == ""
    texts = ("caption", picture, "--sidecar", "txt")
    assert run(*texts)[0] == 0
    kept = "texts, descriptions and copies that exist and were kept: 1"
    assert kept in run(*texts)[2]
    assert run(*texts, "--quiet")[2] == ""
    assert kept in run("-q", *texts, "-v")[2]


def test_usage_names_arguments_in_capitals() -> None:
    commands = list(_commands(typer.main.get_command(cli.app), ("wordgaze",)))
    assert len(commands) >= 30
    for name, command in commands:
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        assert all(each.metavar and each.metavar.isupper() for each in arguments), name


def _commands(command: Any, name: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its name, those of groups included."""
    for child_name, child in getattr(command, "commands", {}).items():
        yield (*name, child_name), child
        yield from _commands(child, (*name, child_name))


def test_completion_can_be_installed(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert "--install-completion" in out


@pytest.mark.parametrize(
    ("module", "command", "line"),
    [
        ("mlflow", "register", 'mlflow is not installed; pip install "wordgaze[pipeline]"'),
        ("great_expectations", "prepare", 'great-expectations is not installed; pip install "wordgaze[pipeline]"'),
        ("ruamel.yaml", "evaluate", 'ruamel-yaml is not installed; pip install "wordgaze[pipeline]"'),
        ("imagehash", "data", 'imagehash is not installed; pip install "wordgaze[pipeline]"'),
        ("gradio", "app", 'gradio is not installed; pip install "wordgaze[app]"'),
        ("pyarrow", "app", 'pyarrow is not installed; pip install "wordgaze[app]"'),
    ],
)
def test_a_missing_extra_is_one_line_that_names_it(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, module: str, command: str, line: str
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(cli, "app", missing)
    assert refused(command) == line


def test_a_missing_module_of_our_own_is_no_missing_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**_: object) -> None:
        raise ModuleNotFoundError("No module named 'wordgaze.nothing'", name="wordgaze.nothing")

    monkeypatch.setattr(cli, "app", missing)
    with pytest.raises(ModuleNotFoundError):
        main()


def test_captions_need_no_optional_package(
    run: Run, captioner_folder: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in cli.DISTRIBUTIONS:
        monkeypatch.setitem(sys.modules, name, None)
    assert run("caption", picture, "-o", "t.csv", "--attention", "sheets", "--max-new-tokens", 3)[0] == 0
    assert run("explain", picture, "--gif", "a.gif", "--json", "a.json")[0] == 0
    assert run("compare", picture, "--max-new-tokens", 3)[0] == 0
    assert run("look", picture, "--words", "a dog", "-o", "rows.png")[0] == 0


def test_a_parquet_table_needs_pyarrow_before_any_work(
    refused: Refused, captioner_folder: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    line = refused("caption", picture, "--output", "captions.parquet")
    assert line == 'pyarrow is not installed; pip install "wordgaze[pipeline]"'
    assert files() == ["models", "pictures"]


def test_without_a_trained_model_the_way_out_is_named(
    refused: Refused, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wordgaze.tracking.resolve.packaged_captioner", lambda name: None)
    line = (
        "there is no captioner: the registry has no champion and models/ has no trained model; "
        "run `dvc repro` here, or name a captioner folder with --model"
    )
    Path("boxes.json").write_text("{}")
    for command in (
        ("caption", picture),
        ("explain", picture, "--gif", "film.gif"),
        ("compare", picture),
        ("look", picture, "--words", "a dog", "--output", "rows.png"),
        ("ground", picture, "--boxes", "boxes.json"),
        ("app",),
        ("serve",),
    ):
        assert refused(*command) == line
    nowhere = "nowhere holds no captioner (captioner.json is missing); run dvc repro, or give --model a folder"
    assert refused("caption", picture, "--model", "nowhere") == nowhere
    assert "run `dvc repro`" in refused("register")
    assert "run `dvc repro`" in refused("promote")
    assert "run `dvc repro`" in refused("caption", picture, "--model", "models:/captioner@champion")
    assert "run dvc repro first" in refused("summary")


def test_doctor_says_that_nothing_is_damaged(run: Run) -> None:
    assert run("doctor") == (0, "dvc.lock and the MLflow database are sound\n", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_before_the_command_begins_has_its_exit_code(
    number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "app", lambda **_: os.kill(os.getpid(), number))
    before = signal.signal(number, signal.SIG_DFL)  # a job in the background of a shell ignores SIGINT
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(number, before)
    assert ended.value.code == code


def test_an_error_while_cleaning_up_after_a_signal_keeps_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(**_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise TrackingError("database is locked") from None

    monkeypatch.setattr(cli, "app", interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 143
    assert capsys.readouterr().err == "wordgaze: database is locked\n"
