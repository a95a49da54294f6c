"""Names objects that the captions of the training images never named.

A classifier often knows what an image shows where the decoder has no word for it, or another one that it has seen more
often. Constrained beam search then requires the classifier's word (Anderson et al. 2017, "Guided Open Vocabulary Image
Captioning with Constrained Beam Search"). A required word alone is added to the caption beside the wrong one ("two dogs
and a seal"). So the words that the name excludes, as "dog" is excluded by "seal", give their probability to it: where
the decoder would have written "two dogs" it writes "two seals".
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wordgaze.generation.outputs import Caption
from wordgaze.text.vocabulary import PAD, Vocabulary


@dataclass(frozen=True)
class ObjectName:
    """How captions must name what an image shows.

    ``singular`` and ``plural`` are the forms of the name, of which a caption must have one; ``plural`` is empty where
    the vocabulary lacks it, and both are where no name is required. ``accepted`` are other words that name the object,
    such as "dog" for a collie. ``excluded`` are the words, in the singular and in the plural, that cannot name what the
    image shows if the name is right, and ``absent`` those of things that it does not show at all. ``probability``, 0…1,
    is the classifier's; ``classes`` are the classes behind it.
    """

    singular: str = ""
    plural: str = ""
    accepted: frozenset[str] = frozenset()
    excluded: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    absent: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    probability: float = 0.0
    classes: tuple[str, ...] = ()

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms of which a caption must have one."""
        return tuple(filter(None, (self.singular, self.plural)))

    def within(self, force_words: Collection[str], bad_words: Collection[str]) -> "ObjectName":
        """The same without what contradicts the words that must and that must not occur."""
        singular, plural = ("" if form in bad_words else form for form in (self.singular, self.plural))
        excluded, excluded_plurals = (words.difference(force_words) for words in self.excluded)
        absent, absent_plurals = (words.difference(force_words) for words in self.absent)
        return replace(
            self,
            singular=singular,
            plural=plural if singular else "",
            excluded=(excluded, excluded_plurals),
            absent=(absent, absent_plurals),
        )

    def fits(self, words: Sequence[str]) -> bool:
        """Whether a caption has the name already, and no word of a thing that is absent."""
        is_named = not self.forms or not self.accepted.union(self.forms).isdisjoint(words)
        return is_named and frozenset().union(*self.absent).isdisjoint(words)

    def explain(self, before: Caption) -> str:
        """Why the captions are not ``before``, in one line."""
        wrong = sorted(frozenset().union(*self.absent).intersection(before.words))
        seen = f"{self.singular}: the classifiers see {', '.join(self.classes)} ({self.probability:.0%})"
        reasons = [seen] * bool(self.singular) + [f"no {word}: they see nothing of the kind" for word in wrong]
        return f"{'; '.join(reasons)}; otherwise: {before.text}"


_SINGULAR_FOLLOWS = ("a", "an")
_PLURAL_FOLLOWS = ("two", "three", "four", "five", "six", "several", "many")
_PLURAL_FOLLOWS_OF = ("group", "groups", "pair", "couple", "bunch", "lot", "lots")


class ExcludedWordsLogitsProcessor:
    """Forbids the words that cannot be right, and gives the probability of those that a name excludes to the name.

    The singular takes that of singulars, and the plural that of plurals. A name occurs once, and not in the form that
    the word before it rules out, as in "a boots" and "two seal". ``names``: of each image, or None.
    """

    def __init__(self, names: Sequence[ObjectName | None], vocabulary: Vocabulary, device: torch.device) -> None:
        self._vocabulary, self._device = vocabulary, device
        given = [name or ObjectName() for name in names]
        self._excluded = [self._token_ids([name.excluded[number] for name in given]) for number in (0, 1)]
        self._absent = self._token_ids([name.absent[0] | name.absent[1] for name in given])
        singulars = self._token_ids([{name.singular} for name in given])
        plurals = self._token_ids([{name.plural or name.singular} for name in given])
        self._forms = [singulars, plurals]
        self._has_two_forms = singulars != plurals  # (B, 1)
        before = (_SINGULAR_FOLLOWS, _PLURAL_FOLLOWS, _PLURAL_FOLLOWS_OF, ("of",))
        self._articles, self._numbers, self._groups, self._of = (self._token_ids([words])[0] for words in before)

    def _token_ids(self, words: Sequence[Collection[str]]) -> Tensor:
        """The token ids of the known words of each image (B, K), padded with PAD."""
        index = self._vocabulary.index
        known = [[index[word] for word in sorted(of_image) if word in index] for of_image in words]
        width = max(1, *map(len, known))
        return torch.tensor([ids + [PAD] * (width - len(ids)) for ids in known], device=self._device)

    def __call__(self, token_ids: Tensor, log_probs: Tensor, image: Tensor) -> Tensor:
        for excluded, forms in zip(self._excluded, self._forms, strict=True):
            sources, target = excluded[image], forms[image]  # (N, K), (N, 1)
            total = log_probs.gather(1, torch.cat([sources, target], dim=1)).logsumexp(1, keepdim=True)
            log_probs.scatter_(1, sources, -torch.inf).scatter_(1, target, total)
            log_probs[:, PAD] = -torch.inf  # what padding and missing names have taken
        log_probs.scatter_(1, self._absent[image], -torch.inf)
        forms = torch.cat(self._forms, dim=1)[image]  # (N, 2)
        has_name = (token_ids.unsqueeze(2) == forms.unsqueeze(1)).any(2).any(1, keepdim=True)
        is_wrong = self._ruled_out(token_ids) & self._has_two_forms[image]
        taken = log_probs.gather(1, forms).masked_fill(has_name | is_wrong, -torch.inf)
        return log_probs.scatter_(1, forms, taken)

    def _ruled_out(self, token_ids: Tensor) -> Tensor:
        """token_ids (N, t) → whether the singular and the plural must not follow, (N, 2)."""
        before = torch.nn.functional.pad(token_ids, (2, 0), value=-1)[:, -2:]  # (N, 2)
        is_of_group = torch.isin(before[:, 0], self._groups) & torch.isin(before[:, 1], self._of)
        needs_plural = torch.isin(before[:, 1], self._numbers) | is_of_group
        return torch.stack([needs_plural, torch.isin(before[:, 1], self._articles)], dim=1)
