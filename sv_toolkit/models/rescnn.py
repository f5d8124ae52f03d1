"""Residual convolutional network of Deep Speaker: Li et al. 2017, Table 1."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from sv_toolkit.config import Count, Options, Size
from sv_toolkit.errors import ConfigError
from sv_toolkit.models.layers import SequenceConv, clipped_relu, halved
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.pooling import pool


@dataclass(frozen=True)
class ResCnnConfig(Options):
    """Sizes of the network; the defaults are the paper's Table 1 (24 million parameters on 64 bands).

    Attributes:
        channels: of the stages; each begins with a 5 x 5 convolution of stride 2 x 2 (conv64-s to conv512-s).
        blocks: residual blocks of two 3 x 3 convolutions in each stage (3).
        embedding_dim: of the affine layer after the average over time (512).
    """

    channels: tuple[Size, ...] = (64, 128, 256, 512)
    blocks: Count = 3
    embedding_dim: Size = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.channels:
            raise ConfigError("channels needs one or more sizes, got []")


class ResBlock(nn.Module):
    """h = F(x) + x (Eq. 1, Fig. 2): F is convolution, normalisation, clipped ReLU, convolution, normalisation."""

    def __init__(self, num_channels: int, num_bands: int) -> None:
        super().__init__()
        self.first = SequenceConv(num_channels, num_channels, 3, 1, num_bands)
        self.second = SequenceConv(num_channels, num_channels, 3, 1, num_bands)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """`(batch, channels, bands, num_frames)`, after one more clipped ReLU."""
        inner = clipped_relu(self.first(x, lengths)[0])
        return clipped_relu(self.second(inner, lengths)[0] + x)


class ResCnn(SpeakerNetwork):
    """Frames to an embedding: strided convolutions with residual blocks between them, mean over time, affine layer."""

    mixes_utterances = True

    def __init__(self, feature_dim: int, config: ResCnnConfig) -> None:
        super().__init__()
        self.config = config
        self.reductions, self.stages = nn.ModuleList(), nn.ModuleList()
        num_bands = feature_dim
        for before, channels in zip((1, *config.channels), config.channels):
            num_bands = halved(num_bands)
            self.reductions.append(SequenceConv(before, channels, 5, 2, num_bands))
            self.stages.append(nn.ModuleList(ResBlock(channels, num_bands) for _ in range(config.blocks)))
        self.affine = nn.Linear(config.channels[-1] * num_bands, config.embedding_dim)

    def raw(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Output of the affine layer; four strides of two leave one frame in sixteen, and one of one."""
        x = features.transpose(1, 2).unsqueeze(1)
        for reduction, blocks in zip(self.reductions, self.stages):
            x, lengths = reduction(x, lengths)
            x = clipped_relu(x)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, lengths)
        return self.affine(pool(x.flatten(1, 2).transpose(1, 2), lengths, "mean")).float()
