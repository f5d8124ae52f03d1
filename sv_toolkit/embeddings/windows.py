"""Sliding windows over an utterance: Wan et al. 2018, section 3.2 and Fig. 4."""

from __future__ import annotations

import numpy as np

from sv_toolkit.models.store import WindowConfig


def window_starts(num_frames: int, window: int, shift: int) -> np.ndarray:
    """First frames of the windows that cover `num_frames` frames.

    Windows start every `shift` frames; the last one is moved back so that it ends with the last frame.
    An utterance of at most `window` frames is one window (shorter than `window` where the utterance is).

    >>> window_starts(400, window=160, shift=80).tolist()
    [0, 80, 160, 240]
    >>> window_starts(410, window=160, shift=80).tolist()
    [0, 80, 160, 240, 250]
    >>> window_starts(100, window=160, shift=80).tolist()
    [0]
    """
    last = max(num_frames - window, 0)
    starts = np.arange(0, last + 1, shift)
    return starts if starts[-1] == last else np.append(starts, last)


def pieces(frames: np.ndarray, windows: WindowConfig) -> list[np.ndarray]:
    """What the network sees of an utterance `(num_frames, dim)`: `(window, dim)` each, or one shorter piece of a short one."""
    if not windows.coverage:
        return [frames[start : start + windows.window] for start in window_starts(len(frames), windows.window, windows.shift)]
    counted = max(len(frames) - windows.tail, 1)
    if counted <= windows.window and not windows.pad_short:
        return [frames[:counted]]
    starts = covered_starts(counted, windows.window, windows.shift, windows.coverage)
    missing = max(int(starts[-1]) + windows.window - len(frames), 0)
    padded = np.pad(frames, ((0, missing), (0, 0)))
    return [padded[start : start + windows.window] for start in starts]


def covered_starts(num_frames: int, window: int, shift: int, coverage: float) -> np.ndarray:
    """First frames of windows that start every `shift` frames until one reaches the end; that one only if it is covered.

    A window is covered where the time from its first frame to the last of the utterance is `coverage` of it.

    >>> covered_starts(275, window=160, shift=77, coverage=0.75).tolist()
    [0, 77, 154]
    >>> covered_starts(274, window=160, shift=77, coverage=0.75).tolist()
    [0, 77]
    """
    starts = np.arange(0, max(1, num_frames - window + shift + 1), shift)
    is_covered = num_frames - 1 - starts >= coverage * window
    is_covered[0] = True
    return starts[is_covered]
