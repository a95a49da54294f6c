"""The training loop: teacher forcing, a dev score by decoding after every epoch, early stopping, resume.

A training that is killed at any moment and started again ends with the same bytes as one that is not: the order of the
batches follows from seed and epoch, and everything else that changes is in the checkpoint.

A training stops with an error where numbers are lost: if the loss or the norm of the gradient is not finite, before the
weights take the step; and if it diverges, which is when the cross entropy per word, averaged over about the last
LOSS_STEPS steps, is more than MAX_LOSS times that of guessing all words of the vocabulary with equal probability.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from wordgaze.config.params import TrainParams
from wordgaze.core.device import pick_device, pick_dtype
from wordgaze.core.errors import ModelError
from wordgaze.distributed.ranks import Ranks
from wordgaze.models.decoder import Decoder
from wordgaze.training.batches import Batch, BatchLoader
from wordgaze.training.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from wordgaze.training.distributed import DataParallel
from wordgaze.training.losses import update_baseline
from wordgaze.training.random_state import random_state, set_random_state
from wordgaze.training.train_step import Objective, TrainStep
from wordgaze.vision.augmentation import Augmentation
from wordgaze.vision.encoders import Encoder

LOSS_STEPS = 20
ENCODER_EPOCH = 1  # the first epoch, counted from 0, in which a fine-tuned encoder is trained
MAX_LOSS = 2.0

EpochMetrics = dict[str, float]
"""A row of the training curve: ``epoch``, ``learning_rate``, the means of the steps' metrics, and ``dev_cider``."""

OnEpoch = Callable[[EpochMetrics], None]
OnStep = Callable[[int, int], None]


@dataclass
class TrainerState:
    """The position of a training; all of it is saved in the checkpoint."""

    epoch: int = 0
    batch: int = 0
    metric_sums: dict[str, float] = field(default_factory=dict)  # over the steps of the epoch so far
    best_score: float | None = None
    best_epoch: int = -1
    baseline: float | None = None  # of hard attention's reward
    mean_loss: float | None = None  # cross entropy per word, a moving average
    saved_step: int = 0  # of the last checkpoint
    history: list[EpochMetrics] = field(default_factory=list)


@dataclass(frozen=True)
class FinetunedEncoder:
    """An encoder whose last blocks are trained too, with their own learning rate; batches then hold pixels, which
    ``augmentation`` changes.

    In the first epoch the decoder is trained alone: the gradients of random weights would only harm the encoder. In the
    second one the learning rate of the encoder rises.
    """

    encoder: Encoder
    blocks: int
    learning_rate: float
    augmentation: Augmentation


