"""Deltas against Kaldi's formula written out."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.features.deltas import add_deltas


def definition(features, order, window):
    """Kaldi's DeltaFeatures: scales of every order by two loops, then frame by frame with the ends repeated."""
    scales = [[1.0]]
    for _ in range(order):
        previous, current = scales[-1], [0.0] * (len(scales[-1]) + 2 * window)
        for j in range(-window, window + 1):
            for k, value in enumerate(previous):
                current[k + j + window] += j * value
        normalizer = sum(j * j for j in range(-window, window + 1))
        scales.append([value / normalizer for value in current])
    rows = []
    for t in range(len(features)):
        row = []
        for taps in scales:
            reach = (len(taps) - 1) // 2
            total = np.zeros(features.shape[1])
            for j in range(-reach, reach + 1):
                total += taps[j + reach] * features[min(max(t + j, 0), len(features) - 1)]
            row.extend(total)
        rows.append(row)
    return np.array(rows).reshape(len(features), -1)


@pytest.mark.parametrize("order, window", [(0, 2), (1, 2), (2, 2), (2, 3), (3, 1)])
@pytest.mark.parametrize("num_frames", [1, 2, 5, 40])
def test_deltas_agree_with_kaldis_formula(rng, num_frames, order, window):
    features = 10 * rng.standard_normal((num_frames, 4))
    assert add_deltas(features, order, window) == pytest.approx(definition(features, order, window), rel=1e-6, abs=1e-5)


def test_a_straight_line_has_its_slope_and_no_second_one():
    features = np.arange(30.0)[:, None] * [[3.0, -0.5]]
    made = add_deltas(features)
    assert made.dtype == np.float32
    assert made[4:-4, 2:4] == pytest.approx(np.tile([3.0, -0.5], (22, 1)))
    assert made[4:-4, 4:] == pytest.approx(np.zeros((22, 2)), abs=1e-6)


def test_a_constant_adds_nothing_to_the_slopes(rng):
    features = rng.standard_normal((20, 3))
    assert add_deltas(features + 7)[:, 3:] == pytest.approx(add_deltas(features)[:, 3:], abs=1e-5)


def test_no_frames_give_no_frames():
    assert add_deltas(np.zeros((0, 5), np.float32)).shape == (0, 15)


@pytest.mark.parametrize("order, window", [(-1, 2), (2, 0)])
def test_orders_and_windows_that_mean_nothing_are_refused(order, window):
    with pytest.raises(ValueError, match="order must not be negative and window at least 1"):
        add_deltas(np.zeros((3, 2)), order, window)
