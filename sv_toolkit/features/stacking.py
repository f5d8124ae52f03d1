"""Frames with their neighbours beside them, as small feed-forward networks see speech."""

from __future__ import annotations

import numpy as np


def stack_frames(features: np.ndarray, left: int, right: int, step: int = 1) -> np.ndarray:
    """Every frame with the `left` frames before it and the `right` frames after it as further columns.

    The first and the last frame are repeated beyond the ends, as in `add_deltas`.

    Args:
        features: `(num_frames, dim)`.
        left, right: frames of context; 0 is none.
        step: only every so many frames get a row, from the first on.

    Returns:
        `(ceil(num_frames / step), (left + 1 + right) * dim)` of the type of `features`, the earliest frame first.
    """
    if left < 0 or right < 0 or step < 1:
        raise ValueError(f"left and right must not be negative and step at least 1, got {left}, {right} and {step}")
    num_frames, dim = features.shape
    if num_frames == 0:
        return np.empty((0, (left + 1 + right) * dim), dtype=features.dtype)
    centers = np.arange(0, num_frames, step)
    places = centers[:, None] + np.arange(-left, right + 1)
    return features[places.clip(0, num_frames - 1)].reshape(len(centers), -1)
