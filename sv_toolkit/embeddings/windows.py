"""Sliding windows over an utterance: Wan et al. 2018, section 3.2 and Fig. 4."""

from __future__ import annotations

import numpy as np


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
