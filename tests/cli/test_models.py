"""A command that names no captioner says on stderr which one speaks, once, and stdout holds captions alone."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wordgaze.cli import main
from wordgaze.inference.captioner import Captioner


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The lines on stderr of a command that succeeds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def shown(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["wordgaze", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert not stop.value.code, err
        assert "captioner:" not in out
        return err

    return shown


def test_the_default_captioner_is_announced_once(
    shown: Callable[..., str], captioner_folder: Path, picture: Path
) -> None:
    few = ("--max-new-tokens", 3)
    assert shown("caption", picture, picture, *few) == "captioner: models/stage2; --model names another\n"
    card = json.loads((captioner_folder / "captioner.json").read_text())
    (captioner_folder / "SHA256SUMS").unlink()
    for dataset, name in (("coco", "coco"), ("folder", "a folder of images")):
        (captioner_folder / "captioner.json").write_text(json.dumps({**card, "dataset": dataset}))
        line = f"captioner: models/stage2, trained on {name}; --model names another\n"
        assert shown("caption", picture, *few) == line
        assert shown("explain", picture, "--json", "a.json", *few) == line
    assert shown("--quiet", "caption", picture, *few) == ""
    assert shown("caption", picture, "--model", "models/stage2", *few) == ""


def test_photos_speaks_where_there_is_nothing_else(
    shown: Callable[..., str],
    write_captioner: Callable[..., Path],
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write_captioner(tmp_path / "elsewhere/photos")
    monkeypatch.setattr("wordgaze.tracking.resolve.packaged_captioner", lambda name: {"photos": folder}.get(name))
    for module in ("mlflow", "filelock"):
        monkeypatch.setitem(sys.modules, module, None)
    assert shown("caption", picture) == "captioner: photos; --model names another\n"
    assert shown("explain", picture, "--png", "a.png", "--model", "photos") == ""
    assert json.loads((folder / "captioner.json").read_text())["dataset"] == ""


def test_the_api_announces_nothing(captioner_folder: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Captioner.load(captioner_folder).caption(picture)
    assert capsys.readouterr() == ("", "")


def test_options_that_are_not_given_are_the_captioner_s_own(
    shown: Callable[..., str],
    captioner_folder: Path,
    picture: Path,
    tmp_path: Path,
) -> None:
    shown("pack", captioner_folder, "own", "--num-return-sequences", 2, "--num-beams", 3, "--max-new-tokens", 4)
    shown("caption", picture, "--model", "own", "-o", "own.jsonl")
    shown("caption", picture, "--model", "own", "-o", "one.jsonl", "--num-return-sequences", 1)
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("own.jsonl", "one.jsonl")] == [2, 1]
