"""The training loop: teacher forcing, a dev score by real decoding after every epoch, early stopping, resume.

Killed at any moment and started again, it ends with the same bytes as if it had not been: the order of batches comes
from seed and epoch, everything else that changes is in the checkpoint.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wordgaze.config.params import TrainParams
from wordgaze.core.device import pick_device, pick_dtype
from wordgaze.core.errors import ModelError
from wordgaze.models.decoder import Decoder
from wordgaze.training.batches import Batch, BatchLoader
from wordgaze.training.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from wordgaze.training.losses import update_baseline
from wordgaze.training.parallel import DataParallel, data_parallel
from wordgaze.training.train_step import Objective, TrainStep
from wordgaze.vision.encoders import Encoder

Row = dict[str, float]


@dataclass
class Progress:
    """Where training stands; all of it goes into the checkpoint."""

    epoch: int = 0
    batch: int = 0
    sums: Row = field(default_factory=dict)  # over the steps of the epoch, of what the curve shows the mean of
    best_score: float = -math.inf
    best_epoch: int = -1
    baseline: float | None = None  # of hard attention's reward
    history: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class FinetunedEncoder:
    """An encoder whose last blocks are trained along, with a learning rate of their own; batches bring its pixels."""

    encoder: Encoder
    blocks: int
    learning_rate: float


class Trainer:
    """Trains a decoder. ``dev_score(decoder)`` is the number that early stopping goes by, higher is better."""

    def __init__(
        self,
        decoder: Decoder,
        batches: BatchLoader,
        dev_score: Callable[[Decoder], float],
        params: TrainParams,
        seed: int,
        checkpoint: Path,
        tuned: FinetunedEncoder | None = None,
        objective: Objective | None = None,
    ) -> None:
        self.device = pick_device(params.device)
        self.decoder = decoder.to(self.device)
        self.batches, self.dev_score, self.params, self.checkpoint = batches, dev_score, params, checkpoint
        groups = [{"params": [p for p in decoder.parameters() if p.requires_grad], "peak": params.learning_rate}]
        self.encoder = tuned.encoder.to(self.device) if tuned else None
        if tuned:
            groups.append({"params": tuned.encoder.unfreeze(tuned.blocks), "peak": tuned.learning_rate})
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=params.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=params.weight_decay,
            fused=True,
        )
        dtype = pick_dtype(params.precision, self.device)
        self.train_step = TrainStep(self.decoder, self.encoder, params, objective or Objective(), dtype)
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.average = _copies(self._learned()) if params.ema_decay else {}
        torch.manual_seed(seed)

    def run(self, on_epoch: Callable[[Row], None], on_step: Callable[[int, int], None]) -> list[Row]:
        """Trains to the end or to an early stop, and hypotheses the best weights in the decoder. Returns the curve.

        ``on_epoch`` gets the curve's new row, ``on_step`` the number of steps done and the number of all steps.
        """
        if self.checkpoint.exists():
            self._restore()
        with data_parallel(self.train_step, self.params.num_processes if self.device.type == "cpu" else 1) as together:
            self._epochs(together, on_epoch, on_step)
        self._learn(self.best)
        return self.progress.history

    def _epochs(
        self, data_parallel: DataParallel, on_epoch: Callable[[Row], None], on_step: Callable[[int, int], None]
    ) -> None:
        if self.train_step.objective.critical and not self.progress.history:
            self.progress.history.append({"epoch": 0, "dev_cider": self._judge(data_parallel, -1)})
            on_epoch(self.progress.history[0])
        saved = time.monotonic()
        while self.progress.epoch < self.params.epochs and not self.should_stop():
            for batch in self.batches.epoch(self.progress.epoch, self.progress.batch, self.device.type == "cuda"):
                self._step(data_parallel, batch)
                self.progress.batch += 1
                on_step(self._steps(), self.params.epochs * len(self.batches))
                if time.monotonic() - saved >= self.params.checkpoint_seconds:
                    self._save()
                    saved = time.monotonic()
            on_epoch(self._finish_epoch(data_parallel))
            self._save()
            saved = time.monotonic()

    def lr_lambda(self, step: int) -> float:
        """The share of the learning rate: linear warm-up, then half a cosine down to a hundredth."""
        total, warmup = self.params.epochs * len(self.batches), self.params.warmup_steps
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, total - warmup)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))

    def _step(self, data_parallel: DataParallel, batch: Batch) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self.lr_lambda(self._steps())
        learned = data_parallel.learn(batch, self.progress.baseline)
        if not math.isfinite(learned.total):
            raise ModelError(
                f"the loss is {learned.total} at step {self._steps()}; try a lower learning_rate or max_grad_norm"
            )
        torch.nn.utils.clip_grad_norm_(self.train_step.parameters(), self.params.max_grad_norm)
        self.optimizer.step()
        self._update_ema()
        if learned.reward is not None:
            self.progress.baseline = update_baseline(self.progress.baseline, learned.reward)
        for name, value in learned.shown.items():
            self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Moves the averaged weights towards the new ones; faster at first, so that the first are soon forgotten."""
        kept = min(self.params.ema_decay, (1 + self._steps()) / (10 + self._steps()))
        learned = self._learned()
        for name, average in self.average.items():
            average.lerp_(learned[name], 1 - kept)

    def _finish_epoch(self, data_parallel: DataParallel) -> Row:
        progress = self.progress
        row = {
            "epoch": progress.epoch + 1,
            "learning_rate": self.params.learning_rate * self.lr_lambda(self._steps() - 1),
            **{name: total / len(self.batches) for name, total in progress.sums.items()},
            "dev_cider": self._judge(data_parallel, progress.epoch),
        }
        progress.history.append(row)
        progress.epoch, progress.batch, progress.sums = progress.epoch + 1, 0, {}
        return row

    def _judge(self, data_parallel: DataParallel, epoch: int) -> float:
        """The dev score of the weights that training would end with now: the averaged ones, where there are such."""
        own = _copies(self._learned())
        self._learn(self.average or own)
        self.decoder.eval()
        with data_parallel.resting():
            score = self.dev_score(self.decoder)
        if score > self.progress.best_score:
            self.progress.best_score, self.progress.best_epoch = score, epoch
            self.best = _copies(self._learned())
        self._learn(own)
        return score

    def _learned(self) -> dict[str, Tensor]:
        """The weights that training changes."""
        learned: dict[str, Tensor] = {f"decoder.{k}": v for k, v in self.decoder.state_dict().items()}
        if self.encoder:
            learned |= {f"encoder.{k}": p for k, p in self.encoder.named_parameters() if p.requires_grad}
        return learned

    @torch.no_grad()
    def _learn(self, learned: dict[str, Tensor]) -> None:
        for name, own in self._learned().items():
            own.copy_(learned[name])

    def should_stop(self) -> bool:
        return self.progress.epoch - 1 - self.progress.best_epoch >= self.params.patience

    def _steps(self) -> int:
        return self.progress.epoch * len(self.batches) + self.progress.batch

    def _save(self) -> None:
        tensors = {
            "learned": self._learned(),
            "best": self.best,
            "average": self.average,
            "optimizer": optimizer_tensors(self.optimizer),
            "random": _random_state(self.device),
        }
        progress: dict[str, Any] = dict(vars(self.progress))
        progress["best_score"] = None if math.isinf(self.progress.best_score) else self.progress.best_score
        save_checkpoint(self.checkpoint, tensors, progress)

    def _restore(self) -> None:
        tensors, progress = load_checkpoint(self.checkpoint)
        if progress["best_score"] is None:
            progress["best_score"] = -math.inf
        self.progress = Progress(**progress)
        self.best = tensors.get("best", {})
        self.average = {name: tensor.to(self.device) for name, tensor in tensors.get("average", {}).items()}
        self._learn(tensors["learned"])
        restore_optimizer(self.optimizer, tensors["optimizer"])
        torch.set_rng_state(tensors["random"]["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random"]["cuda"])


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state()
    return state
