"""Histograms of scores: the bounds hold the exact number, and nothing depends on the chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.metrics.detection import COSTS, OperatingPoint, equal_error_rate, min_dcf
from sv_toolkit.metrics.streaming import NUM_BINS, ScoreHistogram, bins_of

numbers = st.floats(-(2.0**100), 2.0**100, width=32)
crowded = st.integers(-300, 300).map(lambda n: 0.5 + n * 1e-6)  # many in one bin
sides = st.lists(numbers | crowded | st.integers(-3, 3).map(float), min_size=1, max_size=25).map(lambda x: np.array(x, dtype=np.float32))


def histogram(target, nontarget):
    found = ScoreHistogram()
    found.add_scores(target, nontarget)
    return found


@settings(max_examples=15)
@given(sides, sides)
def test_bounds_hold_the_exact_error_rate(target, nontarget):
    found, exact = histogram(target, nontarget).equal_error_rate(), equal_error_rate(target, nontarget)
    assert found.low - 1e-12 <= exact <= found.high + 1e-12
    assert found.low - 1e-12 <= found.value <= found.high + 1e-12


@settings(max_examples=15)
@given(sides, sides, st.sampled_from([*COSTS.values(), (OperatingPoint(0.5),)]))
def test_bounds_hold_the_exact_detection_cost(target, nontarget, points):
    found, exact = histogram(target, nontarget).min_dcf(points), min_dcf(target, nontarget, points)
    assert found.low - 1e-12 <= exact <= found.high + 1e-12


@given(st.lists(numbers, min_size=2, max_size=30))
def test_bins_rise_with_the_scores(values):
    values = np.sort(np.array(values, dtype=np.float32))
    bins = bins_of(values).astype(np.int64)
    assert np.all(np.diff(bins) >= 0)
    assert 0 <= bins[0] <= bins[-1] < NUM_BINS


def test_bins_are_as_narrow_as_said():
    score = np.float32(0.75)
    assert bins_of(np.array([score])) != bins_of(np.array([score * (1 + 2.0**-12)], dtype=np.float32))
    assert bins_of(np.array([0.0])) == bins_of(np.array([-0.0]))


def test_rates_are_exact_where_every_bin_holds_one_score(rng):
    target, nontarget = (rng.normal(mean, 1, 500).round(2) for mean in (1.5, 0))  # hundredths fall into bins of their own
    found = histogram(target, nontarget)
    assert found.equal_error_rate().value == pytest.approx(equal_error_rate(target, nontarget), abs=1e-12)
    for points in COSTS.values():
        assert found.min_dcf(points).value == pytest.approx(min_dcf(target, nontarget, points), abs=1e-12)


def test_bounds_are_close_for_many_scores(rng):
    target, nontarget = rng.normal(2, 1, 20_000).astype(np.float32), rng.normal(0, 1, 200_000).astype(np.float32)
    found = histogram(target, nontarget).equal_error_rate()
    assert found.low <= equal_error_rate(target, nontarget) <= found.high
    assert found.high - found.low < 2e-4


def test_chunks_and_their_order_do_not_matter(rng):
    scores, is_target = rng.normal(size=3000), rng.random(3000) < 0.3
    whole, parts = histogram(scores[is_target], scores[~is_target]), ScoreHistogram()
    for chunk in reversed(np.array_split(np.arange(3000), 7)):
        part = ScoreHistogram()
        part.add(scores[chunk], is_target[chunk])
        parts.merge(part)
    assert np.array_equal(whole.targets, parts.targets)
    assert np.array_equal(whole.nontargets, parts.nontargets)
    assert (parts.num_targets, parts.num_nontargets) == (is_target.sum(), 3000 - is_target.sum())


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_scores_without_a_bin_are_refused(bad):
    with pytest.raises(ValueError, match="score 1 is"):
        ScoreHistogram().add(np.array([0.0, bad]), np.array([True, True]))


def test_one_kind_of_scores_has_no_rate():
    found = ScoreHistogram()
    found.add_scores(np.ones(3), np.zeros(0))
    with pytest.raises(ValueError, match="both target and nontarget"):
        found.equal_error_rate()
