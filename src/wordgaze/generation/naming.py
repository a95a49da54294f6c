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
    image shows if the name is right, and ``absent`` those of things that it does not show at all. ``article`` is "a" or
    "an". ``probability``, 0…1, is the classifier's; ``classes`` are the classes behind it.
    """

    singular: str = ""
    plural: str = ""
    accepted: frozenset[str] = frozenset()
    excluded: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    absent: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    article: str = "a"
    probability: float = 0.0
    classes: tuple[str, ...] = ()

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms of which a caption must have one."""
        return tuple(filter(None, (self.singular, self.plural)))

    def within(self, required: Collection[str], forbidden: Collection[str]) -> "ObjectName":
        """The same without what contradicts the words that a user requires and forbids."""
        singular, plural = ("" if form in forbidden else form for form in (self.singular, self.plural))
        excluded, excluded_plurals = (words.difference(required) for words in self.excluded)
        absent, absent_plurals = (words.difference(required) for words in self.absent)
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

    def with_article(self, caption: Caption) -> Caption:
        """The caption with the article that the name needs: "a" or "an" in front of it."""
        words = list(caption.words)
        for place, word in enumerate(words[1:]):
            if word == self.singular and words[place] in ("a", "an"):
                words[place] = self.article
        return replace(caption, words=tuple(words))


class ExcludedWordsLogitsProcessor:
    """Moves the probability of the words that cannot be right to the name, singular to singular and plural to plural.

    ``names``: of each image, or None. Where no name is required the words are only forbidden.
    """

    def __init__(self, names: Sequence[ObjectName | None], vocabulary: Vocabulary, device: torch.device) -> None:
        self._moves = [self._move(names, vocabulary, number, device) for number in (0, 1)]

    @staticmethod
    def _move(
        names: Sequence[ObjectName | None], vocabulary: Vocabulary, number: int, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """The excluded words (B, K), padded with PAD, and the form (B,) that gets their probability; PAD for none."""
        forms, excluded = [], []
        for name in names:
            form = (name.plural if number else name.singular) or name.singular if name else ""
            forms.append(vocabulary.index.get(form, PAD))
            words = sorted(name.excluded[number] | name.absent[number]) if name else []
            excluded.append([vocabulary.index[word] for word in words if word in vocabulary.index and word != form])
        width = max(map(len, excluded))
        padded = [ids + [PAD] * (width - len(ids)) for ids in excluded]
        return torch.tensor(padded, dtype=torch.long, device=device), torch.tensor(forms, device=device)

    def __call__(self, token_ids: Tensor, log_probs: Tensor, image: Tensor) -> Tensor:
        for excluded, form in self._moves:
            sources, target = excluded[image], form[image].unsqueeze(1)  # (N, K), (N, 1)
            total = log_probs.gather(1, torch.cat([sources, target], dim=1)).logsumexp(1, keepdim=True)
            log_probs.scatter_(1, sources, -torch.inf).scatter_(1, target, total)
            log_probs[:, PAD] = -torch.inf  # what padding and missing names have taken
        return log_probs
