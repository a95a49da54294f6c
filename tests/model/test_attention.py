"""Additive attention against the formula of the paper, one number at a time."""

import math

import torch

from wordgaze.model.attention import AdditiveAttention

B, R, L, D, H, A = 2, 3, 5, 4, 6, 7


def example() -> tuple[AdditiveAttention, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return AdditiveAttention(D, H, A), torch.randn(B * R, H), torch.randn(B, L, D)


def test_context_and_weights_are_those_of_the_formula() -> None:
    attend, query, features = example()
    context, weights = attend(query, attend.keys(features), features)
    key, bias = attend.key.weight.tolist(), attend.key.bias.tolist()
    ask, v = attend.query.weight.tolist(), attend.energy.weight[0].tolist()
    for row in range(B * R):
        cells, asked = features[row // R].tolist(), query[row].tolist()
        energies = []
        for cell in cells:
            energy = 0.0
            for a in range(A):
                seen = sum(key[a][d] * cell[d] for d in range(D)) + bias[a]
                energy += v[a] * math.tanh(seen + sum(ask[a][h] * asked[h] for h in range(H)))
            energies.append(energy)
        total = sum(math.exp(e) for e in energies)
        expected = [math.exp(e) / total for e in energies]
        torch.testing.assert_close(weights[row], torch.tensor(expected), atol=1e-6, rtol=1e-5)
        looked = [sum(w * cell[d] for w, cell in zip(expected, cells, strict=True)) for d in range(D)]
        torch.testing.assert_close(context[row], torch.tensor(looked), atol=1e-6, rtol=1e-5)


def test_weights_are_a_distribution_over_the_cells() -> None:
    attend, query, features = example()
    _, weights = attend(100 * query, attend.keys(features), features)
    assert weights.shape == (B * R, L)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(B * R))


def test_sharing_a_pictures_keys_equals_repeating_its_features() -> None:
    attend, query, features = example()
    repeated = features.repeat_interleave(R, dim=0)
    shared = attend(query, attend.keys(features), features)
    apart = attend(query, attend.keys(repeated), repeated)
    torch.testing.assert_close(shared, apart)


def test_gradients_reach_every_parameter_the_query_and_the_features() -> None:
    attend, query, features = example()
    query.requires_grad_()
    features.requires_grad_()
    context, _ = attend(query, attend.keys(features), features)
    context.square().sum().backward()
    for tensor in (query, features, *attend.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0


def test_weights_stay_finite_and_in_the_features_format_in_bf16() -> None:
    attend, query, features = example()
    attend, query, features = attend.bfloat16(), query.bfloat16(), features.bfloat16()
    context, weights = attend(query, attend.keys(features), features)
    assert context.dtype == weights.dtype == torch.bfloat16
    torch.testing.assert_close(weights.float().sum(1), torch.ones(B * R), atol=2e-2, rtol=0)
