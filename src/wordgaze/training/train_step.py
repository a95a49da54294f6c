"""From a batch to the gradients of what training minimises."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from wordgaze.config.params import TrainParams
from wordgaze.models.decoder import Decoder, DecoderOutput
from wordgaze.training.batches import Batch
from wordgaze.training.losses import LossOutput, captioning_loss
from wordgaze.training.self_critical import SelfCriticalLoss
from wordgaze.vision.encoders import Encoder

Term = Callable[[Tensor, Batch, float | None], LossOutput]


@dataclass(frozen=True)
class Objective:
    """What a step minimises: ``cross_entropy`` times that of the captions given, and the loss of ``critical``, if any.

    With ``critical`` the first dev score to beat is that of the weights that training begins with.
    """

    cross_entropy: float = 1.0
    critical: SelfCriticalLoss | None = None


class TrainStepOutput(NamedTuple):
    """What was minimised, what the curve shows of it, and the reward of hard attention, if it looked anywhere."""

    total: float
    shown: dict[str, float]
    reward: float | None


class TrainStep:
    """A decoder, an encoder that is trained along, if any, and what they learn from a batch, in ``dtype``."""

    def __init__(
        self, decoder: Decoder, encoder: Encoder | None, params: TrainParams, objective: Objective, dtype: torch.dtype
    ) -> None:
        self.decoder, self.encoder, self.params, self.objective = decoder, encoder, params, objective
        self.dtype = dtype

    def parameters(self) -> list[nn.Parameter]:
        """What learns, always in the same order."""
        return [p for module in self._modules() for p in module.parameters() if p.requires_grad]

    def share_memory(self) -> None:
        """Moves the weights to where other processes see them change."""
        for module in self._modules():
            module.share_memory()

    def _modules(self) -> list[nn.Module]:
        return [self.decoder, *([self.encoder] if self.encoder else [])]

    def learn(self, batch: Batch, baseline: float | None) -> TrainStepOutput:
        """Leaves a batch's gradients in the parameters. ``baseline`` is that of hard attention's reward."""
        features = batch.features.to(self.decoder.device)
        features = self.encoder(features) if self.encoder else features
        parts = [(weight, term(features, batch, baseline)) for weight, term in self._terms()]
        for parameter in self.parameters():
            parameter.grad = None
        total = torch.stack([weight * part.total for weight, part in parts]).sum()
        total.backward()  # type: ignore[no-untyped-call]
        shown = {"train_loss": sum(weight * part.plain for weight, part in parts)}
        rewards = [part.reward for _, part in parts if part.reward is not None]
        for _, part in parts:
            shown |= part.shown
        return TrainStepOutput(float(total.detach()), shown, rewards[0] if rewards else None)

    def _terms(self) -> list[tuple[float, Term]]:
        """What a step minimises the sum of, each with its weight."""
        terms: list[tuple[float, Term]] = []
        if self.objective.cross_entropy:
            terms.append((self.objective.cross_entropy, self._cross_entropy))
        if self.objective.critical:
            terms.append((1.0, partial(self._rewarded, self.objective.critical)))
        return terms

    def _cross_entropy(self, features: Tensor, batch: Batch, baseline: float | None) -> LossOutput:
        self.decoder.train()
        taught = self._teach(features, batch.captions.to(features.device))
        loss = captioning_loss(taught, self.params, baseline)
        return LossOutput(loss.total, float(loss.plain), {}, loss.reward)

    def _rewarded(self, critical: SelfCriticalLoss, features: Tensor, batch: Batch, _: float | None) -> LossOutput:
        return critical(self.decoder, self._teach, features, batch)

    def _teach(self, features: Tensor, captions: Tensor) -> DecoderOutput:
        # Weights are cast once a step; the gradients flow back to the fp32 ones that the optimiser holds.
        weights = {name: p.to(self.dtype) for name, p in self.decoder.named_parameters()}
        taught: DecoderOutput = functional_call(self.decoder, weights, (features.to(self.dtype), captions))
        return taught
