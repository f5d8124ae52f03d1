"""Wilson's interval against its definition and SciPy, effective sizes against those that were put in."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from sv_toolkit.metrics.proportions import effective_size, log_odds, wilson


@pytest.mark.parametrize(("rate", "size"), [(0.0, 12), (0.02, 60.5), (0.3, 7), (0.5, 1000), (1.0, 12)])
@pytest.mark.parametrize("deviations", [1.0, 1.96, 4.3])
def test_ends_are_as_many_of_their_own_deviations_from_the_rate(rate, size, deviations):
    for end in wilson(rate, size, deviations):
        assert abs(end - rate) == pytest.approx(deviations * math.sqrt(end * (1 - end) / size), abs=1e-6)


@pytest.mark.parametrize(("errors", "trials"), [(0, 20), (1, 60), (5, 50), (20, 20)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_agrees_with_scipy(errors, trials, level):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(errors, trials).proportion_ci(level, method="wilson")
    found = wilson(errors / trials, trials, NormalDist().inv_cdf((1 + level) / 2))
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_mirrors():
    low, high = wilson(0.07, 33.3, 2.1)
    assert wilson(0.93, 33.3, 2.1) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.4, 1.0])
@pytest.mark.parametrize("size", [1e-3, 3.0, 1e9])
def test_wilson_holds_the_rate_and_stays_within_0_and_1(rate, size):
    low, high = wilson(rate, size, 2.0)
    assert 0 <= low <= rate + 1e-15 and rate - 1e-15 <= high <= 1 and low < high


@pytest.mark.parametrize("size", [3.0, 40.0, 500.0])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_effective_size_is_that_of_the_trials_whose_variance_it_is_given(rate, size):
    assert effective_size(rate, rate * (1 - rate) / size, 100_000) == pytest.approx(size, rel=1e-3)


@pytest.mark.parametrize("num_trials", [5, 60, 10_000])
def test_effective_size_without_errors_is_about_the_number_of_trials(num_trials):
    assert effective_size(0.0, 0.0, num_trials) == pytest.approx(num_trials, rel=0.06)
    assert effective_size(1.0, 0.0, num_trials) == pytest.approx(effective_size(0.0, 0.0, num_trials))


def test_effective_size_falls_as_the_spread_grows():
    sizes = [effective_size(0.02, variance, 100) for variance in (1e-6, 1e-5, 1e-4, 1e-3)]
    assert sizes == sorted(sizes, reverse=True)


def test_log_odds_are_finite_at_the_ends_and_mirror():
    rates = np.array([0.0, 0.01, 0.5, 0.99, 1.0])
    odds = log_odds(rates, 0.005)
    assert np.isfinite(odds).all() and odds[2] == 0
    np.testing.assert_allclose(odds, -odds[::-1], atol=1e-12)
    np.testing.assert_allclose(log_odds(rates[1:4], 0.0), np.log(rates[1:4] / (1 - rates[1:4])))
