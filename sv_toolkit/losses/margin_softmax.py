"""Softmax over cosines with a margin for the true speaker, on cosine (AM) or on angle (AAM).

AM-softmax: Heo et al. 2019, Eqs. 4 and 5 (Wang et al. 2018); AAM-softmax: Deng et al. 2019 (ArcFace), Eq. 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from sv_toolkit.config import Options, Within
from sv_toolkit.losses.output import LossOutput, mean_cosines
from sv_toolkit.losses.term import LossSize, LossTerm, Reduction, reduced
from sv_toolkit.losses.vectors import unit

SMALLEST_SQUARED_SINE = 1e-6


def am_target(cosines: Tensor, margin: float) -> Tensor:
    """What stands for the true speaker's cosine in Eq. 4: cos - m."""
    return cosines - margin


def aam_target(cosines: Tensor, margin: float, easy_margin: bool = False) -> Tensor:
    """What stands for the true speaker's cosine: cos(angle + m), made to fall wherever the cosine falls.

    Angle + m beyond pi would make cos(angle + m) rise again.  There, common practice takes cos(angle) - m sin(m); with
    `easy_margin`, the margin is left out wherever the angle is more than a right one, which is easier to begin with.

    The sine is held above 1e-3: the derivative of the square root has no end where the angle is 0 or pi, and there the
    margin then acts through the cosine alone.

    Args:
        cosines: any shape, in [-1, 1] up to rounding.
        margin: radians, in [0, pi / 2).
    """
    sines = torch.sqrt((1 - cosines.square()).clamp(min=SMALLEST_SQUARED_SINE))
    moved = cosines * math.cos(margin) - sines * math.sin(margin)
    if easy_margin:
        return torch.where(cosines > 0, moved, cosines)
    return torch.where(cosines > -math.cos(margin), moved, cosines - margin * math.sin(margin))


def margin_softmax(cosines: Tensor, labels: Tensor, targets: Tensor, scale: float) -> Tensor:
    """`(num_utterances,)` losses: softmax over s cos with `targets` in the place of the true speakers' cosines (Eqs. 4 and 5).

    Args:
        cosines: `(num_utterances, num_speakers)` with the bases of all speakers.
        labels: `(num_utterances,)` class indices.
        targets: `(num_utterances,)`.
    """
    return F.cross_entropy(scale * cosines.scatter(1, labels[:, None], targets[:, None]), labels, reduction="none")


@dataclass(frozen=True)
class AmSoftmaxConfig(Options):
    """Options of the AM-softmax loss.

    Attributes:
        scale: s, multiplies the cosines; Heo et al. use 5, others 30.
        margin: m, taken from the true speaker's cosine; Heo et al. use 0.35.
        reduction: "mean" over the utterances, or "sum" as in Eq. 4.
    """

    scale: Annotated[float, Within(0, open_low=True, symbol="s")] = 30.0
    margin: Annotated[float, Within(0, symbol="m")] = 0.2
    reduction: Reduction = "mean"


@dataclass(frozen=True)
class AamSoftmaxConfig(Options):
    """Options of the AAM-softmax loss.

    Attributes:
        scale: s, multiplies the cosines.
        margin: m, added to the angle with the true speaker's basis, in radians.
        easy_margin: only where that angle is less than a right one (see `aam_target`).
        reduction: "mean" over the utterances, or "sum".
    """

    scale: Annotated[float, Within(0, open_low=True, symbol="s")] = 30.0
    margin: Annotated[float, Within(0, math.pi / 2, open_high=True, symbol="m, an angle in radians,")] = 0.2
    easy_margin: bool = False
    reduction: Reduction = "mean"


class AmSoftmax(LossTerm):
    """Additive margin on the cosine."""

    needs_labels = True
    uses_bases = True
    has_margin = True

    def __init__(self, config: AmSoftmaxConfig | AamSoftmaxConfig, size: LossSize) -> None:
        super().__init__()
        self.config = config

    def target(self, cosines: Tensor) -> Tensor:
        """The true speakers' cosines with the margin as it is now."""
        return am_target(cosines, self.config.margin * self.margin_factor)

    def forward(self, embeddings: Tensor, speakers: Tensor, bases: Tensor) -> LossOutput:
        """Loss of `(num_speakers, num_utterances, dim)` embeddings with class indices `speakers`."""
        labels = speakers.flatten()
        cosines = unit(embeddings).flatten(0, 1) @ unit(bases).T
        losses = margin_softmax(cosines, labels, self.target(cosines.gather(1, labels[:, None])[:, 0]), self.config.scale)
        return LossOutput(reduced(losses, self.config.reduction), *mean_cosines(embeddings, speakers))


class AamSoftmax(AmSoftmax):
    """Additive margin on the angle."""

    config: AamSoftmaxConfig

    def target(self, cosines: Tensor) -> Tensor:
        """The true speakers' cosines with the margin as it is now."""
        return aam_target(cosines, self.config.margin * self.margin_factor, self.config.easy_margin)
