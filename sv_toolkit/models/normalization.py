"""Batch normalisation that counts frames of speech only, in one process or over several."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sv_toolkit.models.pooling import without_padding

SPREAD = 1e-5  # added to the variance
MOMENTUM = 0.1  # share of a batch in the running statistics


class MaskedBatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015) over the counted frames of `(batch, num_features, ..., num_frames)`.

    On `(batch, units, num_frames)` this is the sequence-wise normalisation of Deep Speech 2 (Amodei et al. 2016,
    section 3.2): one mean and variance of a unit over the batch and over time.  In training with several processes
    the statistics are those of the frames of all of them.  There is no count of batches: every tensor of the state is
    a floating-point one, so that running means of models can be taken.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Normalised `x`; what it holds in the padding is meaningless.

        Args:
            mask: `(batch, num_frames)`, True where a frame counts, or None where all do.
        """
        given = x.shape
        alone = mask is None and num_processes() == 1
        if not self.training or (alone and x.numel() > x.shape[1]):
            x = x if x.ndim > 3 else x.unsqueeze(2)  # of four dimensions any order in memory is fast, of three only one
            x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, MOMENTUM, SPREAD)
            return x.view(given)
        shape = (1, -1, *[1] * (x.ndim - 2))
        mean, variance, count = counted_statistics(x.float(), mask)
        with torch.no_grad():
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), MOMENTUM)
        scale = self.weight * (variance + SPREAD).rsqrt()
        return ((x - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


def counted_statistics(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance `(num_features,)` and number of the counted values of each feature, over all processes."""
    others = [0, *range(2, x.ndim)]
    own = x.numel() // x.shape[1] if mask is None else mask.sum() * (x.numel() // (x.shape[1] * mask.numel()))
    sums = without_padding(x, mask, time=-1).sum(dim=others)
    totals = summed_over_processes(torch.cat([sums, torch.as_tensor(own, dtype=x.dtype, device=x.device).reshape(1)]))
    mean, count = totals[:-1] / totals[-1], totals[-1].detach()
    deviations = x - mean.view(1, -1, *[1] * (x.ndim - 2))
    return mean, summed_over_processes(without_padding(deviations, mask, time=-1).square().sum(dim=others)) / count, count


def summed_over_processes(x: Tensor) -> Tensor:
    """The sum of every process's `x`, through which gradients flow to all of them; `x` itself in a single process."""
    return x if num_processes() == 1 else _SumOverProcesses.apply(x)


class _SumOverProcesses(torch.autograd.Function):
    """Every process's loss depends on the sum, so the gradient of `x` is the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


def num_processes() -> int:
    """Processes that train together."""
    return torch.distributed.get_world_size() if torch.distributed.is_available() and torch.distributed.is_initialized() else 1
