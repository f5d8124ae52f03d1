"""Pooling over the frames that count, against lists of frames."""

from __future__ import annotations

import pytest
import torch

from sv_toolkit.models.pooling import AttentiveStatistics, frame_mask, mean_over_time, pool, statistics_over_time, strided

LENGTHS = torch.tensor([7, 1, 4])


@pytest.fixture
def x():
    return torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def pieces(x):
    """The counted frames of each utterance, `(channels, num_frames)`."""
    return [x[row, :length].T for row, length in enumerate(LENGTHS)]


def test_mean_and_standard_deviation_are_over_counted_frames(x):
    mask = frame_mask(LENGTHS, 7)
    mean, deviation = statistics_over_time(x, mask)
    torch.testing.assert_close(mean, torch.stack([piece.mean(dim=1) for piece in pieces(x)]))
    expected = torch.stack([piece.var(dim=1, correction=0).clamp(min=1e-5).sqrt() for piece in pieces(x)])
    torch.testing.assert_close(deviation, expected)
    torch.testing.assert_close(mean_over_time(x, mask), mean)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_pool_takes_the_last_or_the_mean_of_the_counted_frames(x, pooling):
    expected = [piece[:, -1] if pooling == "last" else piece.mean(dim=1) for piece in pieces(x)]
    torch.testing.assert_close(pool(x, LENGTHS, pooling), torch.stack(expected))


@pytest.mark.parametrize("context", [True, False])
def test_attentive_statistics_agree_with_their_definition(x, context):
    """Softmax over time of W2 tanh(W1 [h; mean; deviation] + b1) + b2, channel by channel; then weighted moments."""
    torch.manual_seed(0)
    layer = AttentiveStatistics(5, 3, context).double()
    found = layer(x, frame_mask(LENGTHS, 7)).double()
    for row, piece in enumerate(pieces(x)):
        hidden = layer.frame.weight @ piece + layer.frame.bias[:, None]
        if context:
            deviation = piece.var(dim=1, correction=0).clamp(min=1e-5).sqrt()
            hidden = hidden + (layer.utterance.weight @ torch.cat([piece.mean(dim=1), deviation]))[:, None]
        weights = torch.softmax(layer.weight.weight @ torch.tanh(hidden) + layer.weight.bias[:, None], dim=1)
        mean = (weights * piece).sum(dim=1)
        deviation = ((weights * piece.square()).sum(dim=1) - mean.square()).clamp(min=1e-5).sqrt()
        torch.testing.assert_close(found[row], torch.cat([mean, deviation]), rtol=1e-4, atol=1e-6)


def test_gradients_are_finite_for_a_single_frame():
    layer, x = AttentiveStatistics(5, 3), torch.randn(2, 1, 5, requires_grad=True)
    layer(x, None).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2)])
def test_strided_lengths_are_the_sizes_convolutions_give(kernel, stride):
    conv = torch.nn.Conv1d(1, 1, kernel, stride, padding=kernel // 2)
    sizes = [conv(torch.zeros(1, 1, length)).shape[-1] for length in range(1, 20)]
    assert strided(torch.arange(1, 20), stride).tolist() == sizes
