"""Self-critical sequence training: captions that the decoder draws are rewarded by CIDEr (Rennie et al. 2017)."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor

from wordgaze.config.params import FinetuneParams
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.generate import generate
from wordgaze.generation.outputs import Caption
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.bleu import Bleu
from wordgaze.metrics.cider import Cider, document_frequencies
from wordgaze.metrics.failures import dangles, repeats
from wordgaze.models.decoder import Decoder, DecoderOutput
from wordgaze.text.vocabulary import END, PAD, SPECIAL, START, UNK, Vocabulary
from wordgaze.training.batches import Batch, pad_captions
from wordgaze.training.losses import LossOutput

Teach = Callable[[Tensor, Tensor], DecoderOutput]


class SelfCriticalLoss:
    """The loss whose gradient is that of minus the reward that a caption drawn from the decoder gets in the mean.

    By ∂p = p ∂log p, ∂Σ_y p(y) r(y) is the mean of r(y) ∂log p(y) over drawn captions y. Of K captions of a picture,
    each has the mean reward of the K - 1 others taken off its own: they do not depend on it, so the mean stays, and
    the variance falls (Luo 2020, "A Better Variant of Self-Critical Sequence Training").

    Captions are drawn without dropout, from the decoder as it will be used, and learned from with it: the gradient is
    then that of the decoders with parts left out, no longer exact, but what is learned holds on pictures that were not
    trained on. Drawing and gradient are both of the decoder at ``sample_temperature``: as label smoothing leaves it, it
    is so flat that most draws are nothing it would ever say.
    """

    def __init__(
        self, vocabulary: Vocabulary, references: Mapping[str, Sequence[Tokens]], params: FinetuneParams, max_words: int
    ) -> None:
        self.vocabulary = vocabulary
        self.reward = Reward(references, params.bleu_weight)
        self.decode = GenerationConfig(
            strategy="sample",
            num_return_sequences=params.num_samples,
            max_new_tokens=max_words,
            temperature=params.sample_temperature,
        )

    def __call__(self, decoder: Decoder, teach: Teach, features: Tensor, batch: Batch) -> LossOutput:
        """``decoder`` draws and ``teach`` gives what its gradients flow through; features (B, L, channels)."""
        decoder.eval()
        drawn = self.draw(decoder, features.detach())
        decoder.train()
        words = [[self._indices(caption) for caption in of_one] for of_one in drawn]
        taught = teach(features, pad_captions(words).to(features.device))
        rewards = self.reward(batch.images, drawn).gather(1, taught.order.cpu())  # in the order of ``taught``
        # In nats a word, as cross entropy is; the length is that of the captions given, which no drawing changes.
        length = (batch.captions != PAD).sum() / (batch.captions != PAD).any(2).sum()
        total = policy_loss(taught, rewards - others_mean(rewards), self.decode.temperature) / length.to(
            features.device
        )
        reward = float(rewards.mean())
        return LossOutput(total, -reward, {"train_reward": reward, **guards(list(chain.from_iterable(drawn)))})

    def draw(self, decoder: Decoder, features: Tensor) -> list[list[Caption]]:
        """Captions of each image in the order of drawing."""
        seed = int(torch.randint(2**62, ()))
        return generate(decoder, features.to(decoder.dtype), self.vocabulary, self.decode, seed=seed)

    def _indices(self, caption: Caption) -> list[int]:
        return [self.vocabulary.index[word] for word in _tokens(caption)]


class Reward:
    """(1 - ``bleu_weight``) · CIDEr-D + ``bleu_weight`` · BLEU-4, smoothed, against ``references`` of pictures by name.

    END is a word, in the references and where it was said, as it is in all systems that do not end on "in a": else
    what comes last could be left out at no cost. Document frequencies are those of ``references``.
    """

    def __init__(self, references: Mapping[str, Sequence[Tokens]], bleu_weight: float) -> None:
        self.references, self.bleu_weight = references, bleu_weight
        self.frequencies = document_frequencies([self._ended(image) for image in references])

    def __call__(self, images: Sequence[str], drawn: Sequence[Sequence[Caption]]) -> Tensor:
        """(B, K): of each caption drawn for each of the pictures."""
        truths = [self._ended(image) for image in images]
        place = [i for i, of_one in enumerate(drawn) for _ in of_one]
        said = [_tokens(caption) for of_one in drawn for caption in of_one]
        rewards = torch.tensor(Cider(truths, self.frequencies).reward(place, said))
        if self.bleu_weight:
            bleu = Bleu([truths[i] for i in place])
            scores = torch.from_numpy(bleu.scores(bleu.smoothed(bleu.statistics(said)))["bleu_4"])
            rewards = torch.lerp(rewards, scores.to(rewards.dtype), self.bleu_weight)
        return rewards.view(len(images), -1)

    def _ended(self, image: str) -> list[Tokens]:
        return [(*words, SPECIAL[END]) for words in self.references[image]]


def others_mean(rewards: Tensor) -> Tensor:
    """rewards (B, K) → of each the mean of the K - 1 others of its picture."""
    return (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)


def policy_loss(taught: DecoderOutput, advantages: Tensor, temperature: float) -> Tensor:
    """-Σ advantage · log p(caption) / number of captions; advantages (B, K) in the order that ``taught.order`` gives.

    Probabilities are those that captions are drawn with: at ``temperature``, and none of words that are never said.
    """
    logits = taught.logits.float() / temperature
    never = torch.tensor([PAD, START, UNK], device=logits.device)
    log_probs = torch.log_softmax(logits.index_fill(1, never, -torch.inf), dim=1)
    of_words = log_probs.gather(1, taught.targets.unsqueeze(1)).squeeze(1)
    caption = torch.div(taught.positions, taught.weights.shape[1], rounding_mode="floor")
    each = advantages.flatten().to(of_words)
    return -(each[caption] * of_words).sum() / len(each)


def guards(drawn: Sequence[Caption]) -> dict[str, float]:
    """The shares of captions that end on a word such as "in", that never ended, and that repeat themselves: what a
    reward of n-grams may bring up."""
    flags = {
        "train_dangling": [dangles(caption.words) for caption in drawn],
        "train_endless": [caption.finish_reason != "end" for caption in drawn],
        "train_repeating": [repeats(caption.words) for caption in drawn],
    }
    return {name: sum(of_all) / len(drawn) for name, of_all in flags.items()}


def _tokens(caption: Caption) -> Tokens:
    """Its words, and END where it was said."""
    return (*caption.words, SPECIAL[END]) if caption.finish_reason == "end" else caption.words
