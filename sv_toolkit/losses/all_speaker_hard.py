"""Every utterance against the hardest of all training speakers: L_H of Heo et al. 2019 (arXiv 1902.02455), Eq. 10."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from sv_toolkit.config import Options, Within
from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.output import LossOutput, mean_cosines
from sv_toolkit.losses.term import LossSize, LossTerm, Reduction, reduced
from sv_toolkit.losses.vectors import unit

BLOCK = 8192  # speakers at a time: similarities of a batch of 640 with them take 21 MB


@torch.no_grad()
def hardest_speakers(vectors: Tensor, labels: Tensor, bases: Tensor, num_hardest: int, block: int = BLOCK) -> Tensor:
    """The set H_i of Eq. 10: the other speakers whose bases are most similar to each utterance.

    Args:
        vectors: `(num_utterances, dim)` embeddings; their length does not matter.
        labels: `(num_utterances,)` class indices; a speaker is not its own negative.
        bases: `(num_speakers, dim)`.
        num_hardest: at most num_speakers - 1.
        block: speakers compared at a time; memory is num_utterances x (block + num_hardest), the result the same.

    Returns:
        `(num_utterances, num_hardest)` class indices, the hardest first.
    """
    best = vectors.new_full((len(vectors), num_hardest), -math.inf)
    speakers = labels.new_zeros(best.shape)
    for first in range(0, len(bases), block):
        cosines = vectors @ unit(bases[first : first + block]).T
        column = (labels - first).clamp(0, cosines.shape[1] - 1)[:, None]
        is_own = (column + first) == labels[:, None]
        cosines.scatter_(1, column, cosines.gather(1, column).masked_fill(is_own, -math.inf))
        values, columns = cosines.topk(min(num_hardest, cosines.shape[1]), dim=1)
        best, order = torch.cat([best, values], dim=1).topk(num_hardest, dim=1)
        speakers = torch.cat([speakers, columns + first], dim=1).gather(1, order)
    return speakers


def all_speaker_hard(embeddings: Tensor, labels: Tensor, bases: Tensor, hardest: Tensor) -> Tensor:
    """`(num_utterances, num_hardest)` summands log(1 + exp(cos(W_h, e_i) - cos(W_yi, e_i))) of Eq. 10.

    Args:
        embeddings: `(num_utterances, dim)`; normalised here, as are the bases.
        labels: `(num_utterances,)`.
        bases: `(num_speakers, dim)`.
        hardest: `(num_utterances, num_hardest)` class indices.
    """
    vectors = unit(embeddings)
    own = (vectors * unit(bases[labels])).sum(dim=-1, keepdim=True)
    return F.softplus(_chosen_products(vectors, unit(bases), hardest) - own)


def _chosen_products(vectors: Tensor, bases: Tensor, chosen: Tensor) -> Tensor:
    """Inner products `(num_utterances, num_chosen)` of each vector with its chosen bases, by whichever way needs less memory."""
    if len(bases) <= chosen.shape[1] * bases.shape[1]:
        return (vectors @ bases.T).gather(1, chosen)
    return torch.einsum("ud,uhd->uh", vectors, F.embedding(chosen, bases))


@dataclass(frozen=True)
class AllSpeakerHardConfig(Options):
    """Options of L_H.

    Attributes:
        num_hardest: H, speakers that an utterance is held away from; 100 in Heo et al.; fewer where there are fewer.
        reduction: "mean" over utterances and their hardest speakers, or "sum" as in Eq. 10.
    """

    num_hardest: Annotated[int, Within(1, symbol="H")] = 100
    reduction: Reduction = "mean"


class AllSpeakerHard(LossTerm):
    """L_H; mined anew for every batch among all training speakers, whoever is in the batch."""

    needs_labels = True
    uses_bases = True

    def __init__(self, config: AllSpeakerHardConfig, size: LossSize) -> None:
        super().__init__()
        if size.num_speakers < 2:
            raise ConfigError(
                f"the loss all_speaker_hard compares speakers: at least 2 are needed, the training data has {size.num_speakers}"
            )
        self.config = config

    def forward(self, embeddings: Tensor, speakers: Tensor, bases: Tensor) -> LossOutput:
        """Loss of `(num_speakers, num_utterances, dim)` embeddings with class indices `speakers`."""
        labels, vectors = speakers.flatten(), embeddings.flatten(0, 1)
        hardest = hardest_speakers(vectors, labels, bases, min(self.config.num_hardest, len(bases) - 1))
        losses = all_speaker_hard(vectors, labels, bases, hardest)
        return LossOutput(reduced(losses, self.config.reduction), *mean_cosines(embeddings, speakers))
