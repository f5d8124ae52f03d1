"""Triplet loss on cosines: Deep Speaker, Li et al. 2017 (arXiv 1705.02304), Eqs. 5 and 6."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from sv_toolkit.config import OneOf, Options, Within
from sv_toolkit.losses.output import LossOutput, mean_cosines
from sv_toolkit.losses.term import LossSize, LossTerm, Reduction
from sv_toolkit.losses.vectors import unit


def pair_cosines(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of every utterance with the others of its speaker, and with all of other speakers (Eq. 4).

    Args:
        embeddings: `(num_speakers, num_utterances, dim)`; normalised here.

    Returns:
        `(num_speakers, num_utterances, num_utterances - 1)` and
        `(num_speakers, num_utterances, (num_speakers - 1) * num_utterances)`.
    """
    num_speakers, num_utterances, _ = embeddings.shape
    vectors = unit(embeddings)
    own = vectors @ vectors.transpose(1, 2)
    others = _others(num_utterances, vectors.device)
    positives = own.gather(2, others.expand(num_speakers, -1, -1))
    cosines = (vectors.flatten(0, 1) @ vectors.flatten(0, 1).T).view(num_speakers, num_utterances, num_speakers, num_utterances)
    others = _others(num_speakers, vectors.device)[:, None, :, None].expand(-1, num_utterances, -1, num_utterances)
    return positives, cosines.gather(2, others).flatten(2)


def _others(number: int, device: torch.device) -> Tensor:
    """`(number, number - 1)`: for each of `number` places all the others."""
    place, column = torch.arange(number, device=device)[:, None], torch.arange(number - 1, device=device)
    return column + (column >= place)


def hard_negatives(positives: Tensor, negatives: Tensor) -> Tensor:
    """For every pair the most similar utterance of another speaker in the whole batch (section 3.3)."""
    return negatives.amax(dim=-1)[..., None, None].expand(*positives.shape, 1)


def semi_hard_negatives(positives: Tensor, negatives: Tensor) -> Tensor:
    """For every pair the most similar utterance of another speaker that is less similar than the positive (section 3.4).

    A pair without such a negative makes no triplet: -inf stands in its place.
    """
    ascending = negatives.sort(dim=-1).values
    below = torch.searchsorted(ascending.detach(), positives.detach().contiguous())
    chosen = ascending.gather(-1, (below - 1).clamp(min=0))
    return chosen.masked_fill(below == 0, -math.inf)[..., None]


def all_negatives(positives: Tensor, negatives: Tensor) -> Tensor:
    """For every pair every utterance of another speaker: what negatives drawn at random give on average."""
    return negatives[:, :, None].expand(*positives.shape, negatives.shape[-1])


NEGATIVES = {"hard": hard_negatives, "semi-hard": semi_hard_negatives, "all": all_negatives}


def triplet_losses(positives: Tensor, negatives: Tensor, margin: float) -> Tensor:
    """Losses `[s_an - s_ap + margin]_+` of Eq. 6, in the shape of `negatives`; 0 where there is no negative (-inf).

    Args:
        positives: `(..., num_pairs)` cosines of anchor and positive.
        negatives: `(..., num_pairs, num_negatives)` cosines of the same anchors with their negatives.
    """
    return (negatives - positives[..., None] + margin).clamp(min=0)


@dataclass(frozen=True)
class TripletConfig(Options):
    """Options of the triplet loss.

    Attributes:
        margin: alpha, by which a positive should be more similar than a negative; 0.1 in Deep Speaker.
        negatives: "hard", "semi-hard" or "all"; see the functions of these names.
        reduction: "mean" over the triplets, or "sum" as in Eq. 6.
    """

    margin: Annotated[float, Within(0, symbol="alpha")] = 0.1
    negatives: Annotated[str, OneOf(NEGATIVES)] = "hard"
    reduction: Reduction = "mean"


class Triplet(LossTerm):
    """Triplets out of all ordered pairs of one speaker's utterances in the batch.

    Logged besides: `active_share`, triplets with a loss (the paper's Prob(hard), Table 3: Eq. 5 is not met), and
    `hard_share`, those whose negative is even more similar than the positive.
    """

    needs_speakers = 2
    needs_utterances = 2
    sampler = "speakers"
    has_margin = True

    def __init__(self, config: TripletConfig, size: LossSize) -> None:
        super().__init__()
        self.config = config

    def forward(self, embeddings: Tensor, speakers: Tensor | None = None, bases: Tensor | None = None) -> LossOutput:
        """Loss of `(num_speakers, num_utterances, dim)` embeddings."""
        positives, others = pair_cosines(embeddings)
        negatives = NEGATIVES[self.config.negatives](positives, others)
        losses = triplet_losses(positives, negatives, self.config.margin * self.margin_factor)
        num_triplets = (negatives > -math.inf).sum().clamp(min=1)
        loss = losses.sum() if self.config.reduction == "sum" else losses.sum() / num_triplets
        extras = {
            "active_share": (losses.detach() > 0).sum() / num_triplets,
            "hard_share": (negatives.detach() > positives.detach()[..., None]).sum() / num_triplets,
        }
        return LossOutput(loss, *mean_cosines(embeddings, speakers), extras)
