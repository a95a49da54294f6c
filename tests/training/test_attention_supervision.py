"""Attention that is taught to lie inside the boxes of nouns: the term itself, its parts, and what it teaches."""

import math

import pytest
import torch
from torch import Tensor

from wordgaze.config.params import TrainParams
from wordgaze.data.object_boxes import NounBox
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder, DecoderOutput
from wordgaze.text.vocabulary import END, SPECIAL, Vocabulary
from wordgaze.training.attention_supervision import MIN_SHARE, AttentionSupervision
from wordgaze.training.batches import Batch, pad_captions
from wordgaze.training.train_step import Objective, TrainStep

VOCABULARY = Vocabulary((*SPECIAL, "a", "dog", "cats", "sits", "hot"))
A, DOG, CATS, SITS, HOT = range(4, 9)
GRID = (2, 2)
LEFT, CORNER = (0.0, 0.0, 0.5, 1.0), (0.75, 0.75, 1.0, 1.0)
BOXES = {
    "p": [NounBox("dog", *LEFT)],
    "q": [NounBox("cat", *CORNER), NounBox("cat", 0.0, 0.0, 0.5, 0.25), NounBox("tree", *LEFT)],
}
CAPTIONS = [[[A, DOG, END], [A, CATS, SITS, A, DOG, END]], [[CATS, END], [A, SITS, DOG, END], [DOG, CATS, SITS, END]]]
BATCH = Batch(torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(2)), pad_captions(CAPTIONS), ("p", "q"))
SMALL = DecoderConfig(
    embedding_size=5, hidden_size=6, attention_size=4, feature_size=6,
    dropout_embedding=0, dropout_features=0, dropout_output=0,
)  # fmt: skip


@pytest.fixture
def supervision() -> AttentionSupervision:
    return AttentionSupervision(VOCABULARY, BOXES, GRID, 1.0)


def decoder_output(**settings: object) -> tuple[Decoder, DecoderOutput]:
    torch.manual_seed(4)
    decoder = Decoder(SMALL.model_copy(update=settings), 3, len(VOCABULARY.words))
    return decoder, decoder(BATCH.features, BATCH.captions)


def test_words_that_name_an_object_of_their_image_are_targets(supervision: AttentionSupervision) -> None:
    found = {(image, caption, step): cover.tolist() for image, caption, step, cover in supervision.targets(BATCH)}
    left = [1.0, 0.0, 1.0, 0.0]  # the cells in reading order
    both = [1.0, 0.0, 0.0, 0.5]  # half of the first cell and a quarter of the last one, relative to the greater
    assert found == {(0, 0, 1): left, (0, 1, 4): left, (1, 0, 0): both, (1, 2, 1): both}  # q has no dog, p no cat


@pytest.mark.parametrize(
    "settings", [{}, {"attention_position": "last", "sentinel": True}, {"span": "local_p", "window": 1}]
)
def test_the_term_is_its_formula_for_every_kind_of_attention(
    supervision: AttentionSupervision, settings: dict[str, object]
) -> None:
    decoder, output = decoder_output(**settings)
    expected = 0.0
    for image, caption, step, cover in supervision.targets(BATCH):
        alone = decoder(BATCH.features[image : image + 1], pad_captions([[CAPTIONS[image][caption]]]))
        expected -= math.log(float((alone.distribution[0, step] * cover).sum().detach()) + MIN_SHARE)
    assert float(supervision.loss(output, BATCH).detach()) == pytest.approx(expected / len(output.targets), rel=1e-4)


def test_parts_of_a_batch_sum_to_the_term_of_the_whole(supervision: AttentionSupervision) -> None:
    decoder, output = decoder_output()
    parts = BATCH.split(2)
    losses = [supervision.loss(decoder(part.features, part.captions), part) for part in parts]
    assert float(torch.stack(losses).sum().detach()) == pytest.approx(
        float(supervision.loss(output, BATCH).detach()), rel=1e-5
    )


def test_images_without_boxes_add_nothing() -> None:
    _, output = decoder_output()
    loss = AttentionSupervision(VOCABULARY, {"elsewhere": BOXES["p"]}, GRID, 1.0).loss(output, BATCH)
    assert float(loss) == 0.0


def test_a_box_outside_of_the_image_is_no_target() -> None:
    outside = {"p": [NounBox("dog", 1.2, 0.0, 1.5, 1.0)]}
    assert list(AttentionSupervision(VOCABULARY, outside, GRID, 1.0).targets(BATCH)) == []


@pytest.mark.parametrize(("weight", "inside"), [(0.0, False), (3.0, True)])
def test_training_draws_the_attention_of_nouns_into_their_boxes(weight: float, inside: bool) -> None:
    """The boxes are where no feature helps to predict a word, so that nothing else draws attention there."""
    torch.manual_seed(1)
    decoder = Decoder(SMALL, 3, len(VOCABULARY.words))
    supervision = AttentionSupervision(VOCABULARY, BOXES, GRID, weight) if weight else None
    step = TrainStep(decoder, None, TrainParams(doubly_stochastic=0), Objective(attention=supervision), torch.float32)
    optimizer = torch.optim.Adam(step.parameters(), 0.02)
    for _ in range(200):
        output = step(BATCH)
        assert ("attention_loss" in output.metrics) is bool(weight)
        optimizer.step()
    measure = AttentionSupervision(VOCABULARY, BOXES, GRID, 1.0)
    with torch.no_grad():
        loss = measure.loss(decoder(BATCH.features, BATCH.captions), BATCH)
    num_targets = len(list(measure.targets(BATCH)))
    mean: Tensor = loss * int((BATCH.captions != 0).sum()) / num_targets
    assert (float(mean) < -math.log(0.85)) is inside
