"""What training minimises."""

from collections.abc import Sequence
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
    output: DecoderOutput, params: TrainParams, baseline: float | None = None, shares: Shares = WHOLE
) -> LossOutput:
    """Cross entropy per word + λ · mean over captions and cells of (1 − Σ_t α_ti)², Xu et al. 2015, equation 14: over a
    caption, attention is to visit every cell about once. The paper sums over cells where this takes the mean, so that
    λ means the same for every grid. With hard attention :func:`reinforcement` is added. α is the distribution over the
    cells, also where the context is that of one drawn cell.
    """
    log_probs = torch.log_softmax(output.logits.float(), dim=1)
    target_log_probs = log_probs.gather(1, output.targets.unsqueeze(1)).squeeze(1)
    plain, uniform = -target_log_probs.mean(), -log_probs.mean()
    metrics = {"train_loss": float(plain.detach()) * shares.words}
    loss = ((1 - params.label_smoothing) * plain + params.label_smoothing * uniform) * shares.words
    attended = output.distribution.float().sum(1)  # (B·R, L)
    is_caption = attended.sum(1) > 0  # an image may have fewer than R captions
    loss = loss + params.doubly_stochastic * (1 - attended[is_caption]).square().mean() * shares.captions
    is_hard = output.sample_log_prob.sum(1) < 0  # log p(s̃ | a), zero where nothing was drawn
    if not is_hard.any():
        return LossOutput(loss, metrics)
    shape = output.sample_log_prob.shape
    flat = target_log_probs.new_zeros(shape.numel())
    words = flat.index_copy(0, output.positions, target_log_probs.detach()).view(shape)[is_hard]
    real = words.new_zeros(shape.numel()).index_fill(0, output.positions, 1.0).view(shape)[is_hard]
    alpha = output.distribution[is_hard].float().clamp(min=1e-12)  # the gradient of the entropy at zero is infinite
    entropy = -(alpha * alpha.log()).sum((1, 2))
    reward = float(words.sum() / real.sum())
    baseline = reward if baseline is None else baseline
    gain = reinforcement(words, real, output.sample_log_prob[is_hard], entropy, baseline, params)
    loss = loss - gain.sum() / len(target_log_probs) * shares.words
    return LossOutput(loss, metrics, MeanReward(reward, int(real.sum()) if shares.words else 0))


def reinforcement(
    words: Tensor, real: Tensor, sample_log_prob: Tensor, entropy: Tensor, baseline: float, params: TrainParams
) -> Tensor:
    """The terms (N,), one per caption, that hard attention maximises beside the captions' probability; only their
    gradient has a meaning.

    Hard attention is trained on a lower bound of log p(y | a), y the caption, a the features, s the cells that are
    attended (Xu et al. 2015, equation 10):

        L = Σ_s p(s | a) log p(y | s, a) ≤ log Σ_s p(s | a) p(y | s, a) = log p(y | a)

    By the product rule, with ∂p = p ∂log p (equation 11),

        ∂L = Σ_s p(s | a) [∂log p(y | s, a) + log p(y | s, a) ∂log p(s | a)],

    an expectation over s ~ p(s | a), of which the mean over drawn s̃ is an unbiased estimate (equation 12). The first
    part is the gradient of the cross entropy. In the second, log p(s | a) is the sum of log p(s_t | s_<t, a) over the
    steps. From the reward of step t, whatever does not depend on s_t may be subtracted, because
    Σ_s_t p(s_t) ∂log p(s_t) = ∂Σ_s_t p(s_t) = ∂1 = 0: the log-probabilities of the words before t, which leaves
    R_t = Σ_u≥t log p(y_u | s̃_≤u, a), and a baseline b for each word from t on. The closer b is to the mean of R_t per
    word, the smaller the variance. b is the moving average of :func:`update_baseline` (equation 13; the paper takes
    the average and the reward of the whole caption at every step, with the same mean and more variance). λ_r =
    ``reinforce_weight`` is the weight of this part, and λ_e = ``entropy_weight`` that of the entropy of the attention
    (equation 14):

        λ_r Σ_t (R_t − b · words from t on) ∂log p(s̃_t | s̃_<t, a) + λ_e ∂H[s̃]

    words: log p(y_t | s̃, a), real: 1 where there is a word, sample_log_prob: log p(s̃_t | s̃_<t, a), (N, T) each;
    entropy (N,): H[s̃].
    """
    gain = (words - baseline * real).detach()
    future = gain.flip(1).cumsum(1).flip(1)  # of each step and all after it
    return params.reinforce_weight * (future * sample_log_prob).sum(1) + params.entropy_weight * entropy


def sum_outputs(outputs: Sequence[LossOutput]) -> LossOutput:
    """The output of a whole batch from those of its parts; the reward is the mean over the words of all parts."""
    if len(outputs) == 1:
        return outputs[0]
    metrics = {name: sum(output.metrics[name] for output in outputs) for name in outputs[0].metrics}
    rewards = [output.reward for output in outputs if output.reward]
    words = sum(reward.words for reward in rewards)
    reward = MeanReward(sum(reward.value * reward.words for reward in rewards) / words, words) if words else None
    return LossOutput(torch.stack([output.loss for output in outputs]).sum(), metrics, reward)


def update_baseline(baseline: float | None, reward: float) -> float:
    """b_k = 0.9 b_{k-1} + 0.1 reward_k, Xu et al. 2015, equation 13; the first reward is the first b."""
    return reward if baseline is None else 0.9 * baseline + 0.1 * reward
