"""Score normalisation against a cohort: what a score is worth beside the scores of the same vector with strangers.

Statistics belong to a vector, not to a trial: they are computed once for every vector that occurs, from blocks of the
matrix of its scores with the cohort.  Deviations are those of the population (divided by the number of scores).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sv_toolkit.errors import DataError

BLOCK_VALUES = 1 << 21  # scores with the cohort at a time: 16 MB
DEFAULT_TOP = 300

Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Side:
    """One side of the trials: `vectors` `(num_vectors, dim)` and the row of every trial, `index` `(num_trials,)`."""

    vectors: np.ndarray
    index: np.ndarray

    def used(self) -> Side:
        """Without the vectors that no trial asks for."""
        rows, index = np.unique(self.index, return_inverse=True)
        return Side(self.vectors[rows], index.reshape(-1))


def cosines(vectors: np.ndarray, cohort: np.ndarray) -> np.ndarray:
    """Cosine of every vector with every one of the cohort, `(num_vectors, num_cohort)` float64."""
    return _unit(vectors) @ _unit(cohort).T


def z_norm(scores: np.ndarray, enroll: Side, test: Side, cohort: np.ndarray, compare: Compare = cosines) -> np.ndarray:
    """Scores in deviations from the mean of the enrollment's scores with the cohort; arguments as `adaptive_s_norm`."""
    return _standardized(scores, cohort_statistics(enroll.used(), cohort, None, compare))


def t_norm(scores: np.ndarray, enroll: Side, test: Side, cohort: np.ndarray, compare: Compare = cosines) -> np.ndarray:
    """Scores in deviations from the mean of the test vector's scores with the cohort; arguments as `adaptive_s_norm`."""
    return _standardized(scores, cohort_statistics(test.used(), cohort, None, compare))


def s_norm(scores: np.ndarray, enroll: Side, test: Side, cohort: np.ndarray, compare: Compare = cosines) -> np.ndarray:
    """The mean of z-norm and t-norm (Kenny 2010); arguments as `adaptive_s_norm`."""
    return adaptive_s_norm(scores, enroll, test, cohort, len(cohort), compare)


def adaptive_s_norm(
    scores: np.ndarray, enroll: Side, test: Side, cohort: np.ndarray, top: int = DEFAULT_TOP, compare: Compare = cosines
) -> np.ndarray:
    """S-norm with the nearest cohort of each side: Matejka et al. (2017), "adaptive s-norm1".

    With `S_e` the `top` largest scores of the enrollment `e` with the cohort, `S_t` those of the test vector `t`, and
    `mu`, `sigma` mean and standard deviation:

        s' = 1/2 ((s - mu(S_e)) / sigma(S_e) + (s - mu(S_t)) / sigma(S_t))

    Args:
        scores: `(num_trials,)`, made by `compare` too.
        enroll, test: both sides of the trials.
        cohort: `(num_cohort, dim)`, of speakers who are not in the trials.
        top: from 2 to the size of the cohort.
        compare: `(vectors, cohort) -> (num_vectors, num_cohort)` scores.

    Returns:
        `(num_trials,)` float64.

    Raises:
        DataError: all of a vector's cohort scores are equal.
    """
    if enroll.vectors is test.vectors:  # the same vector has the same statistics on both sides
        both = Side(enroll.vectors, np.concatenate([enroll.index, test.index])).used()
        first, second = np.split(np.stack(cohort_statistics(both, cohort, top, compare)), 2, axis=1)
    else:
        first, second = (np.stack(cohort_statistics(side.used(), cohort, top, compare)) for side in (enroll, test))
    return 0.5 * (_standardized(scores, first) + _standardized(scores, second))


def adaptive_s_norm_2(
    scores: np.ndarray, enroll: Side, test: Side, cohort: np.ndarray, top: int = DEFAULT_TOP, compare: Compare = cosines
) -> np.ndarray:
    """As `adaptive_s_norm`, with each side's scores taken over the cohort nearest to the *other* side.

    Matejka et al. (2017), "adaptive s-norm2".  Here the statistics belong to the trial.
    """
    enroll, test = enroll.used(), test.used()
    nearest_enroll, nearest_test = (_nearest(side.vectors, cohort, top, compare) for side in (enroll, test))
    first = _crossed_statistics(enroll, test.index, nearest_test, cohort, compare)
    second = _crossed_statistics(test, enroll.index, nearest_enroll, cohort, compare)
    return 0.5 * (_standardized(scores, first) + _standardized(scores, second))