class Trainer:
    """Trains a decoder. Early stopping follows ``dev_score(decoder)``; higher is better."""

    def __init__(
        self,
        decoder: Decoder,
        batches: BatchLoader,
        dev_score: Callable[[Decoder], float],
        params: TrainParams,
        seed: int,
        checkpoint: Path,
        finetuned: FinetunedEncoder | None = None,
        objective: Objective | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.ranks = ranks or Ranks()
        self.device = pick_device(params.device)
        self.decoder, self.encoder = decoder.to(self.device), finetuned.encoder.to(self.device) if finetuned else None
        self.batches, self.dev_score, self.params, self.checkpoint = batches, dev_score, params, checkpoint
        batches.divide(self.ranks.rank, self.ranks.world_size)
        self.optimizer = _build_optimizer(decoder, finetuned, params)
        dtype = pick_dtype(params.precision, self.device)
        augmentation = finetuned.augmentation if finetuned else None
        self.train_step = TrainStep(self.decoder, self.encoder, params, objective or Objective(), dtype, augmentation)
        self.state = TrainerState()
        self.best: dict[str, Tensor] = {}
        self.ema = _copy(self._weights()) if params.ema_decay else {}
        torch.manual_seed(seed)

    def train(self, on_epoch: OnEpoch, on_step: OnStep) -> list[EpochMetrics]:
        """Trains to the last epoch or an early stop, and loads the best weights into the decoder. Returns the curve.

        ``on_epoch`` receives each new row of the curve, ``on_step`` the number of finished steps and of all steps. All
        ranks train, and end with the same weights; the first one alone decodes the dev split and saves checkpoints.
        """
        step = DataParallel(self.train_step, self.ranks)
        with self.ranks.divided_threads():
            self._resume()
            if self.train_step.objective.self_critical and not self.state.history:
                self._evaluate_start(on_epoch)
            while self.state.epoch < self.params.epochs and not self.should_stop:
                self._train_epoch(step, on_step)
                on_epoch(self._end_epoch())
                self._save()
        self._load_weights(self.best)
        return self.state.history

    def _train_epoch(self, step: DataParallel, on_step: OnStep) -> None:
        """Trains on the batches of the epoch that are left, and saves a checkpoint now and then."""
        saved = time.monotonic()
        for batch in self.batches.epoch(self.state.epoch, self.state.batch, prefetch=self.device.type == "cuda"):
            self.update(step, batch)
            on_step(self.num_steps, self.params.epochs * len(self.batches))
            if time.monotonic() - saved >= self.params.checkpoint_seconds:
                self._save()
                saved = time.monotonic()

    def update(self, step: DataParallel, batch: Batch) -> None:
        """Updates the weights by the gradient of one batch."""
        for group in self.optimizer.param_groups:
            epochs = self.num_steps / len(self.batches) - group["first_epoch"]
            ramp = min(1.0, max(0.0, epochs)) if group["first_epoch"] else 1.0
            group["lr"] = group["peak"] * self.lr_lambda(self.num_steps) * ramp
        self.train_step.trains_encoder = self.state.epoch >= ENCODER_EPOCH
        output = step(batch, self.state.baseline)
        self._check_number("loss", float(output.loss))
        norm = torch.nn.utils.clip_grad_norm_(self.train_step.parameters(), self.params.max_grad_norm)
        self._check_number("norm of the gradient", float(norm))
        self._check_divergence(output.metrics["train_loss"])
        self.optimizer.step()
        self._update_ema()
        if output.reward:
            self.state.baseline = update_baseline(self.state.baseline, output.reward.value)
        for name, value in output.metrics.items():
            self.state.metric_sums[name] = self.state.metric_sums.get(name, 0.0) + value
        self.state.batch += 1

    def _check_number(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise self._failed(f"the {what} is {value}")

    def _check_divergence(self, loss: float) -> None:
        """Raises ModelError if the moving average of the cross entropy is that of a training that diverges."""
        if self.train_step.objective.self_critical:  # the loss is a reward, and the best weights are kept
            return
        before = loss if self.state.mean_loss is None else self.state.mean_loss
        self.state.mean_loss = before + (loss - before) / LOSS_STEPS
        guessing = math.log(self.decoder.vocabulary_size)
        if self.state.mean_loss > MAX_LOSS * guessing:
            raise self._failed(
                f"the training diverges: the cross entropy per word is {self.state.mean_loss:.3g}, and guessing has"
                f" {guessing:.3g}"
            )

    def _failed(self, reason: str) -> ModelError:
        saved, kept = self.state.saved_step, "no checkpoint was saved"
        if saved:
            kept = f"the last good checkpoint, of step {saved}, is {self.checkpoint}"
        return ModelError(f"{reason} at step {self.num_steps}; {kept}; lower learning_rate or max_grad_norm")

    def lr_lambda(self, step: int) -> float:
        """The factor of the learning rate: a linear warm-up, then half a cosine down to 0.01."""
        total, warmup = self.params.epochs * len(self.batches), self.params.warmup_steps
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, total - warmup)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))

    @property
    def num_steps(self) -> int:
        """The number of finished steps."""
        return self.state.epoch * len(self.batches) + self.state.batch

    @property
    def should_stop(self) -> bool:
        """Whether the dev score has not improved for ``patience`` epochs."""
        return self.state.epoch - 1 - self.state.best_epoch >= self.params.patience

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Moves the averaged weights towards the new ones. The decay grows, so that the first weights are forgotten."""
        decay = min(self.params.ema_decay, (1 + self.num_steps) / (10 + self.num_steps))
        weights = self._weights()
        for name, average in self.ema.items():
            average.lerp_(weights[name], 1 - decay)

    def _evaluate_start(self, on_epoch: OnEpoch) -> None:
        """Scores the weights that training starts from: a reward that makes them worse must not replace them."""
        self.state.history.append({"epoch": 0, "dev_cider": self.evaluate_dev(-1)})
        on_epoch(self.state.history[0])

    def _end_epoch(self) -> EpochMetrics:
        state = self.state
        row = {
            "epoch": state.epoch + 1,
            "learning_rate": self.params.learning_rate * self.lr_lambda(self.num_steps - 1),
            **{name: total / len(self.batches) for name, total in state.metric_sums.items()},
            "dev_cider": self.evaluate_dev(state.epoch),
        }
        state.history.append(row)
        state.epoch, state.batch, state.metric_sums = state.epoch + 1, 0, {}
        return row

    def evaluate_dev(self, epoch: int) -> float:
        """The dev score of the averaged weights if there are any, else of the weights. Keeps them if they are best."""
        weights = _copy(self._weights())
        self._load_weights(self.ema or weights)
        self.decoder.eval()
        score = self.ranks.from_first(lambda: self.dev_score(self.decoder))
        if self.state.best_score is None or score > self.state.best_score:
            self.state.best_score, self.state.best_epoch = score, epoch
            self.best = _copy(self._weights())
        self._load_weights(weights)
        return score

    def _weights(self) -> dict[str, Tensor]:
        """The weights that training changes, by reference."""
        weights: dict[str, Tensor] = {f"decoder.{k}": v for k, v in self.decoder.state_dict().items()}
        if self.encoder:
            weights |= {f"encoder.{k}": p for k, p in self.encoder.named_parameters() if p.requires_grad}
        return weights

    @torch.no_grad()
    def _load_weights(self, weights: dict[str, Tensor]) -> None:
        for name, own in self._weights().items():
            own.copy_(weights[name])

    def _save(self) -> None:
        self.state.saved_step = self.num_steps
        if not self.ranks.is_first:
            return
        tensors = {
            "weights": self._weights(),
            "best": self.best,
            "ema": self.ema,
            "optimizer": optimizer_tensors(self.optimizer),
            "random": random_state(self.device),
        }
        save_checkpoint(self.checkpoint, tensors, vars(self.state))

    def _resume(self) -> None:
        """Continues from the checkpoint of the first rank if there is one; else all start from the same weights."""
        self.ranks.broadcast(list(self._weights().values()))
        if not (loaded := self.ranks.from_first(lambda: load_checkpoint(self.checkpoint))):
            return
        tensors, state = loaded
        self.state = TrainerState(**state)
        self.best = tensors.get("best", {})
        self.ema = {name: tensor.to(self.device) for name, tensor in tensors.get("ema", {}).items()}
        self._load_weights(tensors["weights"])
        restore_optimizer(self.optimizer, tensors["optimizer"])
        set_random_state(self.device, tensors["random"])


def _build_optimizer(decoder: Decoder, finetuned: FinetunedEncoder | None, params: TrainParams) -> torch.optim.AdamW:
    """AdamW with one group of parameters per peak learning rate."""
    own = [p for p in decoder.parameters() if p.requires_grad]
    groups = [{"params": own, "peak": params.learning_rate, "first_epoch": 0}]
    if finetuned:
        blocks = finetuned.encoder.unfreeze(finetuned.blocks)
        groups.append({"params": blocks, "peak": finetuned.learning_rate, "first_epoch": ENCODER_EPOCH})
    return torch.optim.AdamW(
        groups, lr=params.learning_rate, betas=(0.9, 0.98), weight_decay=params.weight_decay, fused=True
    )


def _copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
