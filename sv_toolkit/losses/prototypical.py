"""Prototypical losses: the last utterance of each speaker against the mean of the others.

Snell et al. 2017 (arXiv 1703.05175) with squared distances, Chung et al. 2020 (arXiv 2003.11982) with cosines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from sv_toolkit.config import Options, Within
from sv_toolkit.losses.output import LossOutput, mean_cosines
from sv_toolkit.losses.term import LossSize, LossTerm, Reduction, ScaledTerm, reduced
from sv_toolkit.losses.vectors import squared_distances, unit


def prototype_distances(embeddings: Tensor) -> Tensor:
    """`(num_speakers, num_speakers)` squared distances of queries (rows) to prototypes: Snell et al., Eq. 1.

    Args:
        embeddings: `(num_speakers, num_utterances, dim)` of any length, as in the paper; the last utterance is the query.
    """
    return squared_distances(embeddings[:, -1], embeddings[:, :-1].mean(dim=1))


def prototype_cosines(embeddings: Tensor) -> Tensor:
    """`(num_speakers, num_speakers)` cosines of queries (rows) and prototypes; embeddings are normalised before the mean, as in GE2E."""
    vectors = unit(embeddings)
    return vectors[:, -1] @ unit(vectors[:, :-1].sum(dim=1)).T


def query_losses(similarity: Tensor) -> Tensor:
    """`(num_speakers,)` losses of the queries: softmax over the prototypes, the own one on the diagonal (Snell et al., Eq. 2)."""
    return F.cross_entropy(similarity, torch.arange(len(similarity), device=similarity.device), reduction="none")


@dataclass(frozen=True)
class PrototypicalConfig(Options):
    """Options of the prototypical loss.

    Attributes:
        reduction: "mean" over the speakers (one query each), or "sum".
    """

    reduction: Reduction = "mean"


class Prototypical(LossTerm):
    """Softmax over negative squared Euclidean distances."""

    needs_speakers = 2
    needs_utterances = 2
    sampler = "speakers"

    def __init__(self, config: PrototypicalConfig, size: LossSize) -> None:
        super().__init__()
        self.config = config

    def forward(self, embeddings: Tensor, speakers: Tensor | None = None, bases: Tensor | None = None) -> LossOutput:
        """Loss of `(num_speakers, num_utterances, dim)` embeddings."""
        losses = query_losses(-prototype_distances(embeddings))
        return LossOutput(reduced(losses, self.config.reduction), *mean_cosines(embeddings, speakers))


@dataclass(frozen=True)
class AngularPrototypicalConfig(Options):
    """Options of the angular prototypical loss.

    Attributes:
        scale, offset: initial w and b.
        reduction: "mean" over the speakers (one query each), or "sum".
    """

    scale: Annotated[float, Within(0, open_low=True, symbol="w")] = 10.0
    offset: float = -5.0
    reduction: Reduction = "mean"


class AngularPrototypical(ScaledTerm):
    """Softmax over w cos + b with w and b learned."""

    needs_speakers = 2
    needs_utterances = 2
    sampler = "speakers"

    def __init__(self, config: AngularPrototypicalConfig, size: LossSize) -> None:
        super().__init__(config.scale, config.offset)
        self.config = config

    def forward(self, embeddings: Tensor, speakers: Tensor | None = None, bases: Tensor | None = None) -> LossOutput:
        """Loss of `(num_speakers, num_utterances, dim)` embeddings."""
        losses = query_losses(self.scale * prototype_cosines(embeddings) + self.offset)
        return LossOutput(reduced(losses, self.config.reduction), *mean_cosines(embeddings, speakers))
