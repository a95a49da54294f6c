"""The weights of a captioner are stored in fewer bits, and read as fp32."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core.errors import ModelError
from wordgaze.inference.precision import MIN_QUANTISED, narrowed, widened


def large(seed: int, factor: float = 1.0) -> torch.Tensor:
    return torch.randn(64, MIN_QUANTISED // 64, generator=torch.Generator().manual_seed(seed)) * factor


@given(st.integers(0, 99), st.floats(1e-3, 1e3))
def test_int8_rounds_every_number_by_half_a_step_of_its_row(seed: int, factor: float) -> None:
    weight = large(seed, factor)
    stored = narrowed({"decoder.weight": weight}, "int8")
    assert stored["decoder.weight"].dtype == torch.int8
    error = (widened(stored)["decoder.weight"] - weight).abs()
    assert bool((error <= weight.abs().amax(1, keepdim=True) / 127 * 0.501).all())


def test_int8_keeps_small_tensors_integers_and_rows_of_zeros() -> None:
    ids = torch.arange(MIN_QUANTISED).view(64, -1)
    state = {"summary.ngrams": ids, "confidence.signals": torch.randn(3, 7), "decoder.bias": torch.randn(9000)}
    stored = narrowed(state, "int8")
    assert stored.keys() == state.keys()
    assert all(torch.equal(stored[name], tensor) for name, tensor in state.items())
    weight = large(1)
    weight[3] = 0
    assert bool((widened(narrowed({"a": weight}, "int8"))["a"][3] == 0).all())


def test_fp16_is_for_decoder_and_encoder_alone() -> None:
    state = {"decoder.weight": large(1), "encoder.weight": large(2), "neighbours.mean": large(3)}
    stored = narrowed(state, "fp16")
    assert [stored[name].dtype for name in state] == [torch.float16, torch.float16, torch.float32]
    assert {tensor.dtype for tensor in widened(stored).values()} == {torch.float32}


def test_fp32_changes_nothing() -> None:
    state = {"decoder.weight": large(1), "tagger.weight.0": large(2).half()}
    assert narrowed(state, "fp32") == state
    assert widened(state)["tagger.weight.0"].dtype == torch.float16


@pytest.mark.parametrize(("dtype", "value"), [("fp16", 1e6), ("int8", float("inf"))])
def test_a_value_that_does_not_fit_is_refused_by_name(dtype: str, value: float) -> None:
    weight = large(1)
    weight[0, 0] = value
    with pytest.raises(ModelError, match=f"decoder.weight has values that {dtype} cannot hold; give --dtype fp32"):
        narrowed({"decoder.weight": weight}, dtype)  # type: ignore[arg-type]
