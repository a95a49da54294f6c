"""The packing of captions: which words are computed at which step, against a plain reading of the captions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from wordgaze.models import kernels
from wordgaze.models.kernels.packing import Packing, pack_captions
from wordgaze.text.vocabulary import END, PAD, START

LENGTHS = st.integers(1, 3).flatmap(lambda ranks: st.lists(st.lists(st.integers(0, 5), min_size=ranks, max_size=ranks),
                                                           min_size=1, max_size=4))  # fmt: skip


def batch(lengths: list[list[int]], padding: int = 0) -> Tensor:
    """Captions of distinct words that end with END, of these lengths."""
    longest = max(map(max, lengths)) + padding
    captions = torch.full((len(lengths), len(lengths[0]), longest), PAD)
    for b, own in enumerate(lengths):
        for r, length in enumerate(own):
            captions[b, r, :length] = 100 * b + 10 * r + torch.arange(length) + END + 2
            captions[b, r, length - 1 : length] = END
    return captions


def read(packing: Packing, captions: Tensor) -> list[tuple[int, int, int, int, int]]:
    """(image, caption, step, word read, word predicted) of every real word, the captions as they were given."""
    num_captions, length = captions.shape[1], len(packing.counts)
    words = zip(packing.positions.tolist(), packing.words_only(packing.inputs).tolist(), packing.targets.tolist(),
                strict=True)  # fmt: skip
    rows = [(divmod(position // length, num_captions), position % length, i, o) for position, i, o in words]
    return sorted((b, int(packing.order[b, r]), t, i, o) for (b, r), t, i, o in rows)


@given(LENGTHS, st.integers(0, 2))
def test_every_word_is_computed_once_after_the_word_before_it(lengths: list[list[int]], padding: int) -> None:
    if not any(map(any, lengths)):
        return
    captions = batch(lengths, padding)
    expected = []
    for b, own in enumerate(captions.tolist()):
        for r, words in enumerate(own):
            real = [word for word in words if word != PAD]
            expected += [(b, r, t, i, o) for t, (i, o) in enumerate(zip([START, *real], real, strict=False))]
    assert read(pack_captions(captions), captions) == expected
    with kernels.reference():
        assert read(pack_captions(captions), captions) == expected


@given(LENGTHS)
def test_rows_of_a_step_are_kept_from_the_step_before_and_know_their_image(lengths: list[list[int]]) -> None:
    if not any(map(any, lengths)):
        return
    captions = batch(lengths)
    packing = pack_captions(captions)
    rows = torch.arange(captions.shape[0] * captions.shape[1])
    length = len(packing.counts)
    of_steps = zip(packing.positions.split(packing.counts), packing.steps, strict=True)
    for step, (positions, (keep, index)) in enumerate(of_steps):
        rows = rows if keep is None else rows[keep]
        assert torch.equal(rows * length + step, positions)
        image = rows // captions.shape[1]
        if index is None:
            assert torch.equal(image, torch.arange(len(captions)).repeat_interleave(len(rows) // len(captions)))
        else:
            assert torch.equal(index.image, image)
            assert len(set(index.slot.tolist())) == len(rows)


@given(LENGTHS)
def test_the_rows_of_all_steps_know_their_image(lengths: list[list[int]]) -> None:
    if not any(map(any, lengths)):
        return
    captions = batch(lengths)
    fast = pack_captions(captions)
    with kernels.reference():
        padded = pack_captions(captions)
    for packing in (fast, padded):
        assert len(set(packing.rows.slot.tolist())) == len(packing.rows.slot) == len(packing.inputs)
        image = packing.positions // (captions.shape[1] * len(packing.counts))
        assert torch.equal(packing.words_only(packing.rows.image), image)


@pytest.mark.parametrize("fast", [True, False])
def test_unpacked_values_are_zero_after_the_end(fast: bool) -> None:
    captions = batch([[2, 3], [0, 1]])
    if fast:
        packing = pack_captions(captions)
    else:
        with kernels.reference():
            packing = pack_captions(captions)
    steps = packing.unpack(torch.ones(6)).sum(1).view(2, 2)
    assert torch.equal(steps, torch.tensor([[2.0, 3.0], [0.0, 1.0]]).gather(1, packing.order))


def test_captions_are_sorted_by_length_and_equal_ones_keep_their_order() -> None:
    assert pack_captions(batch([[2, 3, 2, 3], [1, 1, 0, 4]])).order.tolist() == [[1, 3, 0, 2], [3, 0, 1, 2]]
