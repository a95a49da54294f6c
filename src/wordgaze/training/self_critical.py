"""Self-critical sequence training: captions sampled from the decoder are rewarded by CIDEr (Rennie et al. 2017)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor

from wordgaze.config.params import Stage2Params
from wordgaze.core.lazy_sequence import LazySequence
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.generate import generate
from wordgaze.generation.outputs import Caption
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.bleu import Bleu
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.document_frequencies import document_frequencies
from wordgaze.metrics.failures import dangles, repeats
from wordgaze.models.decoder import Decoder, DecoderOutput
from wordgaze.text.function_words import FUNCTION_WORDS
from wordgaze.text.vocabulary import END, PAD, SPECIAL, START, UNK, Vocabulary
from wordgaze.training.batches import Batch, pad_captions
from wordgaze.training.losses import LossOutput

Forward = Callable[[Tensor, Tensor], DecoderOutput]


class SelfCriticalLoss:
    """The loss whose gradient estimates that of minus the expected reward of a sampled caption.

    By ∂p = p ∂log p, the gradient of Σ_y p(y) r(y) is the expectation of r(y) ∂log p(y) over sampled captions y. For
    each of K samples of an image, the mean reward of the K - 1 others is subtracted from its reward. This baseline does
    not depend on the sample, so the expectation stays the same and the variance falls (Luo 2020, "A Better Variant of
    Self-Critical Sequence Training").

    Captions are sampled without dropout, from the decoder as it will be used, and their gradient is computed with
    dropout. The gradient is then no longer exact, but the result generalises better to images that were not trained on.
    Sampling and gradient both take the decoder at ``sample_temperature``: label smoothing leaves it so flat that at
    temperature 1 most samples are captions that decoding would never choose.
    """

    def __init__(
        self, vocabulary: Vocabulary, references: Mapping[str, Sequence[Tokens]], params: Stage2Params, max_words: int
    ) -> None:
        self.vocabulary = vocabulary
        self.reward = Reward(references, params.bleu_weight)
        self.decode = GenerationConfig(
            strategy="sample",
            num_return_sequences=params.num_samples,
            max_new_tokens=max_words,
            temperature=params.sample_temperature,
        )

    def __call__(self, decoder: Decoder, forward: Forward, features: Tensor, batch: Batch) -> LossOutput:
        """The loss of samples for ``features`` (B, L, channels).

        ``decoder`` samples; ``forward(features, captions)`` computes the logits that the gradient flows through.
        """
        decoder.eval()
        samples = self.draw(decoder, features.detach(), batch.part.first if batch.part else 0)
        decoder.train()
        captions = [[self._indices(caption) for caption in image_samples] for image_samples in samples]
        output = forward(features, pad_captions(captions).to(features.device))
        rewards = self.reward(batch.images, samples).gather(1, output.order.cpu())  # in the order of ``output``
        advantages = rewards - leave_one_out_baseline(rewards)
        # In nats per word, as cross entropy is. The length is that of the references, which sampling does not change.
        whole, share = batch.whole_size(), batch.shares().images
        length = torch.tensor(whole.words / whole.captions, device=features.device)
        loss = policy_loss(output, advantages, self.decode.temperature) / length * share
        reward, rates = float(rewards.mean()), self._failure_rates(list(chain.from_iterable(samples)))
        metrics = {"train_loss": -reward, "train_reward": reward, **rates}
        return LossOutput(loss, {name: value * share for name, value in metrics.items()})

    def draw(self, decoder: Decoder, features: Tensor, first: int = 0) -> list[list[Caption]]:
        """Captions of each image in the order of drawing. They depend on the place of an image in its batch, which is
        ``first`` for the first one, and not on the images that are here."""
        seed, keys = int(torch.randint(2**62, ())), [str(first + i) for i in range(len(features))]
        return generate(decoder, features.to(decoder.dtype), self.vocabulary, self.decode, keys=keys, seed=seed)

    def _failure_rates(self, captions: Sequence[Caption]) -> dict[str, float]:
        return failure_rates(captions, self.vocabulary.function_words)

    def _indices(self, caption: Caption) -> list[int]:
        return [self.vocabulary.index[word] for word in _tokens(caption)]


class Reward:
    """(1 - ``bleu_weight``) · CIDEr-D + ``bleu_weight`` · smoothed BLEU-4, against ``references`` of images by name.

    END counts as a word, in the references and in finished captions. Otherwise the last words of a caption could be
    left out at no cost, and captions come to end on "in a". Document frequencies are those of ``references``.
    """

    def __init__(self, references: Mapping[str, Sequence[Tokens]], bleu_weight: float) -> None:
        self.references, self.bleu_weight = references, bleu_weight
        images = list(references)
        self.frequencies = document_frequencies(LazySequence(len(images), lambda i: self._with_end(images[i])))

    def __call__(self, images: Sequence[str], samples: Sequence[Sequence[Caption]]) -> Tensor:
        """The rewards (B, K) of K samples for each of B images."""
        references = [self._with_end(image) for image in images]
        place = [i for i, image_samples in enumerate(samples) for _ in image_samples]
        captions = [_tokens(caption) for image_samples in samples for caption in image_samples]
        rewards = torch.tensor(Cider(references, self.frequencies).reward(place, captions))
        if self.bleu_weight:
            bleu = Bleu([references[i] for i in place])
            scores = torch.from_numpy(bleu.scores(bleu.smoothed(bleu.statistics(captions)))["bleu_4"])
            rewards = torch.lerp(rewards, scores.to(rewards.dtype), self.bleu_weight)
        return rewards.view(len(images), -1)

    def _with_end(self, image: str) -> list[Tokens]:
        return [(*words, SPECIAL[END]) for words in self.references[image]]


def leave_one_out_baseline(rewards: Tensor) -> Tensor:
    """rewards (B, K) → for each sample the mean reward of the K - 1 other samples of its image, (B, K)."""
    return (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)


def policy_loss(output: DecoderOutput, advantages: Tensor, temperature: float) -> Tensor:
    """-Σ advantage · log p(caption) / number of captions; advantages (B, K) in the order that ``output.order`` gives.

    Probabilities are those of sampling: at ``temperature``, without the tokens that are never generated.
    """
    logits = output.logits.float() / temperature
    never = torch.tensor([PAD, START, UNK], device=logits.device)
    log_probs = torch.log_softmax(logits.index_fill(1, never, -torch.inf), dim=1)
    word_log_probs = log_probs.gather(1, output.targets.unsqueeze(1)).squeeze(1)
    caption = torch.div(output.positions, output.weights.shape[1], rounding_mode="floor")
    per_caption = advantages.flatten().to(word_log_probs)
    return -(per_caption[caption] * word_log_probs).sum() / len(per_caption)


def failure_rates(captions: Sequence[Caption], function_words: Collection[str] = FUNCTION_WORDS) -> dict[str, float]:
    """The shares of captions that end on a function word such as "in", that never end, and that repeat themselves:
    failures that a reward of n-grams may favour."""
    failures = {
        "train_dangling": [dangles(caption.words, function_words) for caption in captions],
        "train_endless": [caption.finish_reason != "end" for caption in captions],
        "train_repeating": [repeats(caption.words) for caption in captions],
    }
    return {name: sum(flags) / len(captions) for name, flags in failures.items()}


def _tokens(caption: Caption) -> Tokens:
    """The words of a caption, and END if it is finished."""
    return (*caption.words, SPECIAL[END]) if caption.finish_reason == "end" else caption.words
