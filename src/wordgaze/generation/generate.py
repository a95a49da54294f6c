"""Generates captions from the features of images."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from wordgaze.core.errors import ModelError, ParamsError
from wordgaze.core.out_of_memory import halved
from wordgaze.generation.beam_search import BeamSearch
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.generation_model import GenerationModel
from wordgaze.generation.hypothesis_batch import HypothesisBatch
from wordgaze.generation.logits_processor_list import LogitsProcessorList, build_logits_processors
from wordgaze.generation.mbr import MbrReranker
from wordgaze.generation.naming import ObjectName
from wordgaze.generation.outputs import Caption
from wordgaze.generation.reranker import Reranker
from wordgaze.generation.sampling import Sampler
from wordgaze.text.nouns import with_articles
from wordgaze.text.vocabulary import SPECIAL, Vocabulary


@torch.inference_mode()
def generate(
    model: GenerationModel,
    features: Any,
    vocabulary: Vocabulary,
    config: GenerationConfig,
    *,
    keys: Sequence[str] | None = None,
    seed: int = 0,
    table: Any = None,
    prefix: Sequence[str] = (),
    neighbours: Reranker | None = None,
    grid: tuple[int, int] | None = None,
    names: Sequence[ObjectName | None] = (),
    before_step: Callable[[], None] | None = None,
) -> list[list[Caption]]:
    """``config.num_return_sequences`` captions of each image, best first; samples in the order in which they are drawn.

    features: (B, L, D), or for an ensemble a sequence of such tensors, one per member.
    keys: names of the images, which together with ``seed`` determine the samples; by default the places in the batch.
    table: the model's ``word_table()``, for callers that generate often with one vocabulary.
    prefix: words that every caption begins with. Logits processors restrict only the words after it.
    neighbours: the reranker of the strategy ``neighbours``; it sees the features of an ensemble's first member.
    grid: (rows, columns) of the captions' attention; (1, L) by default.
    names: of each image the name that its captions must have, or None; see ``wordgaze.generation.naming``.
    before_step: called before each word of the search; an exception that it raises ends the search.

    Raises ModelError if the strategy needs ``neighbours`` and there are none, if the model returns NaN, and for a word
    of ``prefix`` that the vocabulary lacks. Raises ParamsError for an entry of ``force_words`` that the vocabulary
    lacks, and if ``prefix`` leaves no room for what must follow.
    """
    num_images = len(features if isinstance(features, Tensor) else features[0])
    image_keys = [str(i) for i in range(num_images)] if keys is None else keys
    start = _Start(model, features, vocabulary, table, encode_words(vocabulary, prefix), grid, neighbours, before_step)

    def of_images(rows: Sequence[int]) -> list[list[Caption]]:
        part = start if len(rows) == num_images else start.of_images(rows)
        return part.generate(config, [image_keys[i] for i in rows], seed, [None] * len(rows))

    captions = list(chain.from_iterable(halved(of_images, range(num_images), "generation")))
    forced = [word for entry in config.force_words for word in entry.split("|")]
    for i, renamed in _named(start, captions, names, forced, config, image_keys, seed):
        captions[i] = renamed
    return [_with_articles(start, of_image, forced, config) for of_image in captions] if forced else captions


def _named(
    start: "_Start",
    captions: Sequence[Sequence[Caption]],
    names: Sequence[ObjectName | None],
    forced: Sequence[str],
    config: GenerationConfig,
    keys: Sequence[str],
    seed: int,
) -> Iterator[tuple[int, list[Caption]]]:
    """New captions, with their image's number, for the images whose best caption does not name what they show."""
    given = [*forced, *(start.vocabulary.words[i] for i in start.prefix)]
    names = [name and name.within(given, config.bad_words) for name in names]
    lacking = [i for i, name in enumerate(names) if name and not name.fits(captions[i][0].words)]
    if not lacking:
        return
    wanted = [names[i] for i in lacking]
    found = start.of_images(lacking).generate(config, [keys[i] for i in lacking], seed, wanted)
    for i, name, of_image in zip(lacking, wanted, found, strict=True):
        if name and of_image:
            reason = name.explain(captions[i][0])
            named = _with_articles(start, of_image, name.forms[:1], config)
            yield i, [replace(caption, naming=reason) for caption in named]


