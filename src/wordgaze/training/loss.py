"""What training minimises."""

import torch
from torch import Tensor

from wordgaze.model.decoder import Taught


def captioning_loss(taught: Taught, label_smoothing: float, doubly_stochastic: float) -> tuple[Tensor, Tensor]:
    """The loss to minimise, and the plain cross entropy a word in nats, without smoothing, to be reported.

    loss = cross entropy a word + λ · mean over captions and cells of (1 − Σ_t α_ti)², Xu et al. 2015, equation 14:
    over a caption, attention is to come past every cell about once. The paper sums over cells where this takes the
    mean, so that λ means the same for every grid.
    """
    log_probs = torch.log_softmax(taught.logits.float(), dim=1)
    plain = -log_probs.gather(1, taught.targets.unsqueeze(1)).mean()
    uniform = -log_probs.mean()
    smoothed = (1 - label_smoothing) * plain + label_smoothing * uniform
    looked = taught.weights.float().sum(1)  # (B·R, L)
    real = looked.sum(1) > 0  # a rank that no caption fills has looked nowhere
    spread = (1 - looked[real]).square().mean()
    return smoothed + doubly_stochastic * spread, plain.detach()
