"""The tables of METEOR 1.5: synonyms of WordNet 3.0 and paraphrases, read from the package ``pycocoevalcap``.

The package carries them for the Java program of METEOR. They are read as they are; neither Java nor the program runs.
"""

import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from gzip import open as gzip_open
from importlib.util import find_spec
from pathlib import Path

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Tokens

_LONGEST_PHRASE = 7  # words, of the table of paraphrases
_BLOCK = 3 << 20  # bytes that are read at a time

# WordNet's rules for the base form of a noun, a verb and an adjective, in the order in which they are tried.
_ENDINGS = (
    ("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y"),
    ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""),
    ("er", ""), ("est", ""), ("er", "e"), ("est", "e"),
)  # fmt: skip

Phrases = Mapping[str, Mapping[str, int]]
"""By phrase, its paraphrases, and how often the table lists the two: twice where it lists them in both orders."""


def find_tables() -> Path | None:
    """The folder of METEOR's tables, or None where pycocoevalcap is not installed."""
    spec = find_spec("pycocoevalcap")
    folders = [Path(folder) / "meteor" for folder in (spec.submodule_search_locations or ())] if spec else []
    return next((folder for folder in folders if (folder / "meteor-1.5.jar").is_file()), None)


class MeteorTables:
    """Synonyms, and those paraphrases that occur in the given texts.

    Raises ScoreError where the folder's files cannot be read.
    """

    def __init__(self, folder: Path, texts: Iterable[Tokens]) -> None:
        self.paraphrases: Phrases = _paraphrases(folder / "data/paraphrase-en.gz", texts)
        self._synsets = dict(_wordnet(folder / "meteor-1.5.jar", "synsets"))
        self._bases = defaultdict[str, list[str]](list)
        for base, forms in _wordnet(folder / "meteor-1.5.jar", "exceptions"):
            for form in forms.split():
                self._bases[form].append(base)
        self.synsets = cache(self._all_synsets)

    def phrases(self, words: Tokens) -> list[tuple[int, int, str]]:
        """Start, length and text of each phrase of ``words`` that has a paraphrase."""
        return [found for found in _phrases(words) if found[2] in self.paraphrases]

    def _all_synsets(self, word: str) -> frozenset[str]:
        """The sets of synonyms that have the word or one of its base forms, which have their own entries."""
        return frozenset(synset for form in (word, *self._base_forms(word)) for synset in self._of(form))

    def _base_forms(self, word: str) -> Sequence[str]:
        if word in self._bases:
            return self._bases[word]
        if len(word) <= 2:
            return ()
        stems = (word.removesuffix(ending) + base for ending, base in _ENDINGS if word.endswith(ending))
        return [next((stem for stem in stems if stem in self._synsets), word)]

    def _of(self, word: str) -> list[str]:
        return self._synsets.get(word, "").split()


def toolkit_words(words: Tokens) -> list[str]:
    """The words of a tokenized caption as METEOR's own tokenizer splits them: it divides "t-shirt" and "'s"."""
    parts = [re.sub(r"(\w)-+(\w)", r"\1 \2", _without_periods(word)) for word in words]
    # An apostrophe between letters stays with what follows, and any other is a word.
    text = re.sub(r"(?<=[^\W\d_])('(?=[^\W\d_]))|'", lambda found: " '" if found[1] else " ' ", " ".join(parts))
    text = text.replace("`", "'")
    text = re.sub(r"[^\w\s.,'-]|_", r" \g<0> ", text)
    return re.sub(r"(?<=\w)\.(?=$| \d)", " .", text).split()


def _without_periods(word: str) -> str:
    """An abbreviation such as "u.s." without its periods; other words as they are."""
    is_abbreviation = word.endswith(".") and "." in word.strip(".") and not word[-2:-1].isdigit()
    return word.replace(".", "") if is_abbreviation else word


def _wordnet(jar: Path, table: str) -> Iterator[tuple[str, str]]:
    """The keys and values of a table of WordNet, which alternate line by line."""
    try:
        with zipfile.ZipFile(jar) as archive:
            lines = archive.read(f"synonym/english.{table}").decode("utf-8").splitlines()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise _unreadable(jar, error) from error
    return zip(lines[::2], lines[1::2], strict=True)


def _paraphrases(path: Path, texts: Iterable[Tokens]) -> Phrases:
    """The table's entries of which both phrases occur in ``texts``, by each of the two.

    An entry is three lines: a probability and two phrases. Blocks of lines are compared, because there are five
    million entries.
    """
    occurring = {phrase.encode() for words in texts for _, _, phrase in _phrases(words)}
    found = defaultdict[str, Counter[str]](Counter)
    rest = b""
    try:
        with gzip_open(path) as file:
            while block := file.read(_BLOCK):
                lines = (rest + block).split(b"\n")
                end = (len(lines) - 1) // 3 * 3
                rest = b"\n".join(lines[end:])
                for a, b in zip(lines[1:end:3], lines[2:end:3], strict=True):
                    if a in occurring and b in occurring:
                        found[a.decode()][b.decode()] += 1
                        found[b.decode()][a.decode()] += 1
    except (OSError, EOFError) as error:
        raise _unreadable(path, error) from error
    return found


def _phrases(words: Tokens) -> Iterator[tuple[int, int, str]]:
    for start in range(len(words)):
        for length in range(1, min(_LONGEST_PHRASE, len(words) - start) + 1):
            yield start, length, " ".join(words[start : start + length])


def _unreadable(path: Path, error: Exception) -> ScoreError:
    return ScoreError(
        f"{path} cannot be read ({error}); install it again with pip install --force-reinstall pycocoevalcap"
    )
