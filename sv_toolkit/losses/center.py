"""Center loss: utterances near the center of their speaker; Heo et al. 2019, Eqs. 2 and 3 (Wen et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from sv_toolkit.config import Options, Within
from sv_toolkit.losses.output import LossOutput, mean_cosines
from sv_toolkit.losses.term import LossSize, LossTerm, Reduction, reduced
from sv_toolkit.losses.vectors import sums_by_label


def center_losses(embeddings: Tensor, centers: Tensor) -> Tensor:
    """`(num_utterances,)` halves of the squared distances to the centers of the speakers: Eq. 2 without lambda.

    Args:
        embeddings, centers: `(num_utterances, dim)`; the center of each utterance's own speaker.
    """
    return 0.5 * (embeddings - centers).square().sum(dim=-1)


def moved_centers(centers: Tensor, embeddings: Tensor, labels: Tensor, alpha: float) -> Tensor:
    """Where the centers of a batch's speakers go: c - alpha delta, with delta of Eq. 3.

    Args:
        centers: `(num_speakers, dim)` of all speakers.
        embeddings, labels: `(num_utterances, dim)` and `(num_utterances,)`.
        alpha: 1 moves a center by n / (n + 1) of the way to the mean of its n utterances, 0 not at all.

    Returns:
        `(num_utterances, dim)`: the new center of each utterance's speaker.
    """
    sums, counts, rows = sums_by_label(embeddings.to(centers.dtype), labels)
    own, count = centers[labels], counts[rows][:, None]
    return own - alpha * (count * own - sums[rows]) / (1 + count)


@dataclass(frozen=True)
class CenterConfig(Options):
    """Options of the center loss; lambda of Eq. 2 is the weight of the term (0.001 in Heo et al., beside softmax).

    Attributes:
        alpha: how far a center moves to its speaker's utterances of a batch; 0.5 in Heo et al.
        reduction: "mean" over the utterances, or "sum" as in Eq. 2.
    """

    alpha: Annotated[float, Within(0, 1, open_low=True)] = 0.5
    reduction: Reduction = "mean"


class Center(LossTerm):
    """Center loss; the centers start at 0 and move when they were used in training, by Eq. 3 and not by a gradient."""

    needs_labels = True

    def __init__(self, config: CenterConfig, size: LossSize) -> None:
        super().__init__()
        self.config = config
        self.centers: Tensor
        self.register_buffer("centers", torch.zeros(size.num_speakers, size.embedding_dim))

    def forward(self, embeddings: Tensor, speakers: Tensor, bases: Tensor | None = None) -> LossOutput:
        """Loss of `(num_speakers, num_utterances, dim)` embeddings with class indices `speakers`."""
        labels, vectors = speakers.flatten(), embeddings.flatten(0, 1)
        losses = center_losses(vectors, self.centers[labels])
        if self.training:
            moved = moved_centers(self.centers, vectors.detach(), labels, self.config.alpha)
            self.centers.index_copy_(0, labels, moved)  # utterances of one speaker bring the same center
        return LossOutput(reduced(losses, self.config.reduction), *mean_cosines(embeddings, speakers))
