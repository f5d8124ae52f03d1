"""The place of a word: the voiced stretch, and the best path against every path there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sv_toolkit.keyword.align import best_path, even_states, voiced_stretch


def slow_best(scores, min_frames):
    """The score of the best path, by trying all beginnings and ends of all states."""
    num_frames, num_states = len(scores), scores.shape[1] - 1
    best = -np.inf
    for cuts in itertools.combinations(range(num_frames + 1), num_states + 1):
        if all(stop - start >= min_frames for start, stop in zip(cuts, cuts[1:])):
            total = scores[: cuts[0], 0].sum() + scores[cuts[-1] :, 0].sum()
            total += sum(scores[start:stop, state + 1].sum() for state, (start, stop) in enumerate(zip(cuts, cuts[1:])))
            best = max(best, total)
    return best


@pytest.mark.parametrize("num_states", [1, 2, 3])
@pytest.mark.parametrize("min_frames", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_path_is_the_best_of_all(num_states, min_frames, seed):
    scores = np.random.default_rng(seed).standard_normal((12, num_states + 1))
    path = best_path(scores, min_frames)
    assert scores[np.arange(12), path].sum() == pytest.approx(slow_best(scores, min_frames), abs=1e-12)
    runs = [state for state, _ in itertools.groupby(path.tolist())]
    assert [state for state in runs if state] == list(range(1, num_states + 1))


def test_a_recording_too_short_for_the_word_is_filler():
    np.testing.assert_array_equal(best_path(np.zeros((5, 3)), 3), np.zeros(5))


def test_states_divide_a_word_evenly():
    is_word = np.array([False, True, True, True, True, True, True, False])
    np.testing.assert_array_equal(even_states(is_word, 4, 3), [0, 4, 4, 5, 5, 6, 6, 0])
    np.testing.assert_array_equal(even_states(np.zeros(3, bool), 1, 3), [0, 0, 0])


def test_the_voiced_stretch_bridges_a_gap_within_the_word_and_leaves_a_click_out():
    features = np.full((100, 4), 2.0)
    features[40:52] = features[58:70] = 12.0
    features[5:10] = 12.0
    frames = np.flatnonzero(voiced_stretch(features))
    assert abs(frames[0] - 40) <= 4
    assert abs(frames[-1] - 69) <= 4
    assert len(frames) == frames[-1] - frames[0] + 1


def test_silence_has_no_voiced_stretch():
    assert not voiced_stretch(np.full((50, 4), 3.0)).any()
