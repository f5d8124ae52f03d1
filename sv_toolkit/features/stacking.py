"""Frames with their neighbours beside them, as small feed-forward networks see speech."""

from __future__ import annotations

import numpy as np


def with_context(features: np.ndarray, left: int, right: int) -> np.ndarray:
    """`(left + num_frames + right, dim)`: the first and the last frame are repeated beyond the ends; without any frame none."""
    if len(features) == 0:
        return features
    return np.concatenate([np.repeat(features[:1], left, 0), features, np.repeat(features[-1:], right, 0)])


def neighbours(extended: np.ndarray, width: int, step: int = 1) -> np.ndarray:
    """Every `width` neighbouring frames in one row `(num_rows, width * dim)`, a row for every `step`-th of `num_frames - width + 1`."""
    if len(extended) < width:
        return np.empty((0, width * extended.shape[1]), extended.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(extended, width, axis=0)[::step]  # (num_rows, dim, width)
    return windows.transpose(0, 2, 1).reshape(len(windows), -1)


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
    return neighbours(with_context(features, left, right), left + 1 + right, step)
