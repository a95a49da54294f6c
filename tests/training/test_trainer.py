"""The training loop: killed anywhere it ends with the same bytes; it stops when it should, with the best weights."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from wordgaze.config.params import Stage2Params, TrainParams
from wordgaze.core.errors import ModelError
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import END, SPECIAL, Vocabulary
from wordgaze.training.batches import Batch, BatchLoader, Example, pad_captions
from wordgaze.training.checkpoint import load_checkpoint
from wordgaze.training.losses import LossOutput, captioning_loss
from wordgaze.training.self_critical import SelfCriticalLoss
from wordgaze.training.train_step import Objective, TrainStep
from wordgaze.training.trainer import EpochMetrics, Trainer

SIZES = DecoderConfig(
    embedding_size=5, hidden_size=6, attention_size=4, feature_size=5, standardise=False,
    dropout_embedding=0.5, dropout_features=0.5, dropout_output=0.5,
)  # fmt: skip
EXAMPLES = [Example(str(i), ((4 + i % 4, 5, END), (6, 4 + i % 3, 7, END)[: 2 + i % 3])) for i in range(7)]
PLAIN = TrainParams(
    epochs=3, batch_size=3, learning_rate=0.05, warmup_steps=2, checkpoint_seconds=0, device="cpu", precision="fp32"
)
STEPS = 3  # an epoch
Score = Callable[[Decoder], float]


class Store:
    """Features of a picture that depend on its name alone; ``scale`` breaks them."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def read(self, images: Sequence[str]) -> Tensor:
        cells = [torch.randn(4, 3, generator=torch.Generator().manual_seed(int(image))) for image in images]
        return self.scale * torch.stack(cells)


def minus_loss(decoder: Decoder) -> float:
    """A dev score that depends on the weights."""
    with torch.no_grad():
        output = decoder(Store().read(["20", "21"]), pad_captions([[[4, 5, END]], [[6, 5, 7, END]]]))
        return -captioning_loss(output, PLAIN).metrics["train_loss"]


def scripted(*scores: float) -> Score:
    remaining = list(scores)
    return lambda _: remaining.pop(0)


def trainer(
    folder: Path,
    params: TrainParams = PLAIN,
    score: Score = minus_loss,
    scale: float = 1.0,
    objective: Objective | None = None,
) -> Trainer:
    torch.manual_seed(5)
    decoder = Decoder(SIZES, 3, 8)
    batches = BatchLoader(EXAMPLES, Store(scale), params.batch_size, 5)  # type: ignore[arg-type]
    return Trainer(decoder, batches, score, params, 5, folder / "checkpoint.safetensors", None, objective)


class Spoiled:
    """A train step that does something else."""

    def __init__(self, step: TrainStep, call: Callable[..., LossOutput]) -> None:
        self._step, self._call = step, call

    def __getattr__(self, name: str) -> object:
        return getattr(self._step, name)

    def __call__(self, *given: object) -> LossOutput:
        return self._call(*given)


def weights(of: Trainer) -> bytes:
    return save(dict(of.decoder.state_dict()))


def rewarding(cross_entropy: float = 0.0) -> Objective:
    """Captions are sampled for the images of the examples and rewarded by the examples' captions."""
    vocabulary = Vocabulary((*SPECIAL, *"abcd"))
    references = {e.image: [[vocabulary.words[i] for i in caption[:-1]] for caption in e.captions] for e in EXAMPLES}
    return Objective(cross_entropy, SelfCriticalLoss(vocabulary, references, Stage2Params(num_samples=2), 5))


def nothing(*_: object) -> None:
    pass


def changed(**values: object) -> TrainParams:
    return TrainParams.model_validate({**PLAIN.model_dump(), **values})


class Killed(Exception):  # no error: what a scheduler does to a process
    pass


