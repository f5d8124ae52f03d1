"""What a loss gives back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class LossOutput:
    """`loss` to descend, and two detached numbers for the log: mean cosine with the own and with other speakers."""

    loss: Tensor
    target_cosine: Tensor
    nontarget_cosine: Tensor


@torch.no_grad()
def mean_cosines(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cosine between different utterances of one speaker, and between utterances of different speakers.

    Args:
        embeddings: `(num_speakers, num_utterances, dim)`.
    """
    num_speakers, num_utterances, _ = embeddings.shape
    unit = F.normalize(embeddings.float(), dim=-1)
    sums = unit.sum(dim=1)
    own = (sums * sums).sum() - num_speakers * num_utterances
    everything = sums.sum(dim=0).square().sum()
    count_own = num_speakers * num_utterances * (num_utterances - 1)
    count_others = num_speakers * (num_speakers - 1) * num_utterances**2
    return own / max(count_own, 1), (everything - (sums * sums).sum()) / max(count_others, 1)
