"""Thin residual network with 34 layers: Heo et al. 2019, Table 1, after He et al. 2016."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sv_toolkit.config import OneOf, Options, Size, Within
from sv_toolkit.errors import ConfigError
from sv_toolkit.models.layers import halved
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.normalization import MaskedBatchNorm
from sv_toolkit.models.pooling import frame_mask, mean_over_time, statistics_over_time, strided, without_padding

POOLINGS = ("mean", "statistics")


@dataclass(frozen=True)
class ResNetConfig(Options):
    """Sizes of the network; the defaults are the paper's Table 1, where the 128 numbers of the pooling are the embedding.

    The table names sizes and strides.  What it leaves open is done as in ResNet-34 and its software: 3, 4, 6 and 3
    blocks, batch normalisation before the nonlinearity, projections where sizes change, a mean for the pooling, and
    a leaky ReLU with Keras' slope of 0.3.

    Attributes:
        channels: of Conv1 and Res1, then of Res2 and so on, each of which halves time and frequency (16, 32, 64, 128).
        blocks: residual blocks of two 3 x 3 convolutions in each stage (3, 4, 6, 3).
        kernel: of Conv1 (7).
        slope: of the leaky ReLU below zero.
        pooling: "mean" over time and frequency as in the paper, or "statistics": mean and standard deviation over time of
            every channel and band.
        linear: a linear layer follows the pooling; in the paper none does.
        embedding_dim: what comes out (128); without the linear layer the last of `channels`.
    """

    channels: tuple[Size, ...] = (16, 32, 64, 128)
    blocks: tuple[Size, ...] = (3, 4, 6, 3)
    kernel: Size = 7
    slope: Annotated[float, Within(0, 1, open_high=True)] = 0.3
    pooling: Annotated[str, OneOf(POOLINGS)] = "mean"
    linear: bool = False
    embedding_dim: Size = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.channels or len(self.channels) != len(self.blocks):
            raise ConfigError(f"channels and blocks need as many sizes, one or more, got {list(self.channels)} and {list(self.blocks)}")
        if self.kernel % 2 == 0:
            raise ConfigError(f"kernel must be odd, got {self.kernel}")
        if not self.linear and (self.pooling != "mean" or self.embedding_dim != self.channels[-1]):
            raise ConfigError(
                f"without linear = true pooling must be mean and embedding_dim the last of channels, {self.channels[-1]}, "
                f"got {self.pooling} and {self.embedding_dim}"
            )


class NormedConv(nn.Module):
    """A convolution over frequency and time without bias, then batch normalisation of each channel."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = MaskedBatchNorm(out_channels)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """`(batch, channels, bands, num_frames)`; `lengths` are those of the input."""
        x = self.conv(without_padding(x, frame_mask(lengths, x.shape[-1]), time=-1))
        return self.norm(x, frame_mask(strided(lengths, self.stride), x.shape[-1]))


class BasicBlock(nn.Module):
    """Two convolutions and the way past them: the input itself, or a 1 x 1 convolution of it where sizes change."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, slope: float) -> None:
        super().__init__()
        self.stride, self.slope = stride, slope
        self.first = NormedConv(in_channels, out_channels, 3, stride)
        self.second = NormedConv(out_channels, out_channels, 3)
        self.shortcut = NormedConv(in_channels, out_channels, 1, stride) if stride > 1 or in_channels != out_channels else None

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """`(batch, channels, bands, num_frames)` and its lengths, before and after."""
        past = x if self.shortcut is None else self.shortcut(x, lengths)
        inner = F.leaky_relu(self.first(x, lengths), self.slope)
        lengths = strided(lengths, self.stride)
        return F.leaky_relu(self.second(inner, lengths) + past, self.slope), lengths


class ResNet(SpeakerNetwork):
    """Frames to an embedding: convolution, residual stages, pooling, and where asked for a linear layer."""

    mixes_utterances = True

    def __init__(self, feature_dim: int, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.enter = NormedConv(1, config.channels[0], config.kernel)
        self.blocks = nn.ModuleList()
        before, num_bands = config.channels[0], feature_dim
        for stage, (channels, count) in enumerate(zip(config.channels, config.blocks)):
            num_bands = halved(num_bands) if stage else num_bands
            for block in range(count):
                self.blocks.append(BasicBlock(before, channels, 2 if stage and block == 0 else 1, config.slope))
                before = channels
        pooled = before if config.pooling == "mean" else 2 * before * num_bands
        self.linear = nn.Linear(pooled, config.embedding_dim) if config.linear else None

    def raw(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Output of the pooling, or of the linear layer; each stage but the first halves the frames, and leaves one of one."""
        x = F.leaky_relu(self.enter(features.transpose(1, 2).unsqueeze(1), lengths), self.config.slope)
        for block in self.blocks:
            x, lengths = block(x, lengths)
        pooled = self._pooled(x.float(), frame_mask(lengths, x.shape[-1]))
        return pooled if self.linear is None else self.linear(pooled).float()

    def _pooled(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.config.pooling == "mean":
            return mean_over_time(x.mean(dim=2).transpose(1, 2), mask)
        return torch.cat(statistics_over_time(x.flatten(1, 2).transpose(1, 2), mask), dim=1)
