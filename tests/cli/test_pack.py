"""``wordgaze pack`` writes a small captioner, which then decodes as it was told."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Refused, Run


def test_a_captioner_is_packed_with_its_settings(
    run: Run, captioner_folder: Path, picture: Path, tmp_path: Path
) -> None:
    code, out, err = run("pack", captioner_folder, "small", "--num-return-sequences", 2, "--bad-words", "dog")
    assert (code, err) == (0, "")
    before = sum(path.stat().st_size for path in captioner_folder.iterdir()) / 1e6
    after = sum(path.stat().st_size for path in (tmp_path / "small").iterdir()) / 1e6
    assert out == f"small: {after:.1f} MB instead of {before:.1f} MB\n"
    assert after < before
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == [
        "README.md", "SHA256SUMS", "captioner.json", "model_card.html", "weights.safetensors"
    ]  # fmt: skip
    generation = json.loads((tmp_path / "small/captioner.json").read_text())["generation"]
    assert (generation["num_return_sequences"], generation["bad_words"]) == (2, ["dog"])
    assert "pack stage2 small --dtype fp16 --num-return-sequences 2 --bad-words dog" in (
        tmp_path / "small/README.md"
    ).read_text(encoding="utf-8")


def test_a_captioner_that_is_packed_again_does_not_grow(run: Run, captioner_folder: Path, tmp_path: Path) -> None:
    assert run("pack", captioner_folder, "small", "--dtype", "int8")[0] == 0
    assert run("pack", "small", "again")[0] == 0
    small, again = (json.loads((tmp_path / name / "captioner.json").read_text()) for name in ("small", "again"))
    assert small == again
    sizes = [(tmp_path / name / "weights.safetensors").stat().st_size for name in ("small", "again")]
    assert sizes[1] == sizes[0]


def test_the_card_of_another_project_is_kept_and_says_what_the_copy_is_of(
    run: Run, captioner_folder: Path, tmp_path: Path
) -> None:
    (captioner_folder / "README.md").write_text("# mine\n\nScores of years.\n", encoding="utf-8")
    assert run("pack", captioner_folder, "small")[0] == run("pack", "small", "again", "--num-beams", 3)[0] == 0
    command = "wordgaze pack small again --dtype fp16 --num-beams 3"
    assert (tmp_path / "again" / "README.md").read_text(encoding="utf-8") == (
        "# mine\n\nScores of years.\n\n## This copy\n\n"
        f"The sections above are of the captioner that it was made from, by `{command}`.\n"
    )
    assert "Scores of years." in (tmp_path / "again" / "model_card.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("captioner_folder")
def test_what_cannot_be_packed_is_one_line(refused: Refused) -> None:
    assert "nowhere holds no captioner" in refused("pack", "nowhere", "small")
    assert refused("pack", "models/stage2", "gone/small") == (
        "gone/small: there is no folder gone; make it, or give FOLDER another name"
    )
    assert "models/stage2 is the captioner itself" in refused("pack", "models/stage2", "models/stage2", "--overwrite")
    assert not Path("small").exists()
