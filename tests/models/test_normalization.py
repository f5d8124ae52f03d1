"""Masked batch normalisation: agrees with the slow definition, ignores padding, and K processes are one."""

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


def _one_of_two(rank, folder):
    """A process with some of the utterances, and fewer of them than the other has."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    x, lengths, weights = torch.load(folder / "batch.pt")
    rows = slice(0, 3) if rank == 0 else slice(3, 5)
    layer, own = MaskedBatchNorm(3), x[rows].clone().requires_grad_()
    mask = frame_mask(lengths[rows], x.shape[2])
    out = layer(own, mask)
    (out * weights[rows] * mask[:, None]).sum().backward()
    torch.save((out.detach(), own.grad, layer.running_mean, layer.running_var), folder / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_processes_normalise_and_learn_as_one(tmp_path):
    x, lengths, weights = torch.randn(5, 3, 8), torch.tensor([8, 2, 5, 7, 1]), torch.randn(5, 3, 8)
    torch.save((x, lengths, weights), tmp_path / "batch.pt")
    torch.multiprocessing.spawn(_one_of_two, (tmp_path,), nprocs=2)
    (first, second) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    layer, whole = MaskedBatchNorm(3), x.clone().requires_grad_()
    mask = frame_mask(lengths, 8)
    out = layer(whole, mask)
    (out * weights * mask[:, None]).sum().backward()
    torch.testing.assert_close(torch.cat([first[0], second[0]]), out.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.cat([first[1], second[1]]), whole.grad, rtol=1e-4, atol=1e-5)
    for process in (first, second):
        torch.testing.assert_close(process[2:], (layer.running_mean, layer.running_var))
