"""Cosine scores of trials."""

from __future__ import annotations

import numpy as np

from sv_toolkit.backends.pairs import pair_products


def length_normalize(vectors: np.ndarray) -> np.ndarray:
    """Rows of `(num_vectors, dim)` scaled to length 1, as float32.

    Raises:
        ValueError: a row has no direction (zero, or not finite); the caller knows its name.
    """
    vectors = np.asarray(vectors)
    # Squares of float32 under- and overflow at 1e-19 and 1e19: dividing by the largest value first keeps every direction.
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    if not np.all((largest > 0) & np.isfinite(largest)):
        raise ValueError(f"vector {int(np.argmin((largest > 0) & np.isfinite(largest)))} is zero or not finite and has no direction")
    scaled = (vectors / largest).astype(np.float32, copy=False)
    return scaled / np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]


def cosine_scores(enroll: np.ndarray, test: np.ndarray, enroll_index: np.ndarray, test_index: np.ndarray) -> np.ndarray:
    """Cosine of the angle between the two vectors of every trial.

    Args:
        enroll: `(num_enroll, dim)`, of any length but zero.
        test: `(num_test, dim)`.
        enroll_index: `(num_trials,)` rows of `enroll`.
        test_index: `(num_trials,)` rows of `test`.

    Returns:
        `(num_trials,)` float32 in [-1, 1].

    Raises:
        ValueError: the dimensions differ, an index is out of range, or a vector has no direction.
    """
    enroll_unit = length_normalize(enroll)
    test_unit = enroll_unit if test is enroll else length_normalize(test)
    scores = pair_products(enroll_unit, test_unit, enroll_index, test_index)
    return np.clip(scores, -1.0, 1.0, out=scores)
