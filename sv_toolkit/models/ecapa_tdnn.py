"""ECAPA-TDNN: Desplanques et al. 2020 (Interspeech), section 3 and Fig. 2; convolutions over time with channel attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sv_toolkit.config import Options, Size
from sv_toolkit.errors import ConfigError
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.normalization import MaskedBatchNorm
from sv_toolkit.models.pooling import AttentiveStatistics, frame_mask, mean_over_time, strided, without_padding


@dataclass(frozen=True)
class EcapaTdnnConfig(Options):
    """Sizes of the network; the defaults are the paper's smaller system (6.2 million parameters on 80 coefficients).

    A plain SE-TDNN, with one dilated convolution instead of the Res2 cascade, is scale 1.

    Attributes:
        channels: C of the frame layers (512, or 1024 with 14.7 million parameters).
        dilations: of the 3-frame convolutions, one SE-Res2Block each (2, 3, 4).
        scale: parts of a Res2 convolution, each fed with its own channels and the part before (8).
        bottleneck: of squeeze-excitation (128).
        aggregated: channels after the outputs of all blocks are joined (1536).
        attention: of attentive statistics pooling (128).
        context: frame weights see mean and standard deviation of the whole utterance (true).
        embedding_dim: of the last layer (192).
        stride: of the first convolution (1); with 2 all that follows has half the frames and takes half the time.
    """

    channels: Size = 512
    dilations: tuple[Size, ...] = (2, 3, 4)
    scale: Size = 8
    bottleneck: Size = 128
    aggregated: Size = 1536
    attention: Size = 128
    context: bool = True
    embedding_dim: Size = 192
    stride: Size = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dilations:
            raise ConfigError("dilations needs one or more numbers, got []")
        if self.channels % self.scale:
            raise ConfigError(f"channels must be a multiple of scale = {self.scale}, got {self.channels}")


class TdnnLayer(nn.Module):
    """A convolution over time, ReLU and batch normalisation, in this order (Fig. 2).

    Frames stay the rows of a matrix `(batch, num_frames, channels)`: on a CPU the products and the normalisation are
    then a third faster than with the frames of a channel side by side.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, dilation: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, stride, dilation * (kernel // 2), dilation)
        self.norm = MaskedBatchNorm(out_channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(batch, num_frames, out_channels)` of `(batch, num_frames, in_channels)`; every stride-th frame is left."""
        left = None if mask is None else mask[:, :: self.conv.stride[0]]
        return self.norm(F.relu(self._convolved(x, mask)).transpose(1, 2), left).transpose(1, 2)

    def _convolved(self, x: Tensor, mask: Tensor | None) -> Tensor:
        conv = self.conv
        if conv.kernel_size[0] == 1:
            return F.linear(x, conv.weight[:, :, 0], conv.bias)
        image = without_padding(x, mask, time=1).transpose(1, 2).unsqueeze(2)  # channels last in memory
        stride, padding, dilation = (1, conv.stride[0]), (0, int(conv.padding[0])), (1, conv.dilation[0])
        return F.conv2d(image, conv.weight.unsqueeze(2), conv.bias, stride, padding, dilation).squeeze(2).transpose(1, 2)


class Res2Layer(nn.Module):
    """Dilated convolutions over parts of the channels, each part seeing the one before: Gao et al. 2019.

    The first part passes as it is; with one part it is a plain dilated convolution.
    """

    def __init__(self, num_channels: int, scale: int, dilation: int) -> None:
        super().__init__()
        self.width = num_channels // scale
        self.parts = nn.ModuleList(TdnnLayer(self.width, self.width, 3, dilation) for _ in range(max(scale - 1, 1)))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(batch, num_frames, num_channels)`, as it came in."""
        pieces = x.split(self.width, dim=2)
        outputs = list(pieces[: len(pieces) - len(self.parts)])
        part: Tensor | None = None
        for piece, layer in zip(pieces[len(outputs) :], self.parts):
            part = layer(piece if part is None else piece + part, mask)
            outputs.append(part)
        return torch.cat(outputs, dim=2)


class SqueezeExcitation(nn.Module):
    """Channels scaled by what their means over the utterance say: Desplanques et al. 2020, Eqs. 4 and 5."""

    def __init__(self, num_channels: int, bottleneck: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(num_channels, bottleneck)
        self.excite = nn.Linear(bottleneck, num_channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(batch, num_frames, num_channels)`, as it came in."""
        gates = torch.sigmoid(self.excite(F.relu(self.squeeze(mean_over_time(x, mask)))))
        return x * gates[:, None]


class SeRes2Block(nn.Module):
    """A dense layer, a Res2 layer, a dense layer and squeeze-excitation; the caller adds the input (Fig. 1)."""

    def __init__(self, config: EcapaTdnnConfig, dilation: int) -> None:
        super().__init__()
        self.enter = TdnnLayer(config.channels, config.channels)
        self.res2 = Res2Layer(config.channels, config.scale, dilation)
        self.leave = TdnnLayer(config.channels, config.channels)
        self.gate = SqueezeExcitation(config.channels, config.bottleneck)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(batch, num_frames, channels)`, as it came in."""
        return self.gate(self.leave(self.res2(self.enter(x, mask), mask), mask), mask)


class EcapaTdnn(SpeakerNetwork):
    """Frames to an embedding: TDNN layer, SE-Res2Blocks, all their outputs joined, attentive statistics, affine layer.

    The input and the shortcut of a block are the sum of the outputs of all layers before it (section 3.3).
    """

    mixes_utterances = True

    def __init__(self, feature_dim: int, config: EcapaTdnnConfig) -> None:
        super().__init__()
        self.config = config
        self.first = TdnnLayer(feature_dim, config.channels, kernel=5, stride=config.stride)
        self.blocks = nn.ModuleList(SeRes2Block(config, dilation) for dilation in config.dilations)
        self.join = nn.Linear(len(config.dilations) * config.channels, config.aggregated)
        self.pooling = AttentiveStatistics(config.aggregated, config.attention, config.context)
        self.pooling_norm = MaskedBatchNorm(2 * config.aggregated)
        self.affine = nn.Linear(2 * config.aggregated, config.embedding_dim)
        self.affine_norm = MaskedBatchNorm(config.embedding_dim)

    def raw(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Output of the affine layer and its batch normalisation."""
        total = self.first(features, frame_mask(lengths, features.shape[1]))
        mask = frame_mask(strided(lengths, self.config.stride), total.shape[1])
        outputs = []
        for block in self.blocks:
            outputs.append(block(total, mask) + total)
            total = total + outputs[-1]
        joined = F.relu(self.join(torch.cat(outputs, dim=2)))
        pooled = self.pooling_norm(self.pooling(joined, mask)[..., None], None)[..., 0]
        return self.affine_norm(self.affine(pooled)[..., None], None)[..., 0].float()
