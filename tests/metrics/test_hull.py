"""The ROC convex hull, PAV and min Cllr against their definitions in exact fractions, and their invariances."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.metrics import hull
from sv_toolkit.metrics.detection import COSTS, OperatingPoint, cllr, equal_error_rate, error_rates, min_dcf, min_dcf_of_curve
from sv_toolkit.metrics.hull import lower_hull, min_cllr, pav_llrs, roc_convex_hull, rocch_eer

tied = st.lists(st.integers(-4, 4), min_size=1, max_size=15).map(lambda values: np.array(values, dtype=np.float64))
free = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=15).map(lambda values: np.array(values, dtype=np.float64))
any_scores = tied | free


def groups(target, nontarget):
    """Targets and nontargets at every distinct score, in rising order."""
    return [(np.count_nonzero(target == s), np.count_nonzero(nontarget == s)) for s in sorted({*target, *nontarget})]


def slow_posteriors(target, nontarget):
    """Isotonic regression by its min-max formula: the posterior of a target in every group, as a fraction."""
    counts = groups(target, nontarget)

    def mean(a, b):
        return Fraction(sum(t for t, _ in counts[a : b + 1]), sum(t + n for t, n in counts[a : b + 1]))

    last = len(counts)
    return counts, [max(min(mean(a, b) for b in range(i, last)) for a in range(i + 1)) for i in range(last)]


def slow_llr(posterior, num_targets, num_nontargets):
    if posterior in (0, 1):
        return math.inf if posterior == 1 else -math.inf
    return math.log(posterior / (1 - posterior) * Fraction(num_nontargets, num_targets))


def slow_min_cllr(target, nontarget):
    counts, posteriors = slow_posteriors(target, nontarget)
    total = 0.0
    for (t, n), posterior in zip(counts, posteriors):
        ratio = slow_llr(posterior, len(target), len(nontarget))
        total += t / len(target) * math.log2(1 + math.exp(-ratio)) if t else 0.0
        total += n / len(nontarget) * math.log2(1 + math.exp(ratio)) if n else 0.0
    return total / 2


def slow_rocch_eer(target, nontarget):
    """The lowest point with equal rates among all mixtures of two operating points."""
    _, miss, false_alarm = error_rates(target, nontarget)
    points = [
        (Fraction(round(m * len(target)), len(target)), Fraction(round(f * len(nontarget)), len(nontarget)))
        for m, f in zip(miss, false_alarm)
    ]
    rates = []
    for miss_a, fa_a in points:
        for miss_b, fa_b in points:
            if miss_a < fa_a and miss_b >= fa_b:
                share = (fa_a - miss_a) / ((fa_a - miss_a) + (miss_b - fa_b))
                rates.append(miss_a + share * (miss_b - miss_a))
    return float(min(rates))


@settings(max_examples=60)
@given(any_scores, any_scores)
def test_hull_eer_agrees_with_the_definition(target, nontarget):
    assert rocch_eer(target, nontarget) == pytest.approx(slow_rocch_eer(target, nontarget), abs=1e-12)


@settings(max_examples=60)
@given(any_scores, any_scores)
def test_min_cllr_agrees_with_isotonic_regression(target, nontarget):
    assert min_cllr(target, nontarget) == pytest.approx(slow_min_cllr(target, nontarget), abs=1e-12)


@settings(max_examples=60)
@given(any_scores, any_scores)
def test_pooled_llrs_agree_with_isotonic_regression_and_cost_min_cllr(target, nontarget):
    _, posteriors = slow_posteriors(target, nontarget)
    ratio_of = {s: slow_llr(p, len(target), len(nontarget)) for s, p in zip(sorted({*target, *nontarget}), posteriors)}
    for found, side in zip(pav_llrs(target, nontarget), (target, nontarget)):
        np.testing.assert_allclose(found, [ratio_of[s] for s in side], rtol=0, atol=1e-12)
    clipped = [np.clip(found, -700, 700) for found in pav_llrs(target, nontarget)]
    assert cllr(*clipped) == pytest.approx(min_cllr(target, nontarget), abs=1e-12)


@settings(max_examples=60)
@given(any_scores, any_scores)
def test_hull_is_convex_and_made_of_operating_points(target, nontarget):
    thresholds, miss, false_alarm = roc_convex_hull(target, nontarget)
    every = {t: (m, f) for t, m, f in zip(*error_rates(target, nontarget))}
    for threshold, m, f in zip(thresholds, miss, false_alarm):
        assert every[threshold] == pytest.approx((m, f), abs=1e-12)
    assert (miss[0], false_alarm[0], miss[-1], false_alarm[-1]) == (0, 1, 1, 0)
    slopes = np.arctan2(np.diff(miss), -np.diff(false_alarm))
    assert np.all(np.diff(slopes) > 0)


@settings(max_examples=60)
@given(any_scores, any_scores, st.sampled_from([point for points in COSTS.values() for point in points]) | st.just(OperatingPoint(0.5)))
def test_no_cost_is_lower_than_that_of_a_corner_of_the_hull(target, nontarget, point):
    _, miss, false_alarm = roc_convex_hull(target, nontarget)
    assert min_dcf_of_curve(miss, false_alarm, point) == pytest.approx(min_dcf(target, nontarget, point), abs=1e-12)


@given(any_scores, any_scores)
def test_hull_is_never_worse_than_the_curve(target, nontarget):
    assert 0 <= rocch_eer(target, nontarget) <= min(equal_error_rate(target, nontarget), 0.5) + 1e-12
    assert 0 <= min_cllr(target, nontarget) <= 1 + 1e-12


@given(any_scores, any_scores)
def test_only_the_order_of_scores_matters(target, nontarget):
    ranks = {score: rank for rank, score in enumerate(np.unique(np.concatenate([target, nontarget])))}
    stretched = [np.array([ranks[score] ** 3 - 5.0 for score in side]) for side in (target, nontarget)]
    assert rocch_eer(*stretched) == rocch_eer(target, nontarget)
    assert min_cllr(*stretched) == min_cllr(target, nontarget)
    swapped = -nontarget, -target
    assert rocch_eer(*swapped) == pytest.approx(rocch_eer(target, nontarget), abs=1e-12)
    assert min_cllr(*swapped) == pytest.approx(min_cllr(target, nontarget), abs=1e-12)


@given(any_scores, any_scores, st.floats(-3, 3), st.floats(0.1, 3))
def test_no_monotone_map_is_better_calibrated_than_pav(target, nontarget, offset, scale):
    scaled = [scale * side / (1 + np.abs(side)) + offset for side in (target, nontarget)]
    assert min_cllr(target, nontarget) <= cllr(*scaled) + 1e-12


def test_min_cllr_agrees_with_scikit_learns_isotonic_regression():
    isotonic = pytest.importorskip("sklearn.isotonic")
    rng = np.random.default_rng(0)
    target, nontarget = rng.normal(1, 1, 400).round(1), rng.normal(0, 1, 900).round(1)
    scores, labels = np.concatenate([target, nontarget]), np.repeat([1.0, 0.0], [400, 900])
    posterior = isotonic.IsotonicRegression().fit(scores, labels).predict(scores)
    with np.errstate(divide="ignore"):
        ratios = np.log(posterior / (1 - posterior)) - np.log(400 / 900)
    costs = np.logaddexp(0, -ratios[:400]).mean() + np.logaddexp(0, ratios[400:]).mean()
    assert min_cllr(target, nontarget) == pytest.approx(costs / 2 / math.log(2), abs=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.05, 2.0], ids=["passes alone", "as shipped", "stack at once"])
@pytest.mark.parametrize("shape", ["random walk", "convex", "concave", "convex, then a fall"])
def test_hull_does_not_depend_on_how_points_are_dropped(monkeypatch, share, shape, rng):
    steps = np.arange(300)
    x, y = {
        "random walk": (np.cumsum(rng.integers(0, 4, 300)), np.cumsum(rng.integers(0, 4, 300))),
        "convex": (steps, steps**2),
        "concave": (steps, 300 * steps - steps**2 // 2),
        "convex, then a fall": (np.append(steps, 10**6), np.append(steps**2, 300**2)),
    }[shape]
    expected = hull._scan(x, y, np.arange(len(x)))
    monkeypatch.setattr(hull, "FEWEST_DROPPED", share)
    np.testing.assert_array_equal(lower_hull(x, y), expected)


def test_products_of_large_counts_stay_exact():
    many = 1_000_000_000
    assert lower_hull(np.array([0, many, 2 * many]), np.array([0, many - 1, 2 * many - 1])).tolist() == [0, 1, 2]
    assert lower_hull(np.array([0, many, 2 * many]), np.array([0, many, 2 * many])).tolist() == [0, 2]


@pytest.mark.parametrize("function", [roc_convex_hull, rocch_eer, pav_llrs, min_cllr], ids=lambda function: function.__name__)
def test_what_has_no_hull_is_refused(function):
    with pytest.raises(ValueError, match="no target scores"):
        function(np.array([]), np.array([1.0]))
    with pytest.raises(ValueError, match="nontarget score 1 is nan"):
        function(np.array([1.0]), np.array([1.0, np.nan]))
