"""Student's t against its density, its limits, tables and SciPy."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from sv_toolkit.metrics.student import quantile, two_sided_p


def slow_p(t, freedom):
    """One minus the integral of the density from -t to t (Simpson)."""
    x = np.linspace(0, t, 20_001)
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    density = constant * (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
    weights = np.ones(len(x))
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    return 1 - 2 * (density @ weights) * (x[1] - x[0]) / 3


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10, 39, 100, 999])
@pytest.mark.parametrize("t", [0.1, 0.7, 1.96, 5.0])
def test_probability_is_the_area_under_the_density(t, freedom):
    assert two_sided_p(t, freedom) == pytest.approx(slow_p(t, freedom), abs=1e-12)
    assert two_sided_p(-t, freedom) == two_sided_p(t, freedom)


@pytest.mark.parametrize(("freedom", "expected"), [(1, 12.706204736), (2, 4.302652730), (9, 2.262157163), (30, 2.042272456)])
def test_quantiles_are_those_of_the_tables(freedom, expected):
    assert quantile(0.95, freedom) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("freedom", [1, 2, 7, 40, 1001])
@pytest.mark.parametrize("level", [0.1, 0.5, 0.95, 0.999])
def test_quantile_undoes_the_probability(level, freedom):
    assert two_sided_p(quantile(level, freedom), freedom) == pytest.approx(1 - level, abs=1e-11)


def test_many_degrees_of_freedom_are_the_normal_distribution():
    assert quantile(0.95, 200_000) == pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-4)


def test_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 4, 17, 250):
        for t in (0.01, 1.0, 3.0, 8.0):
            assert two_sided_p(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), abs=1e-13)


def test_the_ends_are_one_and_nothing():
    assert two_sided_p(0.0, 5) == 1
    assert two_sided_p(math.inf, 5) == 0


@pytest.mark.parametrize("call", [lambda: two_sided_p(1.0, 0), lambda: quantile(1.0, 3), lambda: quantile(0.0, 3)])
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(ValueError, match="at least 1|between 0 and 1"):
        call()
