"""Softmax over all training speakers: Heo et al. 2019, Eq. 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sv_toolkit.config import Options
from sv_toolkit.losses.output import LossOutput, mean_cosines
from sv_toolkit.losses.term import LossSize, LossTerm, Reduction, reduced


@dataclass(frozen=True)
class SoftmaxConfig(Options):
    """Options of the softmax loss.

    Attributes:
        reduction: "mean" over the utterances, or "sum" as in Eq. 1.
    """

    reduction: Reduction = "mean"


class Softmax(LossTerm):
    """Softmax over the speakers on embeddings of any length; the bases are the weights W, the biases b are its own."""

    needs_labels = True
    uses_bases = True

    def __init__(self, config: SoftmaxConfig, size: LossSize) -> None:
        super().__init__()
        self.config = config
        self.biases = nn.Parameter(torch.zeros(size.num_speakers))

    def forward(self, embeddings: Tensor, speakers: Tensor, bases: Tensor) -> LossOutput:
        """Loss of `(num_speakers, num_utterances, dim)` embeddings with class indices `speakers`."""
        logits = F.linear(embeddings.flatten(0, 1), bases, self.biases)
        losses = F.cross_entropy(logits, speakers.flatten(), reduction="none")
        return LossOutput(reduced(losses, self.config.reduction), *mean_cosines(embeddings, speakers))
