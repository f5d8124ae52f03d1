"""Sliding windows: every frame is covered, the last window ends with the utterance."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sv_toolkit.embeddings.windows import window_starts


@given(st.integers(1, 2000), st.integers(1, 300), st.data())
def test_windows_cover_every_frame_and_end_with_the_last(num_frames, window, data):
    shift = data.draw(st.integers(1, window))
    starts = window_starts(num_frames, window, shift)
    covered = np.zeros(num_frames, dtype=bool)
    for start in starts:
        covered[start : start + window] = True
    assert covered.all()
    assert starts[-1] + min(window, num_frames) == num_frames
    assert (np.diff(starts) > 0).all()
    assert (np.diff(starts[:-1]) == shift).all()


def test_an_utterance_of_one_window_is_one_window():
    assert window_starts(160, 160, 80).tolist() == [0]
    assert window_starts(161, 160, 80).tolist() == [0, 1]
