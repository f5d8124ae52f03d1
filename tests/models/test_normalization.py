"""Masked batch normalisation: agrees with the slow definition, ignores padding (over processes: test_registry.py)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sv_toolkit.models.normalization import MaskedBatchNorm
from sv_toolkit.models.pooling import frame_mask


def norm(num_features=3):
    torch.manual_seed(1)
    layer = MaskedBatchNorm(num_features)
    layer.weight.data.uniform_(0.5, 2)
    layer.bias.data.uniform_(-1, 1)
    return layer


def slow_norm(x, lengths, layer):
    """Feature by feature over a list of the counted values, in float64."""
    x = x.double()
    result = torch.zeros_like(x)
    for feature in range(x.shape[1]):
        values = torch.cat([x[row, feature, ..., :length].reshape(-1) for row, length in enumerate(lengths)])
        variance = values.var(correction=0)
        result[:, feature] = (x[:, feature] - values.mean()) / (variance + 1e-5).sqrt() * layer.weight[feature] + layer.bias[feature]
    return result


@pytest.mark.parametrize("shape", [(4, 3, 10), (4, 3, 2, 10)])
def test_it_agrees_with_the_definition_where_frames_count(shape):
    layer, x, lengths = norm(), torch.randn(shape), torch.tensor([10, 3, 1, 7])
    mask = frame_mask(lengths, 10)
    keep = mask.reshape(4, *[1] * (len(shape) - 2), 10).expand(shape)
    torch.testing.assert_close(layer(x, mask)[keep], slow_norm(x, lengths, layer).float()[keep], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 3, 10), (4, 3, 2, 10)])
def test_without_padding_it_is_torchs_batch_normalisation(shape):
    x = torch.randn(shape)
    for mask in (None, torch.ones(4, 10, dtype=torch.bool)):
        own, other = MaskedBatchNorm(3), nn.BatchNorm1d(3) if len(shape) == 3 else nn.BatchNorm2d(3)
        torch.testing.assert_close(own(x, mask), other(x))
        torch.testing.assert_close(own.running_mean, other.running_mean)
        torch.testing.assert_close(own.running_var, other.running_var)
        torch.testing.assert_close(own.eval()(x, mask), other.eval()(x))


def test_gradients_are_those_of_the_formula():
    layer, lengths = norm(), torch.tensor([4, 2])
    x = torch.randn(2, 3, 4, requires_grad=True)
    mask = frame_mask(lengths, 4)
    (layer(x, mask) * mask[:, None] * torch.arange(4)).sum().backward()
    own, x.grad = x.grad, None
    (slow_norm(x, lengths, layer) * mask[:, None] * torch.arange(4)).sum().backward()
    torch.testing.assert_close(own, x.grad, rtol=1e-4, atol=1e-5)
    assert own[1, :, 2:].abs().max() == 0
