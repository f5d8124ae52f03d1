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
    section 3.2): one mean and variance of a unit over the batch and over time.  There is no count of batches: every
    tensor of the state is a floating-point one, so that running means of models can be taken.

    Attributes:
        over_processes: in training with several processes, the statistics are those of the frames of all of them, and not of
            the own ones; exact, at the price of two collective operations for every layer.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.over_processes = False
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Normalised `x`; what it holds in the padding is meaningless.

        Args:
            mask: `(batch, num_frames)`, True where a frame counts, or None where all do.  Training of this toolkit has none:
                short utterances are repeated, not padded.
        """
        if self.training and mask is not None:
            return self._counted(x, mask)
        if self.training and self.over_processes and num_processes() > 1:
            return _NormOverProcesses.apply(x, self.weight, self.bias, self.running_mean, self.running_var)
        if self.training and x.numel() == x.shape[1]:  # a single value: torch refuses it
            return self._counted(x, None)
        given = x.shape
        x = x if x.ndim > 3 else x.unsqueeze(2)  # of four dimensions any order in memory is fast, of three only one
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, MOMENTUM, SPREAD)
        return x.view(given)

    def _counted(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """By the formula, over the frames that the mask counts."""
        shape = (1, -1, *[1] * (x.ndim - 2))
        mean, variance, count = counted_statistics(x.float(), mask)
        with torch.no_grad():
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), MOMENTUM)
        scale = self.weight * (variance + SPREAD).rsqrt()
        return ((x - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


def counted_statistics(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance `(num_features,)` and number of the counted values of each feature."""
    others = [0, *range(2, x.ndim)]
    per_frame = x.numel() // (x.shape[0] * x.shape[1] * x.shape[-1])
    count = x.new_full((), x.numel() // x.shape[1]) if mask is None else mask.sum() * per_frame
    mean = without_padding(x, mask, time=-1).sum(dim=others) / count
    deviations = x - mean.view(1, -1, *[1] * (x.ndim - 2))
    return mean, without_padding(deviations, mask, time=-1).square().sum(dim=others) / count, count


class _NormOverProcesses(torch.autograd.Function):
    """Batch normalisation by the statistics of all processes: torch's kernels, and one collective operation each way.

    Every process's loss depends on every process's values.  With S1 and S2 the sums over all of them of the gradient g and
    of g times the normalised values x', the gradient is w / sigma (g - S1 / n - x' S2 / n).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor) -> Tensor:
        own_var, own_mean = torch.var_mean(x.float(), [0, *range(2, x.ndim)], correction=0)
        own = torch.cat([own_mean, own_var, own_mean.new_full((1,), x.numel() // x.shape[1])])
        parts = [torch.empty_like(own) for _ in range(num_processes())]
        torch.distributed.all_gather(parts, own)
        means, variances, counts = torch.stack(parts).split([len(own_mean), len(own_mean), 1], dim=1)
        total = counts.sum()
        mean = (counts * means).sum(dim=0) / total
        variance = (counts * (variances + (means - mean).square())).sum(dim=0) / total
        running_mean.lerp_(mean, MOMENTUM)
        running_var.lerp_(variance * (total / (total - 1).clamp(min=1)), MOMENTUM)
        ctx.save_for_backward(x, weight, mean, variance, total)
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, SPREAD)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, total = ctx.saved_tensors
        own, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0].contiguous(), x, weight, mean, variance, None, None, False, SPREAD, [True, True, True]
        )
        sums = torch.cat([of_weight, of_bias])
        torch.distributed.all_reduce(sums)
        second, first = sums.chunk(2)
        scale = weight * (variance + SPREAD).rsqrt() / total
        slope = scale * second * (variance + SPREAD).rsqrt()
        shape = (1, -1, *[1] * (x.ndim - 2))
        shifted = own - (scale * first - slope * mean).view(shape)
        return torch.addcmul(shifted, x, slope.view(shape), value=-1).to(x.dtype), of_weight, of_bias, None, None


def num_processes() -> int:
    """Processes that train together."""
    return torch.distributed.get_world_size() if torch.distributed.is_available() and torch.distributed.is_initialized() else 1
