"""What training minimises."""

from typing import NamedTuple

import torch
from torch import Tensor

from wordgaze.model.decoder import Taught
from wordgaze.params import TrainParams


class Loss(NamedTuple):
    """``total`` is to be minimised; ``plain`` is the cross entropy a word in nats, without smoothing, to be reported;
    ``reward`` is the mean log p(caption) of those captions whose cells were drawn, None where none was."""

    total: Tensor
    plain: Tensor
    reward: float | None


def captioning_loss(taught: Taught, params: TrainParams, baseline: float | None = None) -> Loss:
    """Cross entropy a word + λ · mean over captions and cells of (1 − Σ_t α_ti)², Xu et al. 2015, equation 14: over a
    caption, attention is to come past every cell about once. The paper sums over cells where this takes the mean, so
    that λ means the same for every grid. With hard attention :func:`reinforcement` is added.
    """
    log_probs = torch.log_softmax(taught.logits.float(), dim=1)
    of_targets = log_probs.gather(1, taught.targets.unsqueeze(1)).squeeze(1)
    plain, uniform = -of_targets.mean(), -log_probs.mean()
    total = (1 - params.label_smoothing) * plain + params.label_smoothing * uniform
    looked = taught.weights.float().sum(1)  # (B·R, L)
    real = looked.sum(1) > 0  # a rank that no caption fills has looked nowhere
    total = total + params.doubly_stochastic * (1 - looked[real]).square().mean()
    drawn = taught.drawn.sum(1)  # log p(s̃ | a), zero where nothing was drawn
    hard = drawn < 0
    if not hard.any():
        return Loss(total, plain.detach(), None)
    captions = torch.zeros_like(drawn).index_add(0, taught.caption, of_targets.detach())[hard]  # log p(y | s̃, a)
    reward = float(captions.mean())
    looked = taught.weights[hard].float().clamp(min=1e-12)  # the entropy's slope at zero is infinite
    entropy = -(looked * looked.log()).sum((1, 2))
    gained = reinforcement(captions, drawn[hard], entropy, reward if baseline is None else baseline, params)
    return Loss(total - gained.sum() / len(of_targets), plain.detach(), reward)


def reinforcement(captions: Tensor, drawn: Tensor, entropy: Tensor, baseline: float, params: TrainParams) -> Tensor:
    """What hard attention maximises beside the captions' probability: a term (N,) a caption, for its gradient alone.

    Hard attention is trained on a lower bound of log p(y | a), y the caption, a the features, s where it looked
    (Xu et al. 2015, equation 10):

        L = Σ_s p(s | a) log p(y | s, a) ≤ log Σ_s p(s | a) p(y | s, a) = log p(y | a)

    By the product rule, with ∂p = p ∂log p (equation 11),

        ∂L = Σ_s p(s | a) [∂log p(y | s, a) + log p(y | s, a) ∂log p(s | a)],

    an expectation over s ~ p(s | a), which the mean over drawn s̃ estimates without bias (equation 12). The first
    part is the cross entropy's own gradient. In the second, a number b that does not depend on s̃ may be subtracted
    from log p(y | s̃, a), because Σ_s p(s | a) ∂log p(s | a) = ∂Σ_s p(s | a) = ∂1 = 0; the nearer b is to the mean,
    the smaller the variance. It is the moving average of :func:`moved_baseline` (equation 13). λ_r = ``reinforce``
    weighs this part, λ_e = ``entropy`` one for the entropy of where it looks (equation 14):

        λ_r (log p(y | s̃, a) − b) ∂log p(s̃ | a) + λ_e ∂H[s̃]

    captions: log p(y | s̃, a), drawn: log p(s̃ | a), entropy: H[s̃], (N,) each.
    """
    return params.reinforce * (captions - baseline).detach() * drawn + params.entropy * entropy


def moved_baseline(baseline: float | None, reward: float) -> float:
    """b_k = 0.9 b_{k-1} + 0.1 log p(y | s̃_k, a), Xu et al. 2015, equation 13; the first reward is the first b."""
    return reward if baseline is None else 0.9 * baseline + 0.1 * reward
