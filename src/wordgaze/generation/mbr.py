"""Minimum Bayes risk: the candidate that agrees most with the others (Kumar and Byrne 2004)."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.generation.reranker import best_first
from wordgaze.metrics.consensus import consensus_scores


class MbrReranker:
    """Scores a caption by its mean utility (``config.mbr_utility``) against all other candidates of its image."""

    def rerank(
        self, candidates: Sequence[Sequence[Caption]], features: Tensor, config: GenerationConfig
    ) -> list[list[Caption]]:
        """The different captions with the highest scores: 0…1 by BLEU-4, 0…10 by CIDEr with equal weights of all
        n-grams. A caption that was found several times counts as often. ``features`` are not used."""
        return [self._rerank_image(of_image, config) for of_image in candidates]

    def _rerank_image(self, candidates: Sequence[Caption], config: GenerationConfig) -> list[Caption]:
        scores = consensus_scores([caption.words for caption in candidates], config.mbr_utility)
        scored = [replace(caption, score=score) for caption, score in zip(candidates, scores, strict=True)]
        distinct = {caption.words: caption for caption in reversed(best_first(scored, len(scored)))}
        return best_first(list(distinct.values()), config.num_return_sequences)
