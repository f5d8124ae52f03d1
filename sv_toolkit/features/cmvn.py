"""Mean and variance normalisation: over the utterance, over a sliding window, or of the level alone."""

from __future__ import annotations

import numpy as np

VARIANCE_FLOOR = 1e-10  # Kaldi's, for a window in which a feature is constant


def utterance_cmvn(features: np.ndarray, variance: bool = False) -> np.ndarray:
    """Subtract the mean of every column, and with `variance` divide by its deviation.

    Args:
        features: `(num_frames, dim)`.

    Returns:
        `(num_frames, dim)` float32; a constant column becomes zero.
    """
    if len(features) == 0:
        return features.astype(np.float32)
    normalized = features - features.mean(axis=0, dtype=np.float64)
    if variance:
        normalized /= np.sqrt(np.maximum(normalized.var(axis=0), VARIANCE_FLOOR))
    return normalized.astype(np.float32)


def level_norm(features: np.ndarray) -> np.ndarray:
    """Subtract one number, the mean over all frames and columns: the gain of a recording adds the same to all log energies.

    Args:
        features: `(num_frames, dim)` logarithmic energies.

    Returns:
        `(num_frames, dim)` float32.
    """
    if features.size == 0:
        return features.astype(np.float32)
    return (features - features.mean(dtype=np.float64)).astype(np.float32)


def sliding_windows(num_frames: int, window: int, min_window: int, center: bool) -> tuple[np.ndarray, np.ndarray]:
    """First frame, and the one after the last, of the window that normalises each frame; two `(num_frames,)` arrays.

    As Kaldi's apply-cmvn-sliding: centred, the window is `window` frames around the frame, moved inwards at the ends of
    the utterance; otherwise it is the frame and the `window` before it, and at the start at least `min_window` frames
    even if some are still to come.
    """
    frame = np.arange(num_frames)
    if center:
        start = np.maximum(frame - window // 2, 0)
        stop = start + window
    else:
        start = np.maximum(frame - window, 0)
        stop = np.maximum(frame + 1, min_window)
    beyond = np.maximum(stop - num_frames, 0)
    return np.maximum(start - beyond, 0), stop - beyond


def sliding_cmvn(features: np.ndarray, window: int = 300, min_window: int = 100, center: bool = True, variance: bool = False) -> np.ndarray:
    """Subtract a running mean, and with `variance` divide by a running deviation, as Kaldi's apply-cmvn-sliding.

    Args:
        features: `(num_frames, dim)`.
        window: frames over which the mean is taken.
        min_window: frames at least, at the start of an utterance; matters only without `center`.
        center: the window lies around the frame, not before it.

    Returns:
        `(num_frames, dim)` float32; with `variance`, zeros where a window holds a single frame.
    """
    if window < 1 or min_window < 1:
        raise ValueError(f"windows need at least one frame, got window {window} and min_window {min_window}")
    if len(features) == 0:
        return features.astype(np.float32)
    start, stop = sliding_windows(len(features), window, min_window, center)
    # Summing around the mean of the utterance keeps the difference of two long sums from losing digits.
    centered = features - features.mean(axis=0, dtype=np.float64)
    count = (stop - start)[:, None]
    mean = _window_sums(centered, start, stop) / count
    normalized = centered - mean
    if variance:
        power = _window_sums(centered**2, start, stop) / count - mean**2
        normalized *= np.where(count > 1, np.maximum(power, VARIANCE_FLOOR) ** -0.5, 0.0)
    return normalized.astype(np.float32)


def _window_sums(values: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Sum of `values[start:stop]` for every pair, from differences of running sums."""
    running = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)])
    return running[stop] - running[start]
