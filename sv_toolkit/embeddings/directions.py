"""Directions of embeddings: what is left when their lengths are taken away, and when there is none left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sv_toolkit.errors import DataError, plain

SHORTEST = 1e-6  # a mean or a sum of unit vectors shorter than this is rounding noise


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows `(num_vectors, dim)` of length one, float64; none may be zero."""
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def refuse_cancelled(means: np.ndarray, names: Sequence[str], of: str) -> None:
    """Stop where a mean or a sum `(num_names, dim)` of unit vectors has no direction.

    Args:
        of: what a name stands for: "the d-vectors of the model".

    Raises:
        DataError: with the name of the first such one.
    """
    lengths = np.linalg.norm(means, axis=1)
    if len(lengths) and lengths.min() < SHORTEST:
        raise DataError(f"{of} {plain(names[int(np.argmin(lengths))])} cancel out: they point in opposite directions")
