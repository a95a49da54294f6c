"""From a batch to the gradient of what training minimises."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from wordgaze.config.params import TrainParams
from wordgaze.core.errors import ModelError
from wordgaze.core.out_of_memory import free_memory
from wordgaze.models.cuda_graphs import GraphedRecurrence
from wordgaze.models.decoder import Decoder, DecoderOutput, Recurrence
from wordgaze.models.kernels.packing import BatchPart
from wordgaze.training.attention_supervision import AttentionSupervision
from wordgaze.training.batches import Batch
from wordgaze.training.losses import LossOutput, captioning_loss, sum_outputs
from wordgaze.training.random_state import random_state, set_random_state
from wordgaze.training.self_critical import SelfCriticalLoss
from wordgaze.vision.augmentation import Augmentation
from wordgaze.vision.encoders import Encoder

Term = Callable[[Tensor, Batch, float | None], LossOutput]


@dataclass(frozen=True)
class Objective:
    """What training minimises: ``cross_entropy_weight`` times the captioning loss, to which ``attention`` adds a term,
    if any, plus ``self_critical``, if any."""

    cross_entropy_weight: float = 1.0
    self_critical: SelfCriticalLoss | None = None
    attention: AttentionSupervision | None = None


class TrainStep:
    """Computes the gradient of the objective for a batch.

    The decoder, and the encoder if one is trained too, keep weights of fp32; the forward pass of the decoder runs in
    ``dtype``. ``augmentation`` changes the pixels that the encoder is trained on; while ``trains_encoder`` is False,
    the encoder has no gradient.
    """

    def __init__(
        self,
        decoder: Decoder,
        encoder: Encoder | None,
        params: TrainParams,
        objective: Objective,
        dtype: torch.dtype,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.decoder, self.encoder, self.params, self.objective = decoder, encoder, params, objective
        self.dtype, self.augmentation = dtype, augmentation
        self.trains_encoder = True
        # One of each for every term: the backward pass of the first term comes after the forward pass of the second.
        self._recurrences = self._graphs()
        self._parts = 1  # that a batch is divided into, so that the memory of a GPU is enough

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are trained, always in the same order."""
        return [p for module in self._modules() for p in module.parameters() if p.requires_grad]

    def needs_baseline(self) -> bool:
        """Whether hard attention is trained by the reward of its draws, for which it needs a baseline."""
        return self.decoder.config.hard_attention and self.objective.cross_entropy_weight > 0

    def __call__(self, batch: Batch, baseline: float | None = None) -> LossOutput:
        """Writes the gradient of the loss into ``grad`` of the parameters. ``baseline`` is that of hard attention.

        Where the memory of a GPU is too small, the batch is divided, and the gradients of the parts are summed: the
        gradient is that of the whole batch, up to rounding and, with hard attention and rewards, random numbers. Raises
        ModelError if the memory is too small for one image.
        """
        before = random_state(self.decoder.device)
        while True:
            for parameter in self.parameters():
                parameter.grad = None
            try:
                return sum_outputs([self._add_gradient(part, baseline) for part in self._divided(batch, before)])
            except torch.OutOfMemoryError as error:
                if self._parts >= len(batch.images):
                    raise ModelError(
                        "the GPU has too little memory to train on one image; use a smaller model, or device: cpu"
                    ) from error
            self._parts *= 2
            self._recurrences = self._graphs()  # those of the shapes so far hold memory
            free_memory("training", len(batch.images))

    def _divided(self, batch: Batch, before: dict[str, Tensor]) -> Iterator[Batch]:
        """The batch, or its parts, each of which draws its random numbers from the state ``before`` the batch."""
        if self._parts == 1:
            yield batch
            return
        for part in batch.split(self._parts):
            set_random_state(self.decoder.device, before)
            yield part

    def _graphs(self) -> dict[str, Recurrence]:
        if self.decoder.device.type != "cuda" or self.decoder.config.hard_attention:  # which draws
            return {}
        return {name: GraphedRecurrence(self.decoder, self.dtype) for name in ("cross_entropy", "self_critical")}

    def _add_gradient(self, batch: Batch, baseline: float | None) -> LossOutput:
        """Adds the gradient of a batch, or of a part of one, to ``grad`` of the parameters."""
        features = self._features(batch)
        terms = [(weight, term(features, batch, baseline)) for weight, term in self._terms()]
        loss = torch.stack([weight * term.loss for weight, term in terms]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        metrics = {name: value for _, term in terms for name, value in term.metrics.items()}
        metrics["train_loss"] = sum(weight * term.metrics["train_loss"] for weight, term in terms)
        rewards = [term.reward for _, term in terms if term.reward]
        return LossOutput(loss.detach(), metrics, rewards[0] if rewards else None)

    def _features(self, batch: Batch) -> Tensor:
        """The features (B, L, D) of a batch: its own, or those of its pixels if the encoder is trained too."""
        inputs = batch.features.to(self.decoder.device)
        if self.encoder is None:
            return inputs
        if self.augmentation:
            first, images = (batch.part.first, len(batch.part.captions)) if batch.part else (0, len(inputs))
            inputs = self.augmentation(inputs, first, images)
        with torch.set_grad_enabled(self.trains_encoder):
            return self.encoder(inputs)  # type: ignore[no-any-return]

    def _modules(self) -> list[nn.Module]:
        return [self.decoder, *([self.encoder] if self.encoder else [])]

    def _terms(self) -> list[tuple[float, Term]]:
        """The terms of the objective, each with its weight."""
        terms: list[tuple[float, Term]] = []
        if self.objective.cross_entropy_weight:
            terms.append((self.objective.cross_entropy_weight, self._cross_entropy))
        if self.objective.self_critical:
            terms.append((1.0, partial(self._self_critical, self.objective.self_critical)))
        return terms

    def _cross_entropy(self, features: Tensor, batch: Batch, baseline: float | None) -> LossOutput:
        self.decoder.train()
        captions, part = batch.captions.to(features.device), batch.part
        if self.decoder.config.hard_attention:  # the number of its draws depends on the part
            with self._numbers_of_part(part):
                output = self._forward(features, captions, "cross_entropy")
        else:
            place = part._replace(captions=part.captions.to(features.device)) if part else None
            output = self._forward(features, captions, "cross_entropy", place)
        loss = captioning_loss(output, self.params, baseline, batch.shares())
        if self.objective.attention is None:
            return loss
        supervised = self.objective.attention.loss(output, batch)
        metrics = {**loss.metrics, "attention_loss": float(supervised.detach())}
        return LossOutput(loss.loss + supervised, metrics, loss.reward)

    def _self_critical(self, loss: SelfCriticalLoss, features: Tensor, batch: Batch, _: float | None) -> LossOutput:
        def forward(features: Tensor, captions: Tensor) -> DecoderOutput:
            with self._numbers_of_part(batch.part):  # the lengths of the other parts' samples are not known
                return self._forward(features, captions, "self_critical")

        return loss(self.decoder, forward, features, batch)

    @contextmanager
    def _numbers_of_part(self, part: BatchPart | None) -> Iterator[None]:
        """Draws random numbers that depend on the place of the part in its batch. Outside of the block all ranks draw
        the same ones, however many the block takes."""
        if part is None:
            yield
            return
        device = self.decoder.device
        seed = int(torch.randint(2**62, ())) + part.first
        outside = random_state(device)
        torch.manual_seed(seed)
        yield
        set_random_state(device, outside)

    def _forward(self, features: Tensor, captions: Tensor, term: str, part: BatchPart | None = None) -> DecoderOutput:
        # Weights are cast once a step; the gradients flow back to the fp32 ones that the optimiser holds.
        weights = {name: p.to(self.dtype) for name, p in self.decoder.named_parameters()}
        output: DecoderOutput = functional_call(
            self.decoder, weights, (features.to(self.dtype), captions, self._recurrences.get(term), part)
        )
        return output
