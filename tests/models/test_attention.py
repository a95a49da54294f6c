"""Every kind of attention against its paper's formula, one number at a time."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.variants import sizes
from wordgaze.models.attention import Attention, AttentionOutput, Memory

B, R, L, D, H = 2, 3, 7, 5, 5
KINDS: dict[str, dict[str, Any]] = {
    f"{score} {span}": {"attention": score, "span": span, "window": 2, "window_stride": 1.5}
    for score in ("additive", "concat", "general", "dot")
    for span in ("global", "local_m", "local_p")
}
every_kind = pytest.mark.parametrize("values", KINDS.values(), ids=KINDS.keys())


def example(soft: bool = False, **values: Any) -> tuple[Attention, Tensor, Tensor, Tensor]:
    """An attention, queries, features and steps."""
    torch.manual_seed(0)
    attend = Attention(sizes(**values), D).eval()
    return attend, torch.randn(B * R, H), torch.randn(B, L, D), torch.arange(B * R) % R


def remembered(attend: Attention, features: Tensor, soft: bool = False) -> Memory:
    count = len(features)
    return Memory(features, attend.keys(features), features[:, 0, :0], torch.full((count,), soft))


def look(attend: Attention, query: Tensor, features: Tensor, step: Tensor) -> AttentionOutput:
    looked: AttentionOutput = attend(query, remembered(attend, features), step)
    return looked


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def times(matrix: Tensor, vector: list[float]) -> list[float]:
    return [dot(row, vector) for row in matrix.tolist()]


def energy(kind: str, p: dict[str, Tensor], cell: list[float], query: list[float]) -> float:
    """Bahdanau et al. 2015, appendix A.1.2; Luong et al. 2015, equation 8."""
    if kind == "dot":
        return dot(query, cell)
    if kind == "general":
        return dot(query, times(p["score.key.weight"], cell))
    if kind == "concat":  # v · tanh(W [query; cell])
        whole = torch.cat([p["score.query.weight"], p["score.key.weight"]], dim=1)
        mixed = times(whole, query + cell)
    else:
        asked, bias = times(p["score.query.weight"], query), p["score.key.bias"].tolist()
        mixed = [k + b + q for k, b, q in zip(times(p["score.key.weight"], cell), bias, asked, strict=True)]
    return dot(p["score.energy.weight"][0].tolist(), [math.tanh(x) for x in mixed])


def formula(values: dict[str, Any], p: dict[str, Tensor], cells: list[list[float]], query: list[float], t: int) -> Any:
    """Weights over the cells, and the context."""
    scores = [energy(values["attention"], p, cell, query) for cell in cells]
    sigma, middle = values["window"] / 2, min(values["window_stride"] * t, L - 1)
    if values["span"] == "local_p":  # p_t = S · sigmoid(v · tanh(W h_t)), equation 9
        inner = dot(p["place.2.weight"][0].tolist(), [math.tanh(x) for x in times(p["place.0.weight"], query)])
        middle = L / (1 + math.exp(-inner))
    inside = [values["span"] == "global" or abs(s - middle) <= values["window"] for s in range(L)]
    total = sum(math.exp(score) for score, near in zip(scores, inside, strict=True) if near)
    weights = [near * math.exp(score) / total for score, near in zip(scores, inside, strict=True)]
    if values["span"] == "local_p":  # equation 10
        weights = [w * math.exp(-((s - middle) ** 2) / (2 * sigma**2)) for s, w in enumerate(weights)]
    return weights, [sum(w * cell[d] for w, cell in zip(weights, cells, strict=True)) for d in range(D)]


@every_kind
def test_context_and_weights_are_those_of_the_formula(values: dict[str, Any]) -> None:
    attend, query, features, step = example(**values)
    with torch.no_grad():
        found = look(attend, query, features, step)
    parameters = {name: p.detach() for name, p in attend.named_parameters()}
    for row in range(B * R):
        cells, asked = features[row // R].tolist(), query[row].tolist()
        weights, context = formula(values, parameters, cells, asked, int(step[row]))
        torch.testing.assert_close(found.weights[row], torch.tensor(weights), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(found.context[row], torch.tensor(context), atol=1e-6, rtol=1e-5)


def test_a_window_moves_on_with_the_words_and_stays_in_the_picture() -> None:
    attend, query, features, _ = example(span="local_m", window=1, window_stride=2.0)
    for t, inside in {0: [0, 1], 1: [1, 2, 3], 2: [3, 4, 5], 3: [5, 6], 50: [5, 6]}.items():
        weights = look(attend, query, features, torch.full((B * R,), t)).weights
        assert [sorted(set(row.nonzero().flatten().tolist())) for row in weights] == [inside] * (B * R)


@every_kind
def test_gradients_reach_every_parameter_the_query_and_the_features(values: dict[str, Any]) -> None:
    attend, query, features, step = example(**values)
    query.requires_grad_()
    features.requires_grad_()
    look(attend, query, features, step).context.square().sum().backward()
    for tensor in (query, features, *attend.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0


@every_kind
def test_weights_are_finite_in_bf16_and_for_large_queries(values: dict[str, Any]) -> None:
    attend, query, features, step = example(**values)
    attend, features = attend.bfloat16(), features.bfloat16()
    found = look(attend, (100 * query).bfloat16(), features, step)
    assert found.context.dtype == torch.bfloat16
    assert torch.isfinite(found.weights).all()
    assert (found.weights >= 0).all()
    assert (found.weights.sum(1) <= 1.0001).all()


def test_hard_attention_sees_the_likeliest_cell() -> None:
    attend, query, features, step = example(hard_attention=True)
    found = look(attend, query, features, step)
    assert not found.drawn.any()
    for row in range(B * R):
        torch.testing.assert_close(found.context[row], features[row // R, found.weights[row].argmax()])


def test_hard_attention_in_training_sees_cells_as_often_as_it_wants_them() -> None:
    attend, query, features, _ = example(hard_attention=True)
    attend.train()
    times, total = 4000, torch.zeros(L)
    memory = remembered(attend, features[:1])
    found: AttentionOutput = attend(query[:1].repeat(times, 1), memory, torch.zeros(times))
    cell = (found.context.unsqueeze(1) == features[0]).all(2)
    assert (cell.sum(1) == 1).all()
    total += cell.sum(0)
    torch.testing.assert_close(total / times, found.weights[0].detach(), atol=0.03, rtol=0)
    torch.testing.assert_close(found.drawn, found.weights[cell].log())


def test_a_soft_picture_is_looked_at_softly_though_attention_is_hard() -> None:
    attend, query, features, step = example(hard_attention=True)
    attend.train()
    soft: AttentionOutput = attend(query, remembered(attend, features, soft=True), step)
    assert not soft.drawn.any()
    torch.testing.assert_close(soft.context, (soft.weights.view(B, R, L) @ features).flatten(0, 1))
