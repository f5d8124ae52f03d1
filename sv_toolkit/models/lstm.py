"""LSTM d-vector network: Wan et al. 2018, section 3; layers with projection as in Sak et al. 2014."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from sv_toolkit.config import Count, OneOf, Options, Size, Within
from sv_toolkit.errors import ConfigError
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.pooling import pool

# Here and not around the call, which would change the filters of all threads at every step.
warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")

POOLINGS = ("last", "mean", "statistics")
INITIALIZATIONS = ("torch", "xavier")


@dataclass(frozen=True)
class LstmConfig(Options):
    """Sizes of the network; the defaults are the paper's text-independent system.

    The single-layer baseline of its Table 2 (Heigold et al. 2016) is hidden_size 512, projection_size 0, num_layers 1,
    embedding_dim 128.

    Attributes:
        hidden_size: cells per layer (768 TI-SV, 128 TD-SV).
        projection_size: outputs per layer after projection (256, 64); 0 for none, which is faster on CPU.
        num_layers: LSTM layers.
        embedding_dim: length of the d-vector.
        frame_dim: units of a layer with rectifier that every frame passes before pooling, as in x-vectors (Snyder et al.
            2018); 0 for none.
        pooling: "last", the response at the last frame as in the paper, "mean" over the frames, or "statistics": mean and
            standard deviation.
        dropout: between layers, while training.
        initialization: "torch", uniform as nn.LSTM draws it, or "xavier" (Glorot and Bengio 2010) with zero biases.  With
            projections and three layers, as in the paper, "torch" starts with all embeddings alike and a gradient near
            zero, from which SGD takes very long to move; "xavier" does not.
    """

    hidden_size: Size = 768
    projection_size: int = 256
    num_layers: Size = 3
    embedding_dim: Size = 256
    frame_dim: Count = 0
    pooling: Annotated[str, OneOf(POOLINGS)] = "last"
    dropout: Annotated[float, Within(0, 1, open_high=True)] = 0.0
    initialization: Annotated[str, OneOf(INITIALIZATIONS)] = "torch"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.projection_size < self.hidden_size:
            raise ConfigError(f"projection_size must lie in [0, hidden_size = {self.hidden_size}), got {self.projection_size}")


class LstmDvector(SpeakerNetwork):
    """Frames to a unit-length d-vector: LSTM layers, perhaps a layer on frames, pooling over time, a linear layer, L2 norm (Eq. 4)."""

    def __init__(self, feature_dim: int, config: LstmConfig) -> None:
        super().__init__()
        self.config = config
        dropout = config.dropout if config.num_layers > 1 else 0.0
        self.lstm = nn.LSTM(
            feature_dim, config.hidden_size, config.num_layers, batch_first=True, dropout=dropout, proj_size=config.projection_size
        )
        width = config.projection_size or config.hidden_size
        self.frame = nn.Linear(width, config.frame_dim) if config.frame_dim else None
        width = (config.frame_dim or width) * (2 if config.pooling == "statistics" else 1)
        self.linear = nn.Linear(width, config.embedding_dim)
        if config.initialization == "xavier":
            self._draw_xavier()

    def _draw_xavier(self) -> None:
        """Weights of every gate by themselves; biases zero."""
        for name, parameter in self.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
            else:
                for matrix in parameter.data.chunk(4) if "lstm.weight_ih" in name or "lstm.weight_hh" in name else [parameter.data]:
                    nn.init.xavier_uniform_(matrix)

    def raw(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """D-vectors before the L2 norm; a causal network never sees padding before the last counted frame."""
        outputs, _ = self.lstm(features)
        if self.frame is not None:
            outputs = self.frame(outputs).relu()
        return self.linear(pool(outputs, lengths, self.config.pooling)).float()

    def slow_parameters(self) -> list[nn.Parameter]:
        """The projections, whose learning rate the paper's recipe halves."""
        return [parameter for name, parameter in self.named_parameters() if "weight_hr" in name]
