"""What every loss is made of: sizes, one way to reduce, the numbers that the trainer asks a loss for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Reduction = Literal["mean", "sum"]
Sampler = Literal["speakers", "tuples", "utterances"]


@dataclass(frozen=True)
class LossSize:
    """What the training decides: speakers in the training data, and coefficients of an embedding."""

    num_speakers: int
    embedding_dim: int


class LossTerm(nn.Module):
    """A loss, or one of several that are added up.

    A term is built as `Term(config, size)` and called as `term(embeddings, speakers, bases) -> LossOutput` with

    - embeddings: `(num_speakers, num_utterances, dim)`, float32 or float64, of any length: a term normalises itself;
    - speakers: `(num_speakers, num_utterances)` class indices; None is allowed where `needs_labels` is False;
    - bases: `(training speakers, dim)` trained vectors, one per speaker (Heo et al. 2019, section 3); None without `uses_bases`.

    Attributes:
        needs_speakers, needs_utterances: smallest batch that the equation is defined for.
        sampler: "speakers" (each row holds utterances of one speaker, each speaker has one row), "tuples" (each row is
            an evaluation utterance and the enrollment utterances of one speaker), or None: any batch will do.
        needs_labels: the equation needs class indices.
        uses_bases: the equation needs the bases, which all terms share.
        uses_embeddings: the equation has a gradient for the network; without, a term cannot stand alone.
        has_margin: the margin is multiplied by `margin_factor`; one that grows during training is this number, set before every step.
    """

    needs_speakers: ClassVar[int] = 1
    needs_utterances: ClassVar[int] = 1
    sampler: ClassVar[Sampler | None] = None
    needs_labels: ClassVar[bool] = False
    uses_bases: ClassVar[bool] = False
    uses_embeddings: ClassVar[bool] = True
    has_margin: ClassVar[bool] = False
    margin_factor: float = 1.0

    def summary(self) -> dict[str, float]:
        """Learned numbers for the log line."""
        return {}


class ScaledTerm(LossTerm):
    """A loss over w cos + b with learnable w and b; w stays positive as the softplus of what is learned (Wan et al. 2018, Eq. 5)."""

    def __init__(self, scale: float, offset: float) -> None:
        super().__init__()
        self.raw_scale = nn.Parameter(torch.tensor(scale + math.log(-math.expm1(-scale))))
        self.offset = nn.Parameter(torch.tensor(offset))

    @property
    def scale(self) -> Tensor:
        """w, positive."""
        return F.softplus(self.raw_scale)

    def summary(self) -> dict[str, float]:
        """w and b."""
        return {"scale": self.scale.item(), "offset": self.offset.item()}


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The paper's sum over all summands ("sum"), or that divided by their number ("mean"); 0 where there is none."""
    return losses.sum() if reduction == "sum" else losses.sum() / max(losses.numel(), 1)
