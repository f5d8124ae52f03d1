"""Recurrent network of Deep Speaker: Li et al. 2017, Table 2; its layers as in Deep Speech 2 (Amodei et al. 2016)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sv_toolkit.config import OneOf, Options, Size
from sv_toolkit.models.layers import SequenceConv, clipped_relu, halved
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.normalization import MaskedBatchNorm
from sv_toolkit.models.pooling import frame_mask, pool

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"clipped_relu": clipped_relu, "tanh": torch.tanh}


@dataclass(frozen=True)
class GruConfig(Options):
    """Sizes of the network; the defaults are the paper's Table 2 (23 million parameters on 64 bands).

    Attributes:
        channels: of the 5 x 5 convolution of stride 2 x 2 (conv64-s).
        hidden_size: cells of a layer (1024).
        num_layers: forward-only GRU layers (3).
        embedding_dim: of the affine layer after the average over time (512).
        activation: of the cells, "clipped_relu" as in the whole of the paper's model, or "tanh".
    """

    channels: Size = 64
    hidden_size: Size = 1024
    num_layers: Size = 3
    embedding_dim: Size = 512
    activation: Annotated[str, OneOf(ACTIVATIONS)] = "clipped_relu"


class GruLayer(nn.Module):
    """A forward-only layer whose inputs, not its recurrence, are normalised (Amodei et al. 2016, section 3.2).

    With B the sequence-wise batch normalisation (its shift is the bias) and f the activation:
    update z = sigmoid(B(W_z x) + U_z h), reset r = sigmoid(B(W_r x) + U_r h),
    candidate c = f(B(W_c x) + r * (U_c h)), new h = z * h + (1 - z) * c.

    This is a reference implementation: a Python loop over frames, a few kernels for each, bound on a GPU by their launches.
    cuDNN's cell has tanh only, so it cannot compute the paper's clipped rectifier.  The tanh form is that cell's equation,
    but a cell fed with normalised inputs needs an identity matrix in place of W, and on a CPU that product made a layer of
    256 cells 1.4 to 1.6 times slower than this loop.
    """

    def __init__(self, input_size: int, hidden_size: int, activation: str) -> None:
        super().__init__()
        self.hidden_size, self.activation = hidden_size, ACTIVATIONS[activation]
        self.inputs = nn.Linear(input_size, 3 * hidden_size, bias=False)
        self.norm = MaskedBatchNorm(3 * hidden_size)
        self.recurrence = nn.Parameter(torch.empty(3 * hidden_size, hidden_size).uniform_(-1, 1) / math.sqrt(hidden_size))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(batch, num_frames, hidden_size)` of `(batch, num_frames, input_size)`."""
        driven = self.norm(self.inputs(x).transpose(1, 2), mask).permute(2, 0, 1).contiguous()
        hidden = driven.new_zeros(len(x), self.hidden_size)
        outputs = []
        for frame in driven.unbind(0):
            hidden = self._step(frame, hidden)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1)

    def _step(self, driven: Tensor, hidden: Tensor) -> Tensor:
        split = 2 * self.hidden_size
        recurrent = F.linear(hidden, self.recurrence)
        update, reset = torch.sigmoid(driven[:, :split] + recurrent[:, :split]).chunk(2, dim=1)
        candidate = self.activation(torch.addcmul(driven[:, split:], reset, recurrent[:, split:]))
        return torch.lerp(candidate, hidden, update)


class Gru(SpeakerNetwork):
    """Frames to an embedding: a strided convolution, GRU layers, mean over time, affine layer."""

    mixes_utterances = True

    def __init__(self, feature_dim: int, config: GruConfig) -> None:
        super().__init__()
        self.config = config
        num_bands = halved(feature_dim)
        self.reduction = SequenceConv(1, config.channels, 5, 2, num_bands)
        sizes = [config.channels * num_bands] + [config.hidden_size] * config.num_layers
        self.layers = nn.ModuleList(GruLayer(size, config.hidden_size, config.activation) for size in sizes[:-1])
        self.affine = nn.Linear(config.hidden_size, config.embedding_dim)

    def raw(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Output of the affine layer; the stride of two leaves every other frame, and one of one."""
        x, lengths = self.reduction(features.transpose(1, 2).unsqueeze(1), lengths)
        x = clipped_relu(x).flatten(1, 2).transpose(1, 2)
        mask = frame_mask(lengths, x.shape[1])
        for layer in self.layers:
            x = layer(x, mask)
        return self.affine(pool(x, lengths, "mean")).float()
