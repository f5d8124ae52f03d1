"""Operating points, their intervals, and agreement with known times."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.keyword.measure import agreement, curve, operating_point, poisson_interval

BEST = np.array([0.9, 0.8, 0.5, 0.3, 0.0])
ALARMS = np.array([0.85, 0.6, 0.4, 0.4, 0.2])


@pytest.mark.parametrize(
    ("per_hour", "threshold", "miss", "count"), [(0.4, 0.85, 0.8, 0), (0.5, 0.6, 0.6, 1), (1.0, 0.4, 0.4, 2), (1.5, 0.4, 0.4, 2), (9, 0, 0.2, 5)]
)  # fmt: skip
def test_no_more_false_alarms_remain_than_are_allowed(per_hour, threshold, miss, count):
    point = operating_point(BEST, ALARMS, 2.0, per_hour)
    assert (point.threshold, point.num_alarms) == (threshold, count)
    assert point.miss == pytest.approx(miss)
    assert point.interval[0] <= point.miss <= point.interval[1]
    assert point.alarm_interval[0] <= point.alarms_per_hour <= point.alarm_interval[1]


def test_the_curve_holds_every_operating_point():
    rates, misses = curve(BEST, ALARMS, 2.0)
    assert dict(zip(rates.tolist(), np.round(misses, 9).tolist())) == {0.0: 0.8, 0.5: 0.6, 1.0: 0.4, 2.0: 0.2, 2.5: 0.2}


def test_poisson_intervals_agree_with_the_quantiles_of_chi_squared():
    stats = pytest.importorskip("scipy.stats")
    for count in (0, 1, 2, 5, 40):
        low, high = poisson_interval(count)
        assert low == pytest.approx(stats.chi2.ppf(0.025, 2 * count) / 2 if count else 0.0, rel=1e-9)
        assert high == pytest.approx(stats.chi2.ppf(0.975, 2 * count + 2) / 2, rel=1e-9)


def test_agreement_of_segments_with_words():
    found = agreement([(0.0, 0.8), (1.0, 1.8)], [(0.2, 0.6), (1.6, 2.0)])
    assert found.covered == pytest.approx(0.75)
    assert found.whole == 0.5
    assert found.offset == pytest.approx(-0.2)
    assert found.spread == pytest.approx(0.2)


def test_nothing_cannot_be_measured():
    with pytest.raises(ValueError, match="background"):
        operating_point(BEST, ALARMS, 0.0, 2.0)
    with pytest.raises(ValueError, match="recordings"):
        operating_point(np.zeros(0), ALARMS, 1.0, 2.0)
