"""Data-parallel training by torch.distributed: the ranks, one per device, divide the images of every batch.

Every rank has the whole model, computes the gradient for its part of the batch, and takes the same step as the others
after one all_reduce of the gradients, by gloo between CPUs and by NCCL between GPUs. The sum is written out instead of
left to DistributedDataParallel, which averages over ranks where each term of the loss is to be averaged over the words,
captions or images of the whole batch, and whose hooks need all of a step in one ``forward``; Lightning Fabric and
Accelerate wrap DistributedDataParallel, and would hide the same sum.
"""

import torch

from wordgaze.distributed.ranks import Ranks
from wordgaze.training.batches import Batch
from wordgaze.training.losses import LossOutput, MeanReward
from wordgaze.training.random_state import random_state, set_random_state
from wordgaze.training.train_step import TrainStep


class DataParallel:
    """A train step of all ranks: each computes its part of a batch, and gets the gradient of the whole batch."""

    def __init__(self, train_step: TrainStep, ranks: Ranks) -> None:
        self.train_step, self.ranks = train_step, ranks
        self._flat = torch.empty(0, device=train_step.decoder.device)  # new memory would cost more than the copy to it

    def __call__(self, batch: Batch, baseline: float | None = None) -> LossOutput:
        """As :class:`TrainStep`; ``batch`` is the part of this rank. Raises DistributedError if a rank was lost."""
        if self.ranks.world_size == 1:
            return self.train_step(batch, baseline)
        if baseline is None and self.train_step.needs_baseline():
            baseline = self._first_baseline(batch)
        return self._all_reduce(self.train_step(batch, baseline))

    def _first_baseline(self, batch: Batch) -> float | None:
        """The first reward of hard attention is its own baseline, so it has to be the mean over the whole batch."""
        device = self.train_step.decoder.device
        before = random_state(device)
        output = self.train_step(batch, None)
        set_random_state(device, before)  # the step that follows draws the same cells
        value, words = output.reward or (0.0, 0)
        sums = torch.tensor([value * words, words])
        self.ranks.all_reduce(sums)
        total, words = sums.tolist()
        return total / words if words else None

    def _all_reduce(self, output: LossOutput) -> LossOutput:
        """Sums the gradients of all ranks into ``grad``, and what their steps returned."""
        parameters, names = self.train_step.parameters(), sorted(output.metrics)
        value, words = output.reward or (0.0, 0)
        # A parameter that no rank has a gradient for must keep none: the optimiser then leaves it as it is.
        has_gradient = [float(p.grad is not None) for p in parameters]
        numbers = [float(output.loss), value * words, words, *(output.metrics[name] for name in names), *has_gradient]
        gradients = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
        flat = torch.cat([torch.tensor(numbers, device=self._flat.device), *gradients], out=self._flat)
        self.ranks.all_reduce(flat)
        loss, total, words, *rest = flat[: len(numbers)].tolist()
        sums = torch.split(flat[len(numbers) :], [p.numel() for p in parameters])
        for parameter, gradient, ranks_with in zip(parameters, sums, rest[len(names) :], strict=True):
            parameter.grad = gradient.view_as(parameter) if ranks_with else None
        reward = MeanReward(total / words, int(words)) if words else None
        return LossOutput(torch.tensor(loss), dict(zip(names, rest, strict=False)), reward)
