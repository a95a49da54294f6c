"""``wordgaze serve`` and ``wordgaze corrections``."""

from pathlib import Path

from tests.cli.conftest import Refused, Run


def test_corrections_are_listed_and_exported(run: Run, refused: Refused, picture: Path) -> None:
    from wordgaze.app.corrections import Corrections

    assert run("corrections", "list") == (0, "", "")
    assert "corrections.sqlite contains no corrections" in refused("corrections", "export", "mine")
    Corrections(Path("corrections.sqlite")).add(picture.read_bytes(), "slope.png", "a dog", "a slope", "tiny", "2")
    code, out, err = run("corrections", "list")
    assert (code, err) == (0, "")
    assert out.endswith("+00:00\tslope.png\ttiny 2\ta dog\ta slope\n")
    assert "there is no folder gone; make it" in refused("corrections", "export", "gone/mine")
    code, out, err = run("corrections", "export", "mine")
    assert (code, err) == (0, "")
    assert out == "mine holds 1 caption; next: dvc exp run -S dataset.corrections=mine\n"
    assert sorted(path.name for path in Path("mine").iterdir()) == ["captions.csv", "images"]
    assert "mine exists and is not empty" in refused("corrections", "export", "mine")


def test_waiting_for_others_has_no_effect_one_by_one(refused: Refused) -> None:
    line = refused("serve", "--batch-size", 1, "--batch-wait", 3)
    assert line.startswith("--batch-wait has no effect without a --batch-size above 1")


def test_a_folder_without_a_captioner_is_not_served(refused: Refused) -> None:
    assert refused("serve", "--model", "nowhere", "--port", 0).startswith("nowhere does not contain a captioner")
