"""Slopes of features over time, and slopes of slopes, appended as columns: Kaldi's add-deltas."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=16)
def delta_filters(order: int, window: int) -> tuple[np.ndarray, ...]:
    """The filter of every order, each `(2 * o * window + 1,)` float64: the slope's, convolved with itself o times.

    The slope of order 1 is sum_j j x[t+j] / sum_j j^2 with j in [-window, window].
    """
    offsets = np.arange(-window, window + 1)
    slope = offsets / np.sum(offsets**2)
    filters = [np.ones(1)]
    for _ in range(order):
        filters.append(np.convolve(filters[-1], slope))
    return tuple(filters)


def add_deltas(features: np.ndarray, order: int = 2, window: int = 2) -> np.ndarray:
    """Features with their slopes beside them.

    As in Kaldi, every order is one filter over the features themselves, whose first and last frame are repeated beyond
    the ends; near the ends this is not the slope of the slopes.

    Args:
        features: `(num_frames, dim)`.
        order: how often slopes are taken; 0 leaves the features as they are.
        window: frames to either side that a slope looks at.

    Returns:
        `(num_frames, (order + 1) * dim)` float32: features, slopes, slopes of slopes.
    """
    if order < 0 or window < 1:
        raise ValueError(f"order must not be negative and window at least 1, got {order} and {window}")
    num_frames, dim = features.shape
    result = np.empty((num_frames, (order + 1) * dim), dtype=np.float32)
    if num_frames == 0:
        return result
    padded = np.pad(features.astype(np.float64), ((order * window,) * 2, (0, 0)), mode="edge")
    for number, taps in enumerate(delta_filters(order, window)):
        first = (order - number) * window
        column = sum(tap * padded[first + i : first + i + num_frames] for i, tap in enumerate(taps))
        result[:, number * dim : (number + 1) * dim] = column
    return result
