"""What every network has in common: frames in, one embedding out, of unit length."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn


class SpeakerNetwork(nn.Module):
    """Base of the architectures; a subclass gives `raw`.

    Attributes:
        mixes_utterances: in training an embedding depends on the other utterances of its batch (batch normalisation).
    """

    mixes_utterances: ClassVar[bool] = False

    def raw(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Output of the last layer `(batch, embedding_dim)` float32, before its length is made one.

        Args:
            features: `(batch, num_frames, feature_dim)`.
            lengths: `(batch,)` frames that count, at least one; what follows them is padding and changes nothing.
        """
        raise NotImplementedError

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeddings `(batch, embedding_dim)` of unit length; arguments as those of `raw`."""
        return F.normalize(self.raw(features, lengths).float(), dim=-1)

    def slow_parameters(self) -> list[nn.Parameter]:
        """Parameters whose learning rate `projection_factor` scales; most networks have none."""
        return []
