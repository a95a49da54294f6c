"""BatchLoader: every example once an epoch, in an order that seed and epoch decide, to be taken up midway."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from wordgaze.core.errors import DataError
from wordgaze.text.vocabulary import END, PAD
from wordgaze.training.batches import (
    UNCOUNTED,
    Batch,
    BatchLoader,
    BatchSize,
    Example,
    ExampleTable,
    Shares,
    pad_captions,
)

EXAMPLES = [Example(str(i), ((4 + i, END), (4 + i, 5, END)[: 2 + i % 2])) for i in range(11)]


class Store:
    """The features of picture "7" are 7 in every cell."""

    def read(self, images: Sequence[str]) -> Tensor:
        if "lost" in images:
            raise DataError("no features of lost")
        return torch.tensor([float(image) for image in images]).view(-1, 1, 1).expand(-1, 2, 3)


def batches(seed: int = 1, batch_size: int = 4, examples: Sequence[Example] = EXAMPLES) -> BatchLoader:
    return BatchLoader(examples, Store(), batch_size, seed)  # type: ignore[arg-type]


def images(epoch: Sequence[Batch]) -> list[list[int]]:
    return [batch.features[:, 0, 0].int().tolist() for batch in epoch]


@pytest.mark.parametrize("prefetch", [False, True])
def test_every_example_comes_once_an_epoch_with_its_own_captions(prefetch: bool) -> None:
    epoch = list(batches().epoch(0, prefetch=prefetch))
    assert [len(batch.features) for batch in epoch] == [4, 4, 3]
    assert len(batches()) == 3
    assert sorted(i for batch in images(epoch) for i in batch) == list(range(11))
    for batch in epoch:
        assert batch.features.shape[1:] == (2, 3)
        assert batch.captions[:, 0, 0].tolist() == [4 + i for i in batch.features[:, 0, 0].int().tolist()]


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    first = images(list(batches(seed=1).epoch(0)))
    assert images(list(batches(seed=1).epoch(0))) == first
    assert images(list(batches(seed=1).epoch(1))) != first
    assert images(list(batches(seed=2).epoch(0))) != first
    torch.manual_seed(99)
    again = batches(seed=1)
    list(again.epoch(5))
    assert images(list(again.epoch(0))) == first


@pytest.mark.parametrize("first", range(4))
def test_an_epoch_is_taken_up_midway(first: int) -> None:
    whole, rest = list(batches().epoch(3)), list(batches().epoch(3, first, prefetch=True))
    assert images(rest) == images(whole)[first:]
    for mine, theirs in zip(rest, whole[first:], strict=True):
        assert torch.equal(mine.captions, theirs.captions)


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_the_parts_of_all_ranks_are_the_batches_of_one(world_size: int) -> None:
    """The last batch has three images; where there are more ranks, an image without weight is computed."""
    loaders = [batches() for _ in range(world_size)]
    for rank, loader in enumerate(loaders):
        loader.divide(rank, world_size)
    for whole, *parts in zip(batches().epoch(2), *(loader.epoch(2) for loader in loaders), strict=True):
        counted = [part for part in parts if part.is_counted]
        assert len(counted) == min(world_size, len(whole.images))
        assert sum((part.images for part in counted), ()) == whole.images
        assert torch.equal(torch.cat([part.features for part in counted]), whole.features)
        assert torch.equal(torch.cat([part.captions for part in counted]), whole.captions)
        shares = [part.shares() for part in parts]
        assert [sum(share) for share in zip(*shares, strict=True)] == pytest.approx([1, 1, 1])
        assert all(part.whole_size() == whole.size() for part in parts)
        assert all(part.images and part.shares() == UNCOUNTED for part in parts if not part.is_counted)


def test_a_picture_without_features_is_an_error_at_its_batch() -> None:
    with pytest.raises(DataError, match="no features of lost"):
        list(batches(examples=[*EXAMPLES, Example("lost", ((4, END),))]).epoch(0))


def test_captions_are_padded_to_the_most_and_the_longest() -> None:
    padded = pad_captions([[[4, END], [5, 6, END]], [[7, END]]])
    assert padded.tolist() == [[[4, END, PAD], [5, 6, END]], [[7, END, PAD], [PAD, PAD, PAD]]]


def test_the_parts_of_a_batch_hold_their_shares_of_its_images_captions_and_words() -> None:
    captions = pad_captions([[[END]], [[4, 5, 6, END], [5, 6, END]], [[7, END]]])
    whole = Batch(torch.arange(3.0).view(3, 1, 1), captions, ("p", "q", "r"))
    assert (whole.size(), whole.shares()) == (BatchSize(3, 4, 10), Shares(1, 1, 1))
    first, second = whole.split(2)
    assert (first.images, second.images) == (("p", "q"), ("r",))
    assert second.features[:, 0, 0].tolist() == [2]
    assert torch.equal(second.captions, captions[2:])
    assert first.shares() == Shares(2 / 3, 3 / 4, 8 / 10)
    assert second.shares() == Shares(1 / 3, 1 / 4, 2 / 10)
    assert first.whole_size() == second.whole_size() == whole.size()
    assert [part.images for part in whole.split(5)] == [("p",), ("q",), ("r",)]


def test_examples_in_a_table_are_those_that_were_given() -> None:
    examples = [*EXAMPLES, Example("none", ()), Example("last", ((END,),))]
    table = ExampleTable(iter(examples))
    assert (list(table), table[-2], table[10:12]) == (examples, examples[-2], examples[10:12])
    assert table.images == [example.image for example in examples]
    with pytest.raises(IndexError):
        table[len(examples)]
