"""Normalisation against loops that spell out the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.features.cmvn import level_norm, sliding_cmvn, sliding_windows, utterance_cmvn


def kaldi_window(t, num_frames, window, min_window, center):
    """Kaldi's documented rule, one frame at a time."""
    start = t - window // 2 if center else t - window
    stop = start + window if center else t + 1
    if start < 0:
        start, stop = 0, stop - start
    if not center and stop > t:
        stop = max(t + 1, min_window)
    if stop > num_frames:
        start, stop = max(start - (stop - num_frames), 0), num_frames
    return start, stop


def slow_sliding(features, window, min_window, center, variance):
    rows = []
    for t in range(len(features)):
        start, stop = kaldi_window(t, len(features), window, min_window, center)
        part = features[start:stop].astype(np.float64)
        row = features[t] - part.mean(axis=0)
        if variance and len(part) == 1:
            row = np.zeros_like(row)
        elif variance:
            row = row / np.sqrt(np.maximum((part**2).mean(axis=0) - part.mean(axis=0) ** 2, 1e-10))
        rows.append(row)
    return np.array(rows)


@settings(max_examples=60)
@given(
    num_frames=st.integers(1, 60),
    window=st.integers(1, 40),
    min_window=st.integers(1, 40),
    center=st.booleans(),
    variance=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_sliding_agrees_with_the_loop(num_frames, window, min_window, center, variance, seed):
    features = np.random.default_rng(seed).normal(5, 2, (num_frames, 3)).astype(np.float32)
    expected = slow_sliding(features, window, min_window, center, variance)
    assert sliding_cmvn(features, window, min_window, center, variance) == pytest.approx(expected, abs=1e-3)


@settings(max_examples=60)
@given(num_frames=st.integers(1, 400), window=st.integers(1, 300), min_window=st.integers(1, 300), center=st.booleans())
def test_every_window_holds_its_frame(num_frames, window, min_window, center):
    start, stop = sliding_windows(num_frames, window, min_window, center)
    expected = [kaldi_window(t, num_frames, window, min_window, center) for t in range(num_frames)]
    assert list(zip(start.tolist(), stop.tolist())) == expected
    assert (start <= np.arange(num_frames)).all()
    assert (stop > np.arange(num_frames)).all()


def test_a_long_window_is_the_whole_utterance(rng):
    features = rng.normal(0, 1, (50, 4)).astype(np.float32)
    assert sliding_cmvn(features, window=300) == pytest.approx(utterance_cmvn(features), abs=1e-6)


def test_digits_survive_a_large_offset_and_many_frames(rng):
    features = rng.normal(0, 1, (100_000, 2)).astype(np.float32)
    shifted = sliding_cmvn((features + 4096).astype(np.float32), window=100, variance=True)
    assert shifted == pytest.approx(sliding_cmvn(features, window=100, variance=True), abs=2e-3)


def test_utterance_normalisation_has_mean_zero_and_variance_one(rng):
    features = rng.normal(7, 3, (200, 5)).astype(np.float32)
    normalized = utterance_cmvn(features, variance=True)
    assert normalized.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-5)
    assert normalized.std(axis=0) == pytest.approx(np.ones(5), abs=1e-5)


@pytest.mark.parametrize("normalize", [utterance_cmvn, sliding_cmvn])
def test_a_constant_column_becomes_zero(normalize):
    assert (normalize(np.full((30, 2), 4.0, np.float32), variance=True) == 0).all()


def test_level_is_what_a_gain_changes(rng):
    features = rng.normal(10, 2, (40, 6)).astype(np.float32)
    assert level_norm(features + np.float32(3)) == pytest.approx(level_norm(features), abs=1e-5)
    spectrum = level_norm(features).mean(axis=0)
    assert spectrum == pytest.approx(features.mean(axis=0) - features.mean(), abs=1e-5)  # the shape of the spectrum stays


@pytest.mark.parametrize("normalize", [utterance_cmvn, sliding_cmvn, level_norm])
def test_nothing_stays_nothing_and_the_input_stays_itself(normalize, rng):
    assert normalize(np.zeros((0, 40), np.float32)).shape == (0, 40)
    features = rng.normal(0, 1, (20, 3)).astype(np.float32)
    kept = features.copy()
    assert normalize(features).dtype == np.float32
    assert (features == kept).all()


def test_windows_of_no_frames_are_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        sliding_cmvn(np.zeros((4, 2), np.float32), window=0)