def killer(step: int) -> Callable[[int, int], None]:
    def on_step(done: int, total: int) -> None:
        assert total == PLAIN.epochs * STEPS
        if done == step:
            raise Killed

    return on_step


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[EpochMetrics]]:
    whole = trainer(tmp_path_factory.mktemp("whole"))
    history = whole.train(nothing, nothing)
    return weights(whole), history


@pytest.mark.parametrize("step", range(1, 3 * STEPS + 1))
def test_killed_at_any_step_it_ends_with_the_same_bytes(
    step: int, tmp_path: Path, uninterrupted: tuple[bytes, list[EpochMetrics]]
) -> None:
    with pytest.raises(Killed):
        trainer(tmp_path).train(nothing, killer(step))
    torch.manual_seed(1234)  # another process knows nothing of the first one's random numbers
    again, done = trainer(tmp_path), []
    history = again.train(nothing, lambda at, _: done.append(at))
    assert done == list(range(step, 3 * STEPS + 1))
    assert (weights(again), history) == uninterrupted


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_killed_while_an_epoch_is_reported_it_ends_with_the_same_bytes(
    epoch: int, tmp_path: Path, uninterrupted: tuple[bytes, list[EpochMetrics]]
) -> None:
    def on_epoch(row: EpochMetrics) -> None:
        if row["epoch"] == epoch:
            raise Killed

    with pytest.raises(Killed):
        trainer(tmp_path).train(on_epoch, nothing)
    again, reported = trainer(tmp_path), []
    history = again.train(lambda row: reported.append(row["epoch"]), nothing)
    assert reported == list(range(epoch, 4))
    assert (weights(again), history) == uninterrupted


def test_killed_twice_it_ends_with_the_same_bytes(
    tmp_path: Path, uninterrupted: tuple[bytes, list[EpochMetrics]]
) -> None:
    for step in (2, 5):
        with pytest.raises(Killed):
            trainer(tmp_path).train(nothing, killer(step))
    again = trainer(tmp_path)
    assert (again.train(nothing, nothing), weights(again)) == uninterrupted[::-1]


def test_a_finished_training_is_not_done_again(tmp_path: Path, uninterrupted: tuple[bytes, list[EpochMetrics]]) -> None:
    trainer(tmp_path).train(nothing, nothing)
    again, done = trainer(tmp_path), []
    history = again.train(nothing, lambda at, _: done.append(at))
    assert done == []
    assert (weights(again), history) == uninterrupted


def test_with_a_broken_checkpoint_it_starts_from_the_beginning(
    tmp_path: Path, uninterrupted: tuple[bytes, list[EpochMetrics]]
) -> None:
    with pytest.raises(Killed):
        trainer(tmp_path).train(nothing, killer(STEPS + 1))
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    again, done = trainer(tmp_path), []
    history = again.train(nothing, lambda at, _: done.append(at))
    assert done == list(range(1, 3 * STEPS + 1))
    assert (weights(again), history) == uninterrupted


def test_seldom_checkpoints_change_nothing(tmp_path: Path, uninterrupted: tuple[bytes, list[EpochMetrics]]) -> None:
    seldom = changed(checkpoint_seconds=1e6)
    with pytest.raises(Killed):
        trainer(tmp_path, seldom).train(nothing, killer(STEPS + 2))
    _, state = load_checkpoint(tmp_path / "checkpoint.safetensors") or ({}, {})
    assert (state["epoch"], state["batch"]) == (1, 0)  # the end of an epoch is saved always
    again = trainer(tmp_path, seldom)
    assert (again.train(nothing, nothing), weights(again)) == uninterrupted[::-1]


def test_the_loss_of_the_curve_falls(uninterrupted: tuple[bytes, list[EpochMetrics]]) -> None:
    _, history = uninterrupted
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert set(history[0]) == {"epoch", "learning_rate", "train_loss", "dev_cider"}