METHODS: dict[str, Callable[..., np.ndarray]] = {
    "z-norm": z_norm,
    "t-norm": t_norm,
    "s-norm": s_norm,
    "as-norm": adaptive_s_norm,
    "as-norm2": adaptive_s_norm_2,
}
ADAPTIVE = ("as-norm", "as-norm2")  # these take `top`


def cohort_statistics(side: Side, cohort: np.ndarray, top: int | None, compare: Compare = cosines) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the scores of each trial's vector with the `top` nearest of the cohort (None for all of it).

    Returns:
        two `(num_trials,)` arrays.
    """
    top = _checked_top(top, cohort)
    means, deviations = [], []
    for _, block in _blocks(side.vectors, cohort, compare):
        nearest = block if top == len(cohort) else np.partition(block, len(cohort) - top, axis=1)[:, len(cohort) - top :]
        means.append(nearest.mean(axis=1))
        deviations.append(nearest.std(axis=1))
    return np.concatenate(means)[side.index], np.concatenate(deviations)[side.index]


def _crossed_statistics(
    side: Side, other_index: np.ndarray, nearest: np.ndarray, cohort: np.ndarray, compare: Compare
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation `(num_trials,)` of the scores of `side` with the cohort members `nearest[other_index]`."""
    mean, deviation = np.empty((2, len(side.index)))
    order = np.argsort(side.index, kind="stable")
    bounds = np.searchsorted(side.index[order], np.arange(len(side.vectors) + 1))
    for first, block in _blocks(side.vectors, cohort, compare):
        for row, scores in enumerate(block, first):
            trials = order[bounds[row] : bounds[row + 1]]
            chosen = scores[nearest[other_index[trials]]]
            mean[trials], deviation[trials] = chosen.mean(axis=1), chosen.std(axis=1)
    return mean, deviation


def _nearest(vectors: np.ndarray, cohort: np.ndarray, top: int, compare: Compare) -> np.ndarray:
    """Rows of the cohort with the `top` largest scores, `(num_vectors, top)`."""
    top = _checked_top(top, cohort)
    if top == len(cohort):
        return np.broadcast_to(np.arange(top), (len(vectors), top))
    rows = np.empty((len(vectors), top), np.intp)  # filled: slices of what argpartition returns would keep all of that
    for first, block in _blocks(vectors, cohort, compare):
        rows[first : first + len(block)] = np.argpartition(block, len(cohort) - top, axis=1)[:, len(cohort) - top :]
    return rows


def _blocks(vectors: np.ndarray, cohort: np.ndarray, compare: Compare) -> Iterator[tuple[int, np.ndarray]]:
    """Scores of some vectors with all of the cohort, and the first of their rows."""
    num_rows = max(1, BLOCK_VALUES // len(cohort))
    for first in range(0, len(vectors), num_rows):
        yield first, compare(vectors[first : first + num_rows], cohort)


def _checked_top(top: int | None, cohort: np.ndarray) -> int:
    if len(cohort) < 2:
        raise DataError(f"a cohort of {len(cohort)} has no deviation; at least 2 are needed, some hundreds are useful")
    if top is not None and not 2 <= top <= len(cohort):
        raise DataError(f"the nearest {top} of a cohort of {len(cohort)} cannot be chosen; from 2 to all of it are possible")
    return len(cohort) if top is None else top


def _standardized(scores: np.ndarray, statistics: tuple[np.ndarray, np.ndarray] | np.ndarray) -> np.ndarray:
    mean, deviation = statistics
    if len(deviation) and deviation.min() < 1e-12 * max(1.0, np.abs(mean).max()):
        raise DataError(
            f"trial {int(np.argmin(deviation)) + 1}: its scores with the cohort are all equal: is the cohort one vector, repeated?"
        )
    return (np.asarray(scores, np.float64) - mean) / deviation


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all((lengths > 0) & np.isfinite(lengths)):
        raise ValueError("a vector is zero or not finite and has no direction")
    return vectors / lengths
