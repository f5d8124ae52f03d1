"""What a loss gives back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sv_toolkit.losses.vectors import at_least_single, sums_by_label, unit


@dataclass(frozen=True)
class LossOutput:
    """A loss to descend, and detached numbers for the log.

    Attributes:
        loss: scalar with a gradient.
        target_cosine, nontarget_cosine: mean cosine with the own and with other speakers.
        extras: more scalars, by name (the triplet loss's share of hard triplets, a sum's parts, ...).
    """

    loss: Tensor
    target_cosine: Tensor
    nontarget_cosine: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)


def with_consistency(output: LossOutput, embeddings: Tensor, originals: Tensor, weight: float) -> LossOutput:
    """A loss plus `weight` times 1 minus the mean cosine between embeddings of crops and of their originals.

    Args:
        embeddings, originals: `(num_crops, dim)`, of any length; both get a gradient, so that the network also learns to rely less
            on what a codec takes away.
    """
    cosine = (unit(at_least_single(embeddings)) * unit(at_least_single(originals))).sum(dim=1).mean()
    return replace(output, loss=output.loss + weight * (1 - cosine), extras={**output.extras, "original_cosine": cosine.detach()})


@torch.no_grad()
def mean_cosines(embeddings: Tensor, speakers: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean cosine between different utterances of one speaker, and between utterances of different speakers.

    Args:
        embeddings: `(num_speakers, num_utterances, dim)`.
        speakers: `(num_speakers, num_utterances)` class indices; None: each row is a speaker of its own.

    Returns:
        The two means; 0 where the batch has no such pair.
    """
    num_rows, num_columns, _ = embeddings.shape
    vectors = unit(embeddings.float())
    if speakers is None:
        sums, counts = vectors.sum(dim=1), vectors.new_full((num_rows,), num_columns)
    else:
        sums, counts, _ = sums_by_label(vectors.flatten(0, 1), speakers.flatten())
    within, lengths = sums.square().sum(), vectors.square().sum()
    everything = sums.sum(dim=0).square().sum()
    same = counts.square().sum()
    num_own, num_others = same - counts.sum(), counts.sum().square() - same
    return (within - lengths) / num_own.clamp(min=1), (everything - within) / num_others.clamp(min=1)
