"""Lengths, cosines and distances that several losses share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

SHORTEST = 1e-6


def unit(vectors: Tensor) -> Tensor:
    """`vectors` of length 1 along the last axis (Wan et al. 2018, Eq. 4).

    A vector shorter than 1e-6 is divided by 1e-6: zero stays zero and its gradient stays bounded.
    """
    return F.normalize(vectors, dim=-1, eps=SHORTEST)


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """`(a, b)` squared Euclidean distances of `(a, dim)` to `(b, dim)`, by differences: equal vectors are at exactly 0."""
    return (first[:, None] - second[None]).square().sum(dim=-1)
