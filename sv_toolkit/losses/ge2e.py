"""Generalized end-to-end loss: Wan et al. 2018 (arXiv 1710.10467), with the authors' errata to Eqs. 3 and 6."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from sv_toolkit.config import OneOf, Options, Within
from sv_toolkit.losses.output import LossOutput
from sv_toolkit.losses.term import LossSize, Reduction, ScaledTerm, reduced
from sv_toolkit.losses.vectors import unit


def exclusive_cosines(embeddings: Tensor) -> Tensor:
    """Cosine of every embedding with every speaker's centroid, itself left out of its own.

    Wan et al. 2018, Eqs. 1, 8 and 9 without w and b.

    Args:
        embeddings: `(num_speakers, num_utterances, dim)`, num_utterances >= 2; normalised here (Eq. 4).

    Returns:
        `(num_speakers, num_utterances, num_speakers)`; `[j, i, k]` is cos(e_ji, c_k), with c_j^(-i) where k = j.
    """
    num_speakers, num_utterances, _ = embeddings.shape
    _refuse_single(num_utterances)
    vectors = unit(embeddings)
    total = vectors.sum(dim=1)
    to_all = vectors.flatten(0, 1) @ unit(total).T
    to_own = (vectors * unit(total[:, None] - vectors)).sum(dim=-1)
    speakers = torch.arange(num_speakers, device=vectors.device)
    cosines = to_all.view(num_speakers, num_utterances, num_speakers)
    return cosines.scatter(2, speakers[:, None, None].expand(-1, num_utterances, 1), to_own[..., None])


def inclusive_cosines(embeddings: Tensor) -> Tensor:
    """Cosine of every embedding with every speaker's centroid, itself included in its own: Eqs. 1 and 5 without w and b.

    Args and Returns as `exclusive_cosines`; one utterance per speaker is its own centroid.
    """
    vectors = unit(embeddings)
    return vectors @ unit(vectors.sum(dim=1)).T


def split_cosines(embeddings: Tensor) -> Tensor:
    """Cosine of every embedding with every speaker's centroid over the other half of the utterances.

    Utterances at even and at odd positions are the two halves; each is scored against the centroids of the other,
    so that own and other speakers are met on equal terms.  This is what the authors' published code computes in
    place of Eqs. 8 and 9.  An odd number of utterances makes halves that differ by one.

    Args and Returns as `exclusive_cosines`.
    """
    _refuse_single(embeddings.shape[1])
    vectors = unit(embeddings)
    cosines = vectors.new_empty(*vectors.shape[:2], len(vectors))
    cosines[:, 0::2] = vectors[:, 0::2] @ unit(vectors[:, 1::2].sum(dim=1)).T
    cosines[:, 1::2] = vectors[:, 1::2] @ unit(vectors[:, 0::2].sum(dim=1)).T
    return cosines


def ge2e_softmax(similarity: Tensor) -> Tensor:
    """`(num_speakers, num_utterances)` losses of the similarity matrix S: Eq. 6 with the errata's sign, -S_own + log sum exp S."""
    num_speakers, num_utterances, _ = similarity.shape
    own = torch.arange(num_speakers, device=similarity.device).repeat_interleave(num_utterances)
    losses = F.cross_entropy(similarity.flatten(0, 1), own, reduction="none")
    return losses.view(num_speakers, num_utterances)


def ge2e_contrast(similarity: Tensor) -> Tensor:
    """`(num_speakers, num_utterances)` losses of the similarity matrix S: Eq. 7, own speaker against the hardest other."""
    num_speakers = similarity.shape[0]
    if num_speakers < 2:
        raise ValueError("the contrast loss needs at least 2 speakers")
    is_own = torch.eye(num_speakers, dtype=torch.bool, device=similarity.device)[:, None]
    own = similarity.diagonal(dim1=0, dim2=2).T
    hardest = similarity.masked_fill(is_own, -math.inf).amax(dim=-1)
    return 1 - torch.sigmoid(own) + torch.sigmoid(hardest)


def _refuse_single(num_utterances: int) -> None:
    if num_utterances < 2:
        raise ValueError(f"GE2E needs at least 2 utterances per speaker, got {num_utterances}")


METHODS = {"softmax": ge2e_softmax, "contrast": ge2e_contrast}
CENTROIDS = {"exclusive": exclusive_cosines, "inclusive": inclusive_cosines, "split": split_cosines}


@dataclass(frozen=True)
class Ge2eConfig(Options):
    """Options of the GE2E loss.

    Attributes:
        method: "softmax" (Eq. 6; the paper prefers it for text-independent) or "contrast" (Eq. 7; text-dependent).
        centroid: what an utterance meets of its own speaker: the centroid of the others ("exclusive", Eq. 8), of all
            ("inclusive", Eq. 1; trivial solutions are near), or of the half that it is not in ("split").
        scale, offset: initial w and b; (10, -5) in the paper.
        reduction: "mean" over the utterances, or "sum" as in Eq. 10 (multiplies the learning rate by N x M).
    """

    method: Annotated[str, OneOf(METHODS)] = "softmax"
    centroid: Annotated[str, OneOf(CENTROIDS)] = "exclusive"
    scale: Annotated[float, Within(0, open_low=True, symbol="w")] = 10.0
    offset: float = -5.0
    reduction: Reduction = "mean"


class Ge2e(ScaledTerm):
    """GE2E with its two learnable numbers."""

    needs_utterances = 2
    needs_speakers = 2
    sampler = "speakers"

    def __init__(self, config: Ge2eConfig, size: LossSize) -> None:
        super().__init__(config.scale, config.offset)
        self.config = config

    def forward(self, embeddings: Tensor, speakers: Tensor | None = None, bases: Tensor | None = None) -> LossOutput:
        """Loss of `(num_speakers, num_utterances, dim)` embeddings (Eq. 10); the logged cosines are those with the centroids."""
        cosines = CENTROIDS[self.config.centroid](embeddings)
        losses = METHODS[self.config.method](self.scale * cosines + self.offset)
        return LossOutput(reduced(losses, self.config.reduction), *_mean_cosines(cosines.detach()))


def _mean_cosines(cosines: Tensor) -> tuple[Tensor, Tensor]:
    num_speakers = cosines.shape[0]
    own = cosines.diagonal(dim1=0, dim2=2).mean()
    others = (cosines.mean(dim=(0, 1)).sum() - own) / max(num_speakers - 1, 1)
    return own, others
