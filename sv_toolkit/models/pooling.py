"""Utterances of different lengths in one batch: which frames count, and what is made of them over time.

A mask is boolean `(batch, num_frames)`, True where a frame counts, or None where all do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FLOOR = 1e-5  # of a variance whose root is taken: a constant channel would have an infinite gradient


def frame_mask(lengths: Tensor | None, num_frames: int) -> Tensor | None:
    """The mask of utterances with `lengths` `(batch,)` frames in a batch of `num_frames`."""
    if lengths is None:
        return None
    return torch.arange(num_frames, device=lengths.device) < lengths[:, None]


def strided(lengths: Tensor | None, stride: int) -> Tensor | None:
    """Frames left by a convolution with an odd kernel k, padding (k - 1) / 2 and this stride: at least one of one."""
    return None if lengths is None else (lengths + stride - 1) // stride


def over_frames(mask: Tensor, x: Tensor, time: int) -> Tensor:
    """The mask shaped to go with `x`, whose first dimension is the batch and whose dimension `time` are the frames."""
    shape = [1] * x.ndim
    shape[0], shape[time] = mask.shape
    return mask.view(shape)


def without_padding(x: Tensor, mask: Tensor | None, time: int) -> Tensor:
    """`x` with zeros where no frame counts, as a convolution finds beyond the end of an utterance alone."""
    return x if mask is None else x.masked_fill(~over_frames(mask, x, time), 0.0)


def mean_over_time(x: Tensor, mask: Tensor | None) -> Tensor:
    """`(batch, num_frames, channels)` to the `(batch, channels)` mean of the counted frames."""
    if mask is None:
        return x.mean(dim=1)
    return without_padding(x, mask, time=1).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def statistics_over_time(x: Tensor, mask: Tensor | None, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation `(batch, channels)` over the counted frames.

    Args:
        x: `(batch, num_frames, channels)`.
        weights: of the frames, shaped like `x`, summing to one over the counted frames and zero elsewhere; None: all alike.
    """
    if weights is None:
        mean = mean_over_time(x, mask)
        deviations = x - mean[:, None]
        variance = mean_over_time(deviations * deviations, mask)
    else:
        x = without_padding(x, mask, time=1)
        mean = (weights * x).sum(dim=1)
        deviations = x - mean[:, None]
        variance = (weights * deviations * deviations).sum(dim=1)
    return mean, variance.clamp(min=FLOOR).sqrt()


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation with frame weights of each channel: Desplanques et al. 2020, Eqs. 1 to 3.

    With `context` the weights of a frame are computed from the frame and from mean and standard deviation of the
    whole utterance (the paper's global context); without, from the frame alone.
    """

    def __init__(self, num_channels: int, attention_dim: int, context: bool = True) -> None:
        super().__init__()
        self.frame = nn.Linear(num_channels, attention_dim)
        self.utterance = nn.Linear(2 * num_channels, attention_dim, bias=False) if context else None
        self.weight = nn.Linear(attention_dim, num_channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(batch, 2 * channels)` of `(batch, num_frames, channels)`."""
        hidden = self.frame(x)
        if self.utterance is not None:  # one product per utterance, not per frame: the context is the same for all its frames
            hidden = hidden + self.utterance(torch.cat(statistics_over_time(x, mask), dim=1))[:, None]
        scores = self.weight(torch.tanh(hidden)).float()
        if mask is not None:
            scores = scores.masked_fill(~over_frames(mask, scores, time=1), -torch.inf)
        return torch.cat(statistics_over_time(x.float(), mask, scores.softmax(dim=1)), dim=1)


def pool(outputs: Tensor, lengths: Tensor | None, pooling: str) -> Tensor:
    """`(batch, num_frames, dim)` to `(batch, dim)`: the "last" counted frame, or the "mean" of the counted frames.

    Or to `(batch, 2 * dim)`: their "statistics", mean and standard deviation.
    """
    if pooling == "last":
        return outputs[:, -1] if lengths is None else outputs[torch.arange(len(outputs), device=outputs.device), lengths - 1]
    mask = frame_mask(lengths, outputs.shape[1])
    return mean_over_time(outputs, mask) if pooling == "mean" else torch.cat(statistics_over_time(outputs, mask), dim=1)
