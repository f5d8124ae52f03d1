"""Smoothing, confidence and peaks agree with loops over the equations of Chen, Parada and Heigold (2014)."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.keyword.confidence import confidences, middle, peaks, smoothed, trailing_max


@pytest.fixture
def posteriors():
    values = np.random.default_rng(0).random((57, 7)) ** 3
    return values / values.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("window", [1, 5, 30, 100])
def test_smoothing_agrees_with_the_equation(posteriors, window):
    expected = [[sum(posteriors[k, i] for k in range(max(0, j - window + 1), j + 1)) for i in range(7)] for j in range(57)]
    counts = np.array([min(j + 1, window) for j in range(57)])
    np.testing.assert_allclose(smoothed(posteriors, window), np.array(expected) / counts[:, None], atol=1e-14)


@pytest.mark.parametrize("num_states", [1, 2, 3])
@pytest.mark.parametrize("window", [1, 8, 80])
def test_confidence_agrees_with_the_equation(posteriors, num_states, window):
    found = confidences(posteriors, num_states, window)
    assert found.shape == (57, 6 // num_states)
    for j in range(57):
        for word in range(6 // num_states):
            product = 1.0
            for state in range(num_states):
                column = 1 + word * num_states + state
                product *= max(posteriors[k, column] for k in range(max(0, j - window + 1), j + 1))
            assert found[j, word] == pytest.approx(product ** (1 / num_states), abs=1e-14)


def test_smoothing_gives_the_same_bits_wherever_a_block_begins(posteriors):
    whole = smoothed(posteriors, 10)
    np.testing.assert_array_equal(smoothed(posteriors[20:], 10)[10:], whole[30:])


def slow_peaks(confidence, separation, floor):
    found = []
    for frame in range(len(confidence)):
        for word in range(confidence.shape[1]):
            own = confidence[frame, word]
            before = [confidence[k, word] for k in range(max(0, frame - separation), frame)]
            after = [confidence[k, word] for k in range(frame + 1, min(len(confidence), frame + separation + 1))]
            if own >= floor and all(own > value for value in before) and all(own >= value for value in after):
                found.append((frame, word, own))
    return found


@pytest.mark.parametrize("separation", [1, 4, 30, 100])
@pytest.mark.parametrize("levels", [3, 1000])
def test_peaks_agree_with_their_definition_ties_and_all(separation, levels):
    confidence = np.random.default_rng(1).integers(0, levels, (60, 2)) / levels
    assert [tuple(peak) for peak in peaks(confidence, separation, 0.2)] == slow_peaks(confidence, separation, 0.2)


def test_peaks_over_a_threshold_are_those_over_a_lower_one_without_the_weaker_ones():
    confidence = np.random.default_rng(2).random((300, 1))
    low = peaks(confidence, 7, 0.1)
    assert [peak for peak in low if peak.confidence >= 0.9] == peaks(confidence, 7, 0.9)


def test_a_plateau_is_one_detection_at_its_first_frame():
    confidence = np.concatenate([np.zeros(10), np.full(25, 0.8), np.zeros(10)])[:, None]
    assert [tuple(peak) for peak in peaks(confidence, 5, 0.5)] == [(10, 0, 0.8)]


def test_nothing_has_no_peaks():
    assert peaks(np.zeros((0, 2)), 5, 0.0) == []


def test_trailing_maxima_never_fall_below_the_values():
    values = np.random.default_rng(4).random((40, 2))
    assert (trailing_max(values, 9) >= values).all()
    np.testing.assert_array_equal(trailing_max(values, 1), values)


def test_the_middle_is_that_of_the_loud_part_and_faint_tails_do_not_move_it():
    weights = np.zeros(101)
    weights[60:81] = 1.0
    assert middle(weights) == 70
    weights[:40] = 0.3
    assert middle(weights) == 70
