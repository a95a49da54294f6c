"""What training minimises."""

from typing import NamedTuple

import torch
from torch import Tensor

from wordgaze.config.params import TrainParams
from wordgaze.models.decoder import DecoderOutput
from wordgaze.training.batches import WHOLE, Shares


class MeanReward(NamedTuple):
    """The mean log p(word) of the captions that hard attention was drawn for, and the number of their words."""

    value: float
    words: int


class LossOutput(NamedTuple):
    """The value of a loss for a batch.

    ``loss`` is the scalar to be minimised, ``metrics`` are columns of the training curve, ``reward`` is that of hard
    attention, None if no cell was drawn. For a part of a batch (:class:`Shares`), loss and metrics are what the part
    adds to those of the whole batch.
    """

    loss: Tensor
    metrics: dict[str, float]
    reward: MeanReward | None = None


def captioning_loss(
    taught: DecoderOutput, params: TrainParams, baseline: float | None = None, shares: Shares = WHOLE
) -> LossOutput:
    """Cross entropy a word + λ · mean over captions and cells of (1 − Σ_t α_ti)², Xu et al. 2015, equation 14: over a
    caption, attention is to come past every cell about once. The paper sums over cells where this takes the mean, so
    that λ means the same for every grid. With hard attention :func:`reinforcement` is added.
    """
    log_probs = torch.log_softmax(taught.logits.float(), dim=1)
    of_targets = log_probs.gather(1, taught.targets.unsqueeze(1)).squeeze(1)
    plain, uniform = -of_targets.mean(), -log_probs.mean()
    metrics = {"train_loss": float(plain.detach()) * shares.words}
    total = ((1 - params.label_smoothing) * plain + params.label_smoothing * uniform) * shares.words
    looked = taught.weights.float().sum(1)  # (B·R, L)
    real = looked.sum(1) > 0  # a rank that no caption fills has looked nowhere
    total = total + params.doubly_stochastic * (1 - looked[real]).square().mean() * shares.captions
    hard = taught.drawn.sum(1) < 0  # log p(s̃ | a), zero where nothing was drawn
    if not hard.any():
        return LossOutput(total, metrics)
    shape = taught.drawn.shape
    words = of_targets.new_zeros(shape.numel()).index_copy(0, taught.place, of_targets.detach()).view(shape)[hard]
    real = words.new_zeros(shape.numel()).index_fill(0, taught.place, 1.0).view(shape)[hard]
    looked = taught.weights[hard].float().clamp(min=1e-12)  # the entropy's slope at zero is infinite
    entropy = -(looked * looked.log()).sum((1, 2))
    reward = float(words.sum() / real.sum())
    gained = reinforcement(words, real, taught.drawn[hard], entropy, reward if baseline is None else baseline, params)
    total = total - gained.sum() / len(of_targets) * shares.words
    return LossOutput(total, metrics, MeanReward(reward, int(real.sum())))


def reinforcement(
    words: Tensor, real: Tensor, drawn: Tensor, entropy: Tensor, baseline: float, params: TrainParams
) -> Tensor:
    """What hard attention maximises beside the captions' probability: a term (N,) a caption, for its gradient alone.

    Hard attention is trained on a lower bound of log p(y | a), y the caption, a the features, s where it looked
    (Xu et al. 2015, equation 10):

        L = Σ_s p(s | a) log p(y | s, a) ≤ log Σ_s p(s | a) p(y | s, a) = log p(y | a)

    By the product rule, with ∂p = p ∂log p (equation 11),

        ∂L = Σ_s p(s | a) [∂log p(y | s, a) + log p(y | s, a) ∂log p(s | a)],

    an expectation over s ~ p(s | a), which the mean over drawn s̃ estimates without bias (equation 12). The first
    part is the cross entropy's own gradient. In the second, log p(s | a) is the sum of log p(s_t | s_<t, a) over the
    steps. From the reward of step t, whatever does not depend on s_t may be taken away, because
    Σ_s_t p(s_t) ∂log p(s_t) = ∂Σ_s_t p(s_t) = ∂1 = 0: the words before t, which hypotheses
    R_t = Σ_u≥t log p(y_u | s̃_≤u, a), and a baseline b a word that is still to come. The nearer that is to the mean of
    R_t, the smaller the variance. b is the moving average of :func:`update_baseline` (equation 13; the paper's is of
    the whole caption, and its reward the whole caption's at every step, with the same mean and more variance).
    λ_r = ``reinforce`` weighs this part, λ_e = ``entropy`` one for the entropy of where it looks (equation 14):

        λ_r Σ_t (R_t − b · words from t on) ∂log p(s̃_t | s̃_<t, a) + λ_e ∂H[s̃]

    words: log p(y_t | s̃, a), real: 1 where there is a word, drawn: log p(s̃_t | a), (N, T) each; entropy (N,): H[s̃].
    """
    gain = (words - baseline * real).detach()
    to_come = gain.flip(1).cumsum(1).flip(1)  # of each step and all behind it
    return params.reinforce_weight * (to_come * drawn).sum(1) + params.entropy_weight * entropy


def update_baseline(baseline: float | None, reward: float) -> float:
    """b_k = 0.9 b_{k-1} + 0.1 reward_k, Xu et al. 2015, equation 13; the first reward is the first b."""
    return reward if baseline is None else 0.9 * baseline + 0.1 * reward
