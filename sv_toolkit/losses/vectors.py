"""Lengths, cosines and distances that several losses share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHORTEST = 1e-6
HALF = (torch.float16, torch.bfloat16)


def at_least_single(vectors: Tensor) -> Tensor:
    """`vectors` in float32 where they are in half precision: sums over a batch need more digits."""
    return vectors.float() if vectors.dtype in HALF else vectors


def unit(vectors: Tensor) -> Tensor:
    """`vectors` of length 1 along the last axis (Wan et al. 2018, Eq. 4).

    A vector of 1e-6 or shorter has no direction: it becomes zero and takes no gradient, so that one dead utterance
    cannot fill the whole of a clipped step.
    """
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors * (1 / lengths.masked_fill(lengths <= SHORTEST, math.inf))  # a product per coefficient, not a quotient


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """`(a, b)` squared Euclidean distances of `(a, dim)` to `(b, dim)`, by differences: equal vectors are at exactly 0."""
    return (first[:, None] - second[None]).square().sum(dim=-1)


def sums_by_label(vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of the vectors that share a label; no shape depends on how many labels there are, so that no device is asked.

    Args:
        vectors: `(n, dim)`.
        labels: `(n,)` integers.

    Returns:
        Sums `(n, dim)` and counts `(n,)`, zeros after those of the labels that there are, and for each vector the row
        `(n,)` of its label.
    """
    ordered, order = labels.sort()
    is_new = ordered[1:] != ordered[:-1]
    row = torch.cat([order.new_zeros(1), is_new.cumsum(0)])
    rows = torch.empty_like(row).scatter_(0, order, row)
    sums = torch.zeros_like(vectors).index_add_(0, rows, vectors)
    return sums, vectors.new_zeros(len(labels)).index_add_(0, rows, torch.ones_like(vectors[:, 0])), rows
