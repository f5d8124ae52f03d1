"""Cosine scores of trials, by the block: long lists cost about as much as the arithmetic in them."""

from __future__ import annotations

import numpy as np

GATHERED_TRIALS = 1024  # two blocks of vectors of 256 values: 2 MB, which stays in the cache
BLOCK_VALUES = 1 << 22  # scores of a dense block: 16 MB
DENSE_ENOUGH = 1 / 16  # share of all pairs from which whole blocks of the score matrix are cheaper than gathering


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
    if enroll.shape[1] != test.shape[1]:
        raise ValueError(f"enrollment vectors have {enroll.shape[1]} values, test vectors {test.shape[1]}")
    for index, vectors in ((enroll_index, enroll), (test_index, test)):
        if len(index) and not 0 <= index.min() <= index.max() < len(vectors):
            raise ValueError(f"row indices run from {index.min()} to {index.max()}, there are {len(vectors)} vectors")
    enroll_unit = length_normalize(enroll)
    test_unit = enroll_unit if test is enroll else length_normalize(test)
    is_dense = len(enroll_index) >= DENSE_ENOUGH * len(enroll) * len(test)
    scores = (_by_matrix if is_dense else _by_gathering)(enroll_unit, test_unit, enroll_index, test_index)
    return np.clip(scores, -1.0, 1.0, out=scores)


def _by_gathering(enroll: np.ndarray, test: np.ndarray, enroll_index: np.ndarray, test_index: np.ndarray) -> np.ndarray:
    scores = np.empty(len(enroll_index), dtype=np.float32)
    left, right = np.empty(
        (2, GATHERED_TRIALS, enroll.shape[1]), dtype=np.float32
    )  # fresh memory for every block costs seven times the sums
    for start in range(0, len(scores), GATHERED_TRIALS):
        part = slice(start, start + GATHERED_TRIALS)
        count = len(scores[part])
        enroll.take(enroll_index[part], axis=0, out=left[:count], mode="clip")  # the checked mode would copy once more
        test.take(test_index[part], axis=0, out=right[:count], mode="clip")
        np.einsum("ij,ij->i", left[:count], right[:count], out=scores[part])
    return scores


def _by_matrix(enroll: np.ndarray, test: np.ndarray, enroll_index: np.ndarray, test_index: np.ndarray) -> np.ndarray:
    scores = np.empty(len(enroll_index), dtype=np.float32)
    is_sorted = bool(np.all(enroll_index[1:] >= enroll_index[:-1]))
    order = None if is_sorted else np.argsort(enroll_index, kind="stable")
    sorted_index = enroll_index if order is None else enroll_index[order]
    num_rows = max(1, BLOCK_VALUES // len(test))
    for first in range(0, len(enroll), num_rows):
        block = enroll[first : first + num_rows] @ test.T
        start, stop = np.searchsorted(sorted_index, [first, first + num_rows])
        trials = slice(start, stop) if order is None else order[start:stop]
        scores[trials] = block[enroll_index[trials] - first, test_index[trials]]
    return scores