def _with_articles(
    start: "_Start", captions: Sequence[Caption], chosen: Sequence[str], config: GenerationConfig
) -> list[Caption]:
    """The captions with the English article that fits each word of ``chosen``, which the decoder did not choose itself.

    Words of the prefix stay as they were given. An article that the vocabulary lacks or that ``bad_words`` names is not
    put in, and none is exchanged where ``force_words`` names one. A caption that becomes the same as another one is
    left out, unless it was sampled.
    """
    asked, banned = (re.split(r"[|\s]+", "|".join(entries)) for entries in (config.force_words, config.bad_words))
    if not start.vocabulary.tokenizer.is_english or {"a", "an"} & set(asked):
        return list(captions)
    articles = {"a", "an"} & start.vocabulary.index.keys() - set(banned)
    given, present = len(start.prefix), {caption.words for caption in captions}
    fitting: list[Caption] = []
    for caption in captions:
        words = caption.words[:given] + with_articles(caption.words[given:], chosen, articles)
        if words == caption.words or words not in present or config.strategy == "sample":
            fitting.append(replace(caption, words=words))
            present.add(words)
    return fitting


def encode_words(vocabulary: Vocabulary, words: Sequence[str]) -> list[int]:
    """The token ids of words. Raises ModelError for a word that the vocabulary lacks, and for a special token."""
    if unknown := [word for word in words if word not in vocabulary.index or word in SPECIAL]:
        raise ModelError(f"the captioner does not know {', '.join(map(repr, unknown))}; use words of its vocabulary")
    return [vocabulary.index[word] for word in words]


@dataclass(frozen=True)
class _Start:
    """All that generation starts from."""

    model: GenerationModel
    features: Any
    vocabulary: Vocabulary
    table: Any
    prefix: list[int]
    grid: tuple[int, int] | None
    neighbours: Reranker | None
    before_step: Callable[[], None] | None

    def of_images(self, numbers: Sequence[int]) -> "_Start":
        """The same for a part of the images."""
        rows = list(numbers)
        features = self.features[rows] if isinstance(self.features, Tensor) else [each[rows] for each in self.features]
        return replace(self, features=features)

    def batch(self) -> HypothesisBatch:
        """One hypothesis per image: the prefix."""
        batch = HypothesisBatch(self.model, self.features, self.table, self.grid, self.before_step)
        batch.feed_prefix(self.prefix)
        return batch

    def generate(
        self, config: GenerationConfig, keys: Sequence[str], seed: int, names: Sequence[ObjectName | None]
    ) -> list[list[Caption]]:
        """The captions of each image, which have the ``names`` of the images."""
        batch, vocabulary = self.batch(), self.vocabulary
        processors = build_logits_processors(config, vocabulary, batch.device, names)
        _check_room(batch, processors, config)
        if batch.prefix_length == config.max_new_tokens:  # no word is left to choose
            config = config.model_copy(update={"strategy": "greedy", "num_return_sequences": 1})
        if config.strategy == "neighbours" and self.neighbours is None:
            raise ModelError("this captioner has no training images to compare with; use another strategy")
        if config.strategy == "sample":
            sampler = Sampler(batch, processors, config, config.num_return_sequences, keys, seed)
            return batch.captions(sampler.run(), vocabulary)
        if config.strategy not in ("mbr", "neighbours"):
            return batch.captions(BeamSearch(batch, processors, config).run(), vocabulary)
        candidates = _beam_candidates(batch, processors, config, vocabulary)
        if config.strategy == "mbr" and config.mbr_samples:
            batch = self.batch()
            samples = Sampler(batch, processors, config, config.mbr_samples, keys, seed).run()
            sampled = batch.captions(samples, vocabulary)
            candidates = [found + drawn for found, drawn in zip(candidates, sampled, strict=True)]
        reranker = self.neighbours if config.strategy == "neighbours" and self.neighbours else MbrReranker()
        features = self.features if isinstance(self.features, Tensor) else self.features[0]
        return reranker.rerank(candidates, features, config)


def _beam_candidates(
    batch: HypothesisBatch, processors: LogitsProcessorList, config: GenerationConfig, vocabulary: Vocabulary
) -> list[list[Caption]]:
    """All captions that beam search finds."""
    beam = config.model_copy(update={"strategy": "beam", "num_return_sequences": config.num_beams})
    return batch.captions(BeamSearch(batch, processors, beam).run(), vocabulary)


def _check_room(batch: HypothesisBatch, processors: LogitsProcessorList, config: GenerationConfig) -> None:
    """Raises ParamsError if ``max_new_tokens`` leaves no room for the prefix and the forced words that it lacks."""
    missing = int(processors.num_missing_words(batch.token_ids, batch.image).max())
    if batch.prefix_length + missing > config.max_new_tokens:
        forced = f" and {missing} words of force_words must follow" if missing else ""
        raise ParamsError(
            f"the prefix has {batch.prefix_length} words{forced}, but max_new_tokens is {config.max_new_tokens};"
            " increase max_new_tokens"
        )
