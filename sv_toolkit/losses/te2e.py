"""Tuple-based end-to-end loss: Wan et al. 2018, Eqs. 1-3 with the authors' erratum to Eq. 3 (first in Heigold et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from sv_toolkit.config import Options, Within
from sv_toolkit.losses.output import LossOutput
from sv_toolkit.losses.term import LossSize, Reduction, ScaledTerm, reduced
from sv_toolkit.losses.vectors import unit


def tuple_cosines(embeddings: Tensor) -> Tensor:
    """`(num_tuples,)` cosines of the evaluation utterance with the centroid of the enrollment utterances: Eqs. 1 and 2.

    Args:
        embeddings: `(num_tuples, 1 + num_enrollment, dim)`, the evaluation utterance first; normalised here.
    """
    if embeddings.shape[1] < 2:
        raise ValueError("a tuple needs an evaluation utterance and at least one enrollment utterance")
    vectors = unit(embeddings)
    return (vectors[:, 0] * unit(vectors[:, 1:].sum(dim=1))).sum(dim=-1)


def te2e_losses(similarity: Tensor, is_target: Tensor) -> Tensor:
    """`(num_tuples,)` losses: Eq. 3 with the erratum, 1 - sigmoid(s) for a target tuple and sigmoid(s) for a nontarget one."""
    return torch.sigmoid(torch.where(is_target, -similarity, similarity))


@dataclass(frozen=True)
class Te2eConfig(Options):
    """Options of the TE2E loss.

    Attributes:
        scale, offset: initial w and b.
        reduction: "mean" over the tuples, or "sum".
    """

    scale: Annotated[float, Within(0, open_low=True, symbol="w")] = 10.0
    offset: float = -5.0
    reduction: Reduction = "mean"


class Te2e(ScaledTerm):
    """TE2E with its two learnable numbers; a tuple is a target where evaluation and enrollment speaker agree."""

    needs_utterances = 2
    sampler = "tuples"
    needs_labels = True

    def __init__(self, config: Te2eConfig, size: LossSize) -> None:
        super().__init__(config.scale, config.offset)
        self.config = config

    def forward(self, embeddings: Tensor, speakers: Tensor, bases: Tensor | None = None) -> LossOutput:
        """Loss of `(num_tuples, 1 + num_enrollment, dim)` tuples; the logged cosines are those of the tuples."""
        is_target = speakers[:, 0] == speakers[:, 1]
        cosines = tuple_cosines(embeddings)
        losses = te2e_losses(self.scale * cosines + self.offset, is_target)
        seen = cosines.detach()
        return LossOutput(reduced(losses, self.config.reduction), _mean_where(seen, is_target), _mean_where(seen, ~is_target))


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1)
