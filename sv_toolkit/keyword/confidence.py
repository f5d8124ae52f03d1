"""From posteriors to detections: smoothing, confidence over a sliding window, peaks (Chen, Parada, Heigold 2014, 2.3).

All windows look back, so that the confidence of a frame is known when the frame is.  A frame is a detection where no
confidence within `separation` frames is higher: the detections over any threshold are those over a lower one without the
weaker ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


def smoothed(posteriors: np.ndarray, window: int) -> np.ndarray:
    """Means of the last `window` frames, fewer at the beginning: p' of the paper's equation 2.

    Args:
        posteriors: `(num_frames, num_outputs)`.

    Returns:
        The same shape, float64.
    """
    return window_sums(posteriors, window) / np.minimum(np.arange(len(posteriors)) + 1, window)[:, None]


def window_sums(values: np.ndarray, window: int) -> np.ndarray:
    """Sums of the last `window` rows, float64; the same bits wherever in a stream the rows lie, which running sums have not."""
    if len(values) == 0:
        return values.astype(np.float64)
    extended = np.concatenate([np.zeros((window - 1, *values.shape[1:])), values])
    return np.lib.stride_tricks.sliding_window_view(extended, window, axis=0).sum(axis=-1)


def trailing_max(values: np.ndarray, window: int) -> np.ndarray:
    """The highest of the last `window` values, fewer at the beginning, along the first axis; the same shape."""
    if len(values) == 0:
        return values
    padding = np.full((window - 1, *values.shape[1:]), -np.inf)
    extended = np.concatenate([padding, values])
    return np.lib.stride_tricks.sliding_window_view(extended, window, axis=0).max(axis=-1)


def confidences(smooth: np.ndarray, num_states: int, window: int) -> np.ndarray:
    """Confidence of every word at every frame: equation 3 of the paper, the geometric mean of the maxima of its states.

    Args:
        smooth: `(num_frames, 1 + num_words * num_states)` smoothed posteriors; the first column is filler.

    Returns:
        `(num_frames, num_words)` float64.
    """
    highest = trailing_max(smooth[:, 1:], window).reshape(len(smooth), (smooth.shape[1] - 1) // num_states, num_states)
    return np.prod(highest, axis=2) ** (1 / num_states)


class Peak(NamedTuple):
    """A detection: index of the frame, index of the word, confidence."""

    frame: int
    word: int
    confidence: float


def peaks(confidence: np.ndarray, separation: int, floor: float) -> list[Peak]:
    """Frames that are higher than `separation` frames before and not lower than those after, and reach `floor`.

    Args:
        confidence: `(num_frames, num_words)`.

    Returns:
        By frame, then by word.
    """
    if len(confidence) == 0:
        return []
    before = np.full_like(confidence, -np.inf)
    before[1:] = trailing_max(confidence, separation)[:-1]
    after = trailing_max(confidence[::-1], separation + 1)[::-1]
    is_peak = (confidence > before) & (confidence >= after) & (confidence >= floor)
    return [Peak(int(frame), int(word), float(confidence[frame, word])) for frame, word in zip(*np.nonzero(is_peak))]


def middle(weights: np.ndarray) -> float:
    """Mean frame of the posteriors `(num_frames,)` of a word, of those frames where it reaches half of its highest value.

    It is the middle of the stretch that the word was heard in.
    """
    heard = np.where(weights >= weights.max() / 2, weights, 0).astype(np.float64)
    return float(heard @ np.arange(len(weights)) / heard.sum())
