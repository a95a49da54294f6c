"""The train step: the gradients of the parts of a batch sum to the gradient of the whole batch."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from wordgaze.config.params import Stage2Params, TrainParams
from wordgaze.core import out_of_memory
from wordgaze.core.errors import ModelError
from wordgaze.generation.outputs import Caption
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import END, SPECIAL, Vocabulary
from wordgaze.training import self_critical
from wordgaze.training.batches import Batch, pad_captions
from wordgaze.training.losses import LossOutput
from wordgaze.training.self_critical import SelfCriticalLoss
from wordgaze.training.train_step import Objective, TrainStep

NO_DROPOUT = DecoderConfig(
    embedding_size=5, hidden_size=6, attention_size=4, feature_size=5,
    dropout_embedding=0, dropout_features=0, dropout_output=0, soft_attention_share=0,
)  # fmt: skip
PARAMS = TrainParams(reinforce_weight=0.7, entropy_weight=0.3)
VOCABULARY = Vocabulary((*SPECIAL, *"abcd"))
CAPTIONS = [  # one caption of one word; many long ones; a few
    [[END]],
    [[4, 5, 6, 7, 4, END], [5, 6, 7, 4, 5, 6, END]],
    [[7, 4, END], [6, END], [5, 4, 6, END]],
]
UNEQUAL = Batch(
    torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(1)), pad_captions(CAPTIONS), ("p", "q", "r")
)
SAMPLES = {"p": ["", "a b c d a b"], "q": ["a b", "a"], "r": ["b c d", "d a c"]}


def objective(name: str) -> Objective:
    references = {
        image: [[VOCABULARY.words[i] for i in words[:-1]] for words in captions]
        for image, captions in zip(UNEQUAL.images, CAPTIONS, strict=True)
    }
    loss = SelfCriticalLoss(VOCABULARY, references, Stage2Params(num_samples=2, bleu_weight=0.5), 6)
    return {"xe": Objective(), "scst": Objective(0.0, loss), "both": Objective(0.3, loss)}[name]


def train_step(name: str = "xe", hard: bool = False) -> TrainStep:
    torch.manual_seed(5)
    decoder = Decoder(NO_DROPOUT.model_copy(update={"hard_attention": hard}), 3, len(VOCABULARY))
    return TrainStep(decoder, None, PARAMS, objective(name), torch.float32)


def gradients(step: TrainStep) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in step.parameters()]


class SumStep:
    """The sums over parts of a batch."""

    def __init__(self, parts: Sequence[Batch], step: TrainStep | None = None, baseline: float | None = None) -> None:
        step = step or train_step()
        self.loss, self.metrics, self.words, self.reward = 0.0, dict[str, float](), 0, 0.0
        self.gradients = [torch.zeros_like(p) for p in step.parameters()]
        for part in parts:
            output = step(part, baseline)
            self.loss += float(output.loss)
            self.metrics = {name: self.metrics.get(name, 0.0) + value for name, value in output.metrics.items()}
            self.gradients = [total + g for total, g in zip(self.gradients, gradients(step), strict=True)]
            if output.reward:
                self.words += output.reward.words
                self.reward += output.reward.value * output.reward.words


def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples and cells that depend on the image alone, not on what is drawn before."""
    images = dict(zip(UNEQUAL.features[:, 0, 0].tolist(), UNEQUAL.images, strict=True))

    def generate(_: Decoder, features: Tensor, *__: object, **___: object) -> list[list[Caption]]:
        place = np.zeros((0, 1, 1), np.float32)
        texts = [SAMPLES[images[value]] for value in features[:, 0, 0].tolist()]
        return [[Caption(tuple(text.split()), 0.0, 0.0, (), place, "end") for text in of_image] for of_image in texts]

    monkeypatch.setattr(self_critical, "generate", generate)
    monkeypatch.setattr(torch, "multinomial", lambda weights, _: weights.argmax(1, keepdim=True))


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("name", ["xe", "scst", "both"])
@pytest.mark.parametrize("parts", [2, 3])
def test_the_parts_of_a_batch_sum_to_the_whole(
    name: str, hard: bool, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_chance(monkeypatch)
    whole = SumStep([UNEQUAL], train_step(name, hard), baseline=-1.0)
    split = SumStep(UNEQUAL.split(parts), train_step(name, hard), baseline=-1.0)
    assert split.loss == pytest.approx(whole.loss, abs=1e-6)
    assert split.metrics == pytest.approx(whole.metrics, abs=1e-6)
    torch.testing.assert_close(split.gradients, whole.gradients, rtol=0, atol=1e-6)
    assert (split.words, split.reward) == (whole.words, pytest.approx(whole.reward, abs=1e-5))
    assert split.words == (23 if hard and name != "scst" else 0)


def test_the_weights_of_the_objective_scale_its_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    without_chance(monkeypatch)
    xe, scst, both = (SumStep([UNEQUAL], train_step(name)) for name in ("xe", "scst", "both"))
    assert both.loss == pytest.approx(0.3 * xe.loss + scst.loss, abs=1e-5)
    torch.testing.assert_close(both.gradients, [0.3 * a + b for a, b in zip(xe.gradients, scst.gradients, strict=True)])
    assert both.metrics["train_loss"] == pytest.approx(0.3 * xe.metrics["train_loss"] + scst.metrics["train_loss"])
    assert scst.metrics["train_loss"] == -scst.metrics["train_reward"]


def test_a_batch_for_which_a_gpu_has_too_little_memory_is_divided(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(out_of_memory, "_LOGGED", set())
    step, sizes = train_step(), []
    add = TrainStep._add_gradient

    def limited(self: TrainStep, batch: Batch, baseline: float | None) -> LossOutput:
        sizes.append(len(batch.images))
        output = add(self, batch, baseline)
        if len(batch.images) > 1:  # after the gradient was added: the next try must not add to it
            raise torch.OutOfMemoryError
        return output

    whole = train_step()
    expected = whole(UNEQUAL)
    monkeypatch.setattr(TrainStep, "_add_gradient", limited)
    for _ in range(2):
        output = step(UNEQUAL)
        assert float(output.loss) == pytest.approx(float(expected.loss), abs=1e-6)
        torch.testing.assert_close(gradients(step), gradients(whole), rtol=0, atol=1e-6)
    assert sizes == [3, 2, 1, 1, 1, 1, 1, 1]
    assert caplog.messages == ["the GPU has too little memory for 3 images at once in training; batches are halved"]


def test_dropout_does_not_depend_on_how_a_batch_is_divided() -> None:
    """In parts for the memory of a GPU, or among ranks."""
    dropping = {"dropout_embedding": 0.5, "dropout_features": 0.5, "dropout_output": 0.5, "dropout_channels": 0.3}
    decoder = Decoder(NO_DROPOUT.model_copy(update=dropping), 3, len(VOCABULARY))
    step = TrainStep(decoder, None, PARAMS, Objective(), torch.float32)
    torch.manual_seed(1)
    whole, after = SumStep([UNEQUAL], step), torch.get_rng_state()
    step._parts = 3
    torch.manual_seed(1)
    divided = SumStep([UNEQUAL], step)
    assert divided.loss == pytest.approx(whole.loss, abs=1e-6)
    torch.testing.assert_close(divided.gradients, whole.gradients, rtol=0, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), after)


def test_one_image_that_is_too_much_for_a_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> LossOutput:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(TrainStep, "_add_gradient", full)
    with pytest.raises(ModelError, match="too little memory to train on one image; use a smaller model"):
        train_step()(UNEQUAL)
