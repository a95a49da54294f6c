"""Every kind of attention against its paper's formula, one number at a time."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.variants import config
from wordgaze.models.attention import Attention, AttentionOutput, Memory

B, R, L, D, H = 2, 3, 7, 5, 5
KINDS: dict[str, dict[str, Any]] = {
    f"{score} {span}": {"attention": score, "span": span, "window": 2, "window_stride": 1.5}
    for score in ("additive", "concat", "general", "dot")
    for span in ("global", "local_m", "local_p")
}
every_kind = pytest.mark.parametrize("values", KINDS.values(), ids=KINDS.keys())


def example(**values: Any) -> tuple[Attention, Tensor, Tensor, Tensor]:
    """An attention, queries, features and steps."""
    torch.manual_seed(0)
    attention = Attention(config(**values), D).eval()
    return attention, torch.randn(B * R, H), torch.randn(B, L, D), torch.arange(B * R) % R


def memory_of(attention: Attention, features: Tensor, is_soft: bool = False) -> Memory:
    return Memory(features, attention.keys(features), features[:, 0, :0], torch.full((len(features),), is_soft))


def attend(attention: Attention, query: Tensor, features: Tensor, step: Tensor) -> AttentionOutput:
    output: AttentionOutput = attention(query, memory_of(attention, features), step)
    return output


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def times(matrix: Tensor, vector: list[float]) -> list[float]:
    return [dot(row, vector) for row in matrix.tolist()]


def energy(kind: str, p: dict[str, Tensor], cell: list[float], query: list[float]) -> float:
    """Bahdanau et al. 2015, appendix A.1.2; Luong et al. 2015, equation 8."""
    if kind == "dot":
        return dot(query, cell)
    if kind == "general":
        return dot(query, times(p["score.key_projection.weight"], cell))
    if kind == "concat":  # v · tanh(W [query; cell])
        whole = torch.cat([p["score.query_projection.weight"], p["score.key_projection.weight"]], dim=1)
        mixed = times(whole, query + cell)
    else:
        projected, bias = times(p["score.query_projection.weight"], query), p["score.key_projection.bias"].tolist()
        mixed = [
            k + b + q for k, b, q in zip(times(p["score.key_projection.weight"], cell), bias, projected, strict=True)
        ]
    return dot(p["score.energy.weight"][0].tolist(), [math.tanh(x) for x in mixed])


def formula(values: dict[str, Any], p: dict[str, Tensor], cells: list[list[float]], query: list[float], t: int) -> Any:
    """Weights over the cells, and the context."""
    scores = [energy(values["attention"], p, cell, query) for cell in cells]
    sigma, middle = values["window"] / 2, min(values["window_stride"] * t, L - 1)
    if values["span"] == "local_p":  # p_t = S · sigmoid(v · tanh(W h_t)), equation 9
        inner = dot(
            p["center_predictor.2.weight"][0].tolist(),
            [math.tanh(x) for x in times(p["center_predictor.0.weight"], query)],
        )
        middle = L / (1 + math.exp(-inner))
    inside = [values["span"] == "global" or abs(s - middle) <= values["window"] for s in range(L)]
    total = sum(math.exp(score) for score, near in zip(scores, inside, strict=True) if near)
    weights = [near * math.exp(score) / total for score, near in zip(scores, inside, strict=True)]
    if values["span"] == "local_p":  # equation 10
        weights = [w * math.exp(-((s - middle) ** 2) / (2 * sigma**2)) for s, w in enumerate(weights)]
    return weights, [sum(w * cell[d] for w, cell in zip(weights, cells, strict=True)) for d in range(D)]


@every_kind
def test_context_and_weights_are_those_of_the_formula(values: dict[str, Any]) -> None:
    attention, query, features, step = example(**values)
    with torch.no_grad():
        output = attend(attention, query, features, step)
    parameters = {name: p.detach() for name, p in attention.named_parameters()}
    for row in range(B * R):
        cells, row_query = features[row // R].tolist(), query[row].tolist()
        weights, context = formula(values, parameters, cells, row_query, int(step[row]))
        torch.testing.assert_close(output.weights[row], torch.tensor(weights), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(output.context[row], torch.tensor(context), atol=1e-6, rtol=1e-5)


def test_a_window_moves_on_with_the_words_and_stays_in_the_picture() -> None:
    attention, query, features, _ = example(span="local_m", window=1, window_stride=2.0)
    for t, inside in {0: [0, 1], 1: [1, 2, 3], 2: [3, 4, 5], 3: [5, 6], 50: [5, 6]}.items():
        weights = attend(attention, query, features, torch.full((B * R,), t)).weights
        assert [sorted(set(row.nonzero().flatten().tolist())) for row in weights] == [inside] * (B * R)


@every_kind
def test_gradients_reach_every_parameter_the_query_and_the_features(values: dict[str, Any]) -> None:
    attention, query, features, step = example(**values)
    query.requires_grad_()
    features.requires_grad_()
    attend(attention, query, features, step).context.square().sum().backward()
    for tensor in (query, features, *attention.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0


@every_kind
def test_weights_are_finite_in_bf16_and_for_large_queries(values: dict[str, Any]) -> None:
    attention, query, features, step = example(**values)
    attention, features = attention.bfloat16(), features.bfloat16()
    output = attend(attention, (100 * query).bfloat16(), features, step)
    assert output.context.dtype == torch.bfloat16
    assert torch.isfinite(output.weights).all()
    assert (output.weights >= 0).all()
    assert (output.weights.sum(1) <= 1.0001).all()


hard_spans = pytest.mark.parametrize("span", ["global", "local_m", "local_p"])


@hard_spans
def test_hard_attention_takes_the_most_probable_cell_and_reports_it(span: str) -> None:
    attention, query, features, step = example(hard_attention=True, span=span, window=2)
    output = attend(attention, query, features, step)
    assert not output.sample_log_prob.any()
    torch.testing.assert_close(output.distribution.sum(1), torch.ones(B * R))
    assert ((output.distribution > 0).sum(1) > 1).all()
    for row in range(B * R):
        cell = int(output.distribution[row].argmax())
        torch.testing.assert_close(output.context[row], features[row // R, cell])
        assert output.weights[row].tolist() == [float(other == cell) for other in range(L)]


@hard_spans
def test_hard_attention_in_training_draws_cells_by_their_probability(span: str) -> None:
    attention, query, features, _ = example(hard_attention=True, span=span, window=2)
    attention.train()
    draws = 4000
    memory = memory_of(attention, features[:1])
    output: AttentionOutput = attention(query[:1].repeat(draws, 1), memory, torch.zeros(draws))
    drawn = (output.context.unsqueeze(1) == features[0]).all(2)
    assert (drawn.sum(1) == 1).all()
    assert torch.equal(output.weights, drawn.float())
    torch.testing.assert_close(drawn.float().mean(0), output.distribution[0].detach(), atol=0.03, rtol=0)
    torch.testing.assert_close(output.sample_log_prob, output.distribution[drawn].log())


@hard_spans
def test_the_expectation_of_hard_attention_is_the_soft_context(span: str) -> None:
    attention, query, features, step = example(hard_attention=True, span=span, window=2)
    attention.train()
    soft: AttentionOutput = attention(query, memory_of(attention, features, is_soft=True), step)
    assert not soft.sample_log_prob.any()
    assert torch.equal(soft.weights, soft.distribution)
    torch.testing.assert_close(soft.context, (soft.distribution.view(B, R, L) @ features).flatten(0, 1))


def test_soft_attention_reports_its_distribution() -> None:
    attention, query, features, step = example(sentinel=True, attention_position="last")
    output = attend(attention, query, features, step)
    assert output.weights is output.distribution
