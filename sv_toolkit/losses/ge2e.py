"""Generalized end-to-end loss: Wan et al. 2018 (arXiv 1710.10467), with the authors' errata to Eqs. 3 and 6."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.output import LossOutput


def ge2e_cosines(embeddings: Tensor) -> Tensor:
    """Cosine of every embedding with every speaker's centroid, itself left out of its own.

    Wan et al. 2018, Eqs. 1, 8 and 9 without w and b.

    Args:
        embeddings: `(num_speakers, num_utterances, dim)`, num_utterances >= 2; normalised here (Eq. 4).

    Returns:
        `(num_speakers, num_utterances, num_speakers)`; `[j, i, k]` is cos(e_ji, c_k), with c_j^(-i) where k = j.
    """
    num_speakers, num_utterances, _ = embeddings.shape
    if num_utterances < 2:
        raise ValueError(f"GE2E needs at least 2 utterances per speaker, got {num_utterances}")
    unit = F.normalize(embeddings, dim=-1)
    total = unit.sum(dim=1)
    to_all = unit.flatten(0, 1) @ F.normalize(total, dim=-1).T
    to_own = (unit * F.normalize(total[:, None] - unit, dim=-1)).sum(dim=-1)
    speakers = torch.arange(num_speakers, device=unit.device)
    cosines = to_all.view(num_speakers, num_utterances, num_speakers)
    return cosines.scatter(2, speakers[:, None, None].expand(-1, num_utterances, 1), to_own[..., None])


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


METHODS = {"softmax": ge2e_softmax, "contrast": ge2e_contrast}


@dataclass(frozen=True)
class Ge2eConfig:
    """Options of the GE2E loss.

    Attributes:
        method: "softmax" (Eq. 6; the paper prefers it for text-independent) or "contrast" (Eq. 7; text-dependent).
        scale, offset: initial w and b; (10, -5) in the paper.
        reduction: "mean" over the utterances, or "sum" as in Eq. 10 (multiplies the learning rate by N x M).
    """

    method: str = "softmax"
    scale: float = 10.0
    offset: float = -5.0
    reduction: str = "mean"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.scale <= 0:
            raise ConfigError(f"scale (w) must be positive, got {self.scale}")
        if self.reduction not in ("mean", "sum"):
            raise ConfigError(f"reduction must be mean or sum, got {self.reduction!r}")


class Ge2e(nn.Module):
    """GE2E with its two learnable numbers; w stays positive because it is the softplus of what is learned (Eq. 5)."""

    needs_utterances = 2
    needs_speakers = 2

    def __init__(self, config: Ge2eConfig) -> None:
        super().__init__()
        self.config = config
        inverse_softplus = config.scale + math.log(-math.expm1(-config.scale))
        self.raw_scale = nn.Parameter(torch.tensor(inverse_softplus))
        self.offset = nn.Parameter(torch.tensor(config.offset))

    @property
    def scale(self) -> Tensor:
        """w of Eq. 5, positive."""
        return F.softplus(self.raw_scale)

    def forward(self, embeddings: Tensor) -> LossOutput:
        """Loss of `(num_speakers, num_utterances, dim)` embeddings (Eq. 10), in at least float32."""
        cosines = ge2e_cosines(embeddings.float() if embeddings.dtype in (torch.float16, torch.bfloat16) else embeddings)
        losses = METHODS[self.config.method](self.scale * cosines + self.offset)
        loss = losses.mean() if self.config.reduction == "mean" else losses.sum()
        with torch.no_grad():
            own = cosines.diagonal(dim1=0, dim2=2).mean()
            num_speakers = cosines.shape[0]
            others = (cosines.mean(dim=(0, 1)).sum() * num_speakers - own * num_speakers) / (num_speakers * max(num_speakers - 1, 1))
        return LossOutput(loss, own, others)

    def summary(self) -> dict[str, float]:
        """w and b for the log line."""
        return {"scale": self.scale.item(), "offset": self.offset.item()}
