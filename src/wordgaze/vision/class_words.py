"""The plain English words that name the 1,000 classes of ImageNet, in the order of the classifiers of timm and
torchvision.

A class has a chain of words from specific to general: ``polar bear``, ``bear``. The words are those that people use
(entry-level categories, Ordonez et al. 2013): a beagle is a ``dog``, and there are no ``carnivore`` and no ``device``.
``scripts/imagenet_words.py`` makes the file from WordNet.
"""

import json
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from wordgaze.text.nouns import indefinite_article, regular_plural

Phrase = tuple[str, ...]
"""A name as tokens: ``("polar", "bear")``."""


class ClassWords:
    """The words of the classes of ImageNet. ``words`` (W) are all of them; ``chains[k]`` are those of class k."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.chains: list[list[Phrase]] = [[_phrase(word) for word in chain] for chain in data["classes"]]
        self.groups: list[str] = data["groups"]
        self.words: list[Phrase] = list(dict.fromkeys(word for chain in self.chains for word in chain))
        self._plurals: dict[str, str] = data["plurals"]
        self._uncountable, self._plural_only = (set(map(_phrase, data[key])) for key in ("uncountable", "plural_only"))
        self._alike = {
            _phrase(word): {_phrase(name) for key in ("kinds", "synonyms") for name in data[key].get(word, ())}
            for word in {*data["kinds"], *data["synonyms"]}
        }
        self._rivals = {group: set(map(_phrase, names)) for group, names in data["rivals"].items()}

    @cached_property
    def membership(self) -> Tensor:
        """(K, W): 1 where the chain of a class contains a word, otherwise 0."""
        index = {word: i for i, word in enumerate(self.words)}
        table = torch.zeros(len(self.chains), len(self.words))
        for row, chain in zip(table, self.chains, strict=True):
            row[[index[word] for word in chain]] = 1
        return table

    def plural(self, word: Phrase) -> Phrase:
        """``(goose,)`` → ``(geese,)``. The word itself if it is uncountable or has a plural only."""
        if word in self._uncountable or word in self._plural_only:
            return word
        *first, last = word
        return (*first, self._plurals.get(last) or regular_plural(last))

    def article(self, word: Phrase) -> str:
        """``a`` or ``an``; empty for an uncountable word (``food``) and for a word without singular (``jeans``)."""
        return "" if word in self._uncountable or word in self._plural_only else indefinite_article(word[0])

    @cache  # noqa: B019  (there is one instance)
    def accepted(self, word: Phrase) -> frozenset[Phrase]:
        """The names in a caption that say the same as ``word`` or something more specific, singulars and plurals:
        for ``dog`` also ``puppies`` and ``beagle``."""
        specific = {word}
        for chain in self.chains:
            if word in chain:
                specific.update(chain[: chain.index(word)])
        names = specific.union(*(self._alike.get(name, ()) for name in specific))
        return frozenset(names | {self.plural(name) for name in names})

    @cache  # noqa: B019
    def members(self, group: str) -> frozenset[Phrase]:
        """The names of the things of a group, singulars and plurals."""
        names = self._rivals.get(group, set()).union(*self._chains_of(group))
        return frozenset(names | {self.plural(name) for name in names})

    @cache  # noqa: B019
    def general(self, word: Phrase) -> frozenset[Phrase]:
        """The more general names of what ``word`` names, singulars and plurals: for ``canoe`` also ``boats``."""
        names = {name for chain in self.chains if word in chain for name in chain[chain.index(word) + 1 :]}
        return frozenset(names | {self.plural(name) for name in names})

    @cache  # noqa: B019
    def rivals(self, word: Phrase, group: str) -> frozenset[Phrase]:
        """The names of the other things of a group, singulars and plurals: a caption that calls a bear a ``dog``
        should have said ``bear``. Empty for a group whose things occur together. More general names are not rivals."""
        if group not in self._rivals:
            return frozenset()
        general = {name for chain in self._chains_of(group) if word in chain for name in chain[chain.index(word) :]}
        return self.members(group) - self.accepted(word).union(*({name, self.plural(name)} for name in general))

    def _chains_of(self, group: str) -> list[list[Phrase]]:
        return [chain for chain, of in zip(self.chains, self.groups, strict=True) if of == group]


@cache
def imagenet_words() -> ClassWords:
    """The words of ImageNet's classes that are part of the package."""
    text = files("wordgaze.vision").joinpath("imagenet_words.json").read_text(encoding="utf-8")
    return ClassWords(json.loads(text))


def _phrase(name: str) -> Phrase:
    return tuple(name.split())