def test_the_best_weights_are_left_in_the_decoder(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def score(decoder: Decoder) -> float:
        assert not decoder.training
        seen.append(save(dict(decoder.state_dict())))
        return [0.3, 0.9, 0.5][len(seen) - 1]

    trained = trainer(tmp_path, score=score)
    trained.train(nothing, nothing)
    assert len(set(seen)) == 3
    assert weights(trained) == seen[1]


@pytest.mark.parametrize(
    ("patience", "scores", "epochs"),
    [
        (1, [0.5, 0.4, 0.9], 2),
        (2, [0.5, 0.4, 0.9, 0.8, 0.7, 0.6], 5),
        (2, [0.5, 0.5, 0.5], 3),  # as good is not better
        (6, [0.5, 0.4, 0.3, 0.2, 0.1, 0.0], 6),
    ],
)
def test_it_stops_after_so_many_epochs_without_a_better_score(
    patience: int, scores: list[float], epochs: int, tmp_path: Path
) -> None:
    stopped = trainer(tmp_path, changed(epochs=6, patience=patience), scripted(*scores))
    history = stopped.train(nothing, nothing)
    assert [row["dev_cider"] for row in history] == scores[:epochs]


def test_a_resumed_training_has_not_forgotten_its_patience(tmp_path: Path) -> None:
    params = changed(epochs=6, patience=2)

    def on_step(done: int, _: int) -> None:
        if done == 2 * STEPS + 1:
            raise Killed

    with pytest.raises(Killed):
        trainer(tmp_path, params, scripted(0.5, 0.4)).train(nothing, on_step)
    history = trainer(tmp_path, params, scripted(0.3, 0.9)).train(nothing, nothing)
    assert [row["dev_cider"] for row in history] == [0.5, 0.4, 0.3]


def test_the_learning_rate_rises_in_a_line_and_falls_in_half_a_cosine(tmp_path: Path) -> None:
    rate = trainer(tmp_path, changed(epochs=10, warmup_steps=4, learning_rate=0.5)).lr_lambda
    assert [rate(step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    falling = [rate(step) for step in range(4, 10 * STEPS + 1)]
    assert falling == sorted(falling, reverse=True)
    assert rate((4 + 10 * STEPS) // 2) == pytest.approx(0.01 + 0.99 * 0.5)
    assert falling[-1] == pytest.approx(0.01)
    assert trainer(tmp_path, changed(warmup_steps=0, learning_rate=0.5)).lr_lambda(0) == 1


def test_the_optimizer_takes_the_rate_of_its_step(tmp_path: Path) -> None:
    trained, used = trainer(tmp_path), []
    history = trained.train(nothing, lambda _, __: used.append(trained.optimizer.param_groups[0]["lr"]))
    assert used == [PLAIN.learning_rate * trained.lr_lambda(step) for step in range(3 * STEPS)]
    assert [row["learning_rate"] for row in history] == used[STEPS - 1 :: STEPS]


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error(scale: float, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the loss is nan at step 0; no checkpoint was saved; lower learning_rate"):
        trainer(tmp_path, scale=scale).train(nothing, nothing)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(tmp_path: Path) -> None:
    broken = trainer(tmp_path)
    before, compute, steps = weights(broken), broken.train_step.__call__, []

    def spoiled(batch: Batch, baseline: float | None = None) -> LossOutput:
        output = compute(batch, baseline)
        steps.append(weights(broken))
        if len(steps) == 3:
            broken.train_step.parameters()[0].grad.fill_(torch.inf)  # type: ignore[union-attr]
        return output

    broken.train_step = Spoiled(broken.train_step, spoiled)  # type: ignore[assignment]
    with pytest.raises(ModelError) as caught:
        broken.train(lambda _: None, lambda done, total: None)
    assert str(caught.value).startswith(
        "the norm of the gradient is inf at step 2; the last good checkpoint, of step 2, is "
    )
    assert weights(broken) == steps[-1] != before
    tensors, state = load_checkpoint(broken.checkpoint) or ({}, {})
    assert state["saved_step"] == 2
    assert all(tensor.isfinite().all() for tensor in tensors["weights"].values())


def test_a_learning_rate_that_diverges_is_caught(tmp_path: Path) -> None:
    settings = PLAIN.model_copy(update={"learning_rate": 50.0, "epochs": 200, "max_grad_norm": 1e6, "patience": 200})
    with pytest.raises(
        ModelError, match=r"the training diverges: the cross entropy per word is .*, and guessing has 2.08 at"
    ):
        trainer(tmp_path, settings).train(lambda _: None, lambda done, total: None)


def test_bf16_trains_fp32_weights(tmp_path: Path) -> None:
    trained = trainer(tmp_path, changed(precision="bf16"))
    before = weights(trained)
    history = trained.train(nothing, nothing)
    assert {p.dtype for p in trained.decoder.parameters()} == {torch.float32}
    assert weights(trained) != before
    assert history[-1]["train_loss"] < history[0]["train_loss"]


CHANGED = [(0.9, None), (0.0, rewarding()), (0.9, rewarding(0.5))]


@pytest.mark.parametrize(("average", "objective"), CHANGED)
@pytest.mark.parametrize("step", [1, STEPS + 1])
def test_killed_it_ends_with_the_same_bytes_whatever_it_minimises(
    average: float, objective: Objective | None, step: int, tmp_path: Path
) -> None:
    params = changed(ema_decay=average)
    whole = trainer(tmp_path / "whole", params, objective=objective)
    history = whole.train(nothing, nothing)
    with pytest.raises(Killed):
        trainer(tmp_path, params, objective=objective).train(nothing, killer(step))
    torch.manual_seed(1234)
    again = trainer(tmp_path, params, objective=objective)
    assert (again.train(nothing, nothing), weights(again)) == (history, weights(whole))


def test_the_curve_holds_the_rewards_and_failures_of_samples(tmp_path: Path) -> None:
    reported: list[EpochMetrics] = []
    trainer(tmp_path, objective=rewarding(0.5)).train(reported.append, nothing)
    start, *rows = reported
    assert start == {"epoch": 0, "dev_cider": start["dev_cider"]}
    guards = {"train_reward", "train_dangling", "train_endless", "train_repeating"}
    for row in rows:
        assert set(row) == {"epoch", "learning_rate", "train_loss", "dev_cider"} | guards
        assert row["train_loss"] > -row["train_reward"]  # the cross entropy's share
    rewarded = trainer(tmp_path / "alone", objective=rewarding()).train(nothing, nothing)
    assert all(row["train_loss"] == -row["train_reward"] for row in rewarded[1:])


def test_rewards_that_make_it_worse_leave_the_weights_it_began_with(tmp_path: Path) -> None:
    trained = trainer(tmp_path, changed(patience=2, epochs=5), scripted(0.5, 0.4, 0.4, 0.9), objective=rewarding())
    before = weights(trained)
    history = trained.train(nothing, nothing)
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert weights(trained) == before


def test_averaged_weights_are_scored_and_kept(tmp_path: Path) -> None:
    scored: list[Tensor] = []
    wanted: list[Tensor] = []

    def score(decoder: Decoder) -> float:
        scored.append(decoder.lm_head.bias.detach().clone())
        return float(len(scored))

    trained = trainer(tmp_path, changed(ema_decay=0.5), score)
    expected = trained.decoder.lm_head.bias.detach().clone()

    def on_step(done: int, _: int) -> None:
        nonlocal expected
        kept = min(0.5, done / (done + 9))  # 1/10, 2/11, …
        expected = kept * expected + (1 - kept) * trained.decoder.lm_head.bias.detach()
        if done % STEPS == 0:
            wanted.append(expected)

    trained.train(nothing, on_step)
    torch.testing.assert_close(scored, wanted)
    assert torch.equal(trained.decoder.lm_head.bias, scored[-1])
