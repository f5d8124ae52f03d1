"""Speaker bases apart from each other: L_BS of Heo et al. 2019 (arXiv 1902.02455), Eq. 9."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sv_toolkit.config import Options
from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.output import LossOutput, mean_cosines
from sv_toolkit.losses.term import LossSize, LossTerm, Reduction
from sv_toolkit.losses.vectors import unit


def sum_of_cosines(bases: Tensor) -> Tensor:
    """Sum of the cosines of all ordered pairs of different bases: Eq. 9.

    With u_i the bases at unit length, all pairs together have |sum u_i|^2, of which a basis with itself has |u_i|^2:
    exact, and linear in the number of speakers where the double sum is quadratic.

    Args:
        bases: `(num_speakers, dim)`.
    """
    vectors = unit(bases)
    return vectors.sum(dim=0).square().sum() - vectors.square().sum()


@dataclass(frozen=True)
class SpeakerBasesConfig(Options):
    """Options of L_BS.

    Attributes:
        reduction: "mean" over the pairs, so that a weight means the same for any number of speakers, or "sum" as in
            Eq. 9 (for 1211 speakers, a weight of 1 on the sum is one of 1.5 million on the mean).
    """

    reduction: Reduction = "mean"


class SpeakerBases(LossTerm):
    """L_BS; it looks at the bases alone, so that another term has to tie these to the embeddings."""

    uses_bases = True
    uses_embeddings = False

    def __init__(self, config: SpeakerBasesConfig, size: LossSize) -> None:
        super().__init__()
        if size.num_speakers < 2:
            raise ConfigError(f"the loss speaker_bases compares speakers: at least 2 are needed, the training data has {size.num_speakers}")
        self.config = config

    def forward(self, embeddings: Tensor, speakers: Tensor | None, bases: Tensor) -> LossOutput:
        """Loss of the bases; the embeddings are only looked at for the log."""
        total, num_pairs = sum_of_cosines(bases), len(bases) * (len(bases) - 1)
        loss = total if self.config.reduction == "sum" else total / num_pairs
        return LossOutput(loss, *mean_cosines(embeddings, speakers))
