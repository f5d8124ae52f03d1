"""Layers of Deep Speaker's two networks: Li et al. 2017, section 3.1."""

from __future__ import annotations

from torch import Tensor, nn

from sv_toolkit.models.normalization import MaskedBatchNorm
from sv_toolkit.models.pooling import frame_mask, strided, without_padding

CLIP = 20.0


def clipped_relu(x: Tensor) -> Tensor:
    """min(max(x, 0), 20): Li et al. 2017, Eq. 2."""
    return x.clamp(0.0, CLIP)


def halved(size: int) -> int:
    """Frequency bands that a stride of two leaves."""
    return (size + 1) // 2


class SequenceConv(nn.Module):
    """A convolution over frequency and time without bias, then sequence-wise batch normalisation.

    Every unit (channel and frequency band) has its own mean, variance, scale and shift over batch and time: that is
    what the 2 x 2048 parameters are by which each layer of the paper's tables exceeds its convolution.

    Args:
        num_bands: frequency bands that come out.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, num_bands: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = MaskedBatchNorm(out_channels * num_bands)

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """`(batch, channels, bands, num_frames)` and its lengths, before and after."""
        x = self.conv(without_padding(x, frame_mask(lengths, x.shape[-1]), time=-1))
        lengths = strided(lengths, self.stride)
        units = self.norm(x.flatten(1, 2), frame_mask(lengths, x.shape[-1]))
        return units.view_as(x), lengths
