"""Error rates against their definitions, their invariances and their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv_toolkit.metrics import detection
from sv_toolkit.metrics.detection import (
    COSTS,
    OperatingPoint,
    actual_dcf,
    cllr,
    det_points,
    eer_operating_point,
    equal_error_rate,
    error_rates,
    false_alarm_rate_at,
    false_reject_rate_at,
    min_dcf,
    probit,
)

tied_scores = st.lists(st.integers(-5, 5), min_size=1, max_size=30).map(lambda values: np.array(values, dtype=np.float64))
free_scores = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30).map(lambda values: np.array(values, dtype=np.float64))
any_scores = tied_scores | free_scores


def slow_rates(target, nontarget):
    """The definition: one pass over all trials for every threshold."""
    points = []
    for threshold in [*sorted({*target, *nontarget}), math.inf]:
        miss = sum(1 for score in target if score < threshold) / len(target)
        false_alarm = sum(1 for score in nontarget if score >= threshold) / len(nontarget)
        points.append((threshold, miss, false_alarm))
    return points


def slow_equal_error_rate(target, nontarget):
    """Where the straight lines between neighbouring operating points meet miss = false alarm."""
    points = slow_rates(target, nontarget)
    for (_, miss_a, fa_a), (_, miss_b, fa_b) in zip(points, points[1:]):
        if miss_a < fa_a and miss_b >= fa_b:
            x = (fa_a - miss_a) / ((fa_a - miss_a) + (miss_b - fa_b))
            return miss_a + x * (miss_b - miss_a)
    raise AssertionError("the rates never cross")


def slow_min_dcf(target, nontarget, point):
    costs = [point.c_miss * point.p_target * miss + point.c_fa * (1 - point.p_target) * fa for _, miss, fa in slow_rates(target, nontarget)]
    return min(costs) / min(point.c_miss * point.p_target, point.c_fa * (1 - point.p_target))


def gaussian(num_target, num_nontarget, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(1.5, 1, num_target), rng.normal(0, 1, num_nontarget)


@given(any_scores, any_scores)
def test_rates_agree_with_the_definition(target, nontarget):
    found = list(zip(*error_rates(target, nontarget)))
    np.testing.assert_allclose(found, slow_rates(target, nontarget), rtol=0, atol=1e-12)


@given(any_scores, any_scores)
def test_eer_agrees_with_the_definition(target, nontarget):
    assert equal_error_rate(target, nontarget) == pytest.approx(slow_equal_error_rate(target, nontarget), abs=1e-12)


@given(any_scores, any_scores, st.sampled_from([point for points in COSTS.values() for point in points]))
def test_min_dcf_agrees_with_the_definition(target, nontarget, point):
    assert min_dcf(target, nontarget, point) == pytest.approx(slow_min_dcf(target, nontarget, point), abs=1e-12)


@pytest.mark.parametrize("decimals", [None, 2, 0], ids=["no ties", "ties", "heavy ties"])
def test_eer_of_a_long_list_is_that_of_the_whole_curve(decimals):
    target, nontarget = gaussian(20_000, 300_000)
    if decimals is not None:
        target, nontarget = target.round(decimals), nontarget.round(decimals)
    assert len(target) + len(nontarget) > detection.SORT_AT_ONCE
    whole = detection.eer_of_curve(*error_rates(target, nontarget)[1:])
    assert equal_error_rate(target, nontarget) == whole


def test_eer_of_a_long_list_is_exact_when_the_sample_misleads(monkeypatch):
    target, nontarget = gaussian(20_000, 300_000)
    whole = equal_error_rate(target, nontarget)
    monkeypatch.setattr(detection, "SAMPLE", 50)
    monkeypatch.setattr(detection, "SAMPLE_MARGIN", 0.0)  # fifty scores without a margin cannot bracket the crossing
    assert equal_error_rate(target, nontarget) == whole


@pytest.mark.parametrize("order", ["sorted", "reversed", "repeating"])
def test_eer_of_a_long_list_does_not_depend_on_the_order(order):
    target, nontarget = gaussian(30_000, 150_000)
    expected = equal_error_rate(target, nontarget)
    arrange = {"sorted": np.sort, "reversed": lambda x: np.sort(x)[::-1], "repeating": lambda x: np.sort(x).reshape(-1, 300).T.ravel()}[
        order
    ]
    assert equal_error_rate(arrange(target), arrange(nontarget)) == expected


@given(any_scores, any_scores)
def test_eer_does_not_change_when_scores_are_stretched(target, nontarget):
    ranks = {score: rank for rank, score in enumerate(np.unique(np.concatenate([target, nontarget])))}
    stretched = [np.array([ranks[score] ** 3 + 7.0 for score in side]) for side in (target, nontarget)]
    assert equal_error_rate(*stretched) == equal_error_rate(target, nontarget)


@given(any_scores, any_scores)
def test_eer_is_the_same_with_roles_and_signs_swapped(target, nontarget):
    assert equal_error_rate(-nontarget, -target) == pytest.approx(equal_error_rate(target, nontarget), abs=1e-12)


@given(any_scores, any_scores, st.randoms(use_true_random=False))
def test_nothing_depends_on_the_order_of_trials(target, nontarget, random):
    shuffled = [np.array(random.sample(list(side), len(side))) for side in (target, nontarget)]
    assert equal_error_rate(*shuffled) == equal_error_rate(target, nontarget)
    assert min_dcf(*shuffled, COSTS["voxceleb"]) == min_dcf(target, nontarget, COSTS["voxceleb"])


@given(any_scores, any_scores, st.integers(2, 4))
def test_nothing_changes_when_every_trial_counts_several_times(target, nontarget, times):
    assert equal_error_rate(np.tile(target, times), np.tile(nontarget, times)) == pytest.approx(
        equal_error_rate(target, nontarget), abs=1e-12
    )
    assert min_dcf(np.tile(target, times), np.tile(nontarget, times), COSTS["sre08"]) == pytest.approx(
        min_dcf(target, nontarget, COSTS["sre08"]), abs=1e-12
    )


def test_rates_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    target, nontarget = gaussian(300, 500)
    scores, keys = np.concatenate([target, nontarget]), np.repeat([1, 0], [300, 500])
    false_alarm, hit, thresholds = metrics.roc_curve(keys, scores, drop_intermediate=False)
    ours = error_rates(target, nontarget)
    np.testing.assert_allclose(ours[0][:-1], thresholds[:0:-1])
    np.testing.assert_allclose(ours[1], 1 - hit[::-1], atol=1e-12)
    np.testing.assert_allclose(ours[2], false_alarm[::-1], atol=1e-12)


@pytest.mark.parametrize(
    ("target", "nontarget", "expected"),
    [
        ([2.0, 3.0], [0.0, 1.0], 0.0),
        ([0.0, 1.0], [2.0, 3.0], 1.0),
        ([1.0, 1.0], [1.0], 0.5),
        ([1.0], [1.0, 1.0, 1.0, 1.0], 0.5),
        ([0.0, 2.0], [1.0], 0.5),
        ([1.0, 2.0], [0.0, 1.0], 0.25),  # the tie moves a target and a nontarget at once, from (0, 1/2) to (1/2, 0)
    ],
    ids=["apart", "the wrong way round", "all equal", "all equal, other sizes", "one between two", "one tie"],
)
def test_eer_at_the_edges(target, nontarget, expected):
    assert equal_error_rate(np.array(target), np.array(nontarget)) == expected


@given(any_scores, any_scores)
def test_threshold_of_the_eer_is_a_score_and_gives_the_rates_it_says(target, nontarget):
    point = eer_operating_point(target, nontarget)
    assert point.threshold in np.concatenate([target, nontarget])
    assert point.miss == np.mean(target < point.threshold)
    assert point.false_alarm == np.mean(nontarget >= point.threshold)
    assert min(point.miss, point.false_alarm) - 1e-12 <= point.rate <= max(point.miss, point.false_alarm) + 1e-12


@given(any_scores, any_scores)
def test_rates_run_from_accepting_to_rejecting_everything(target, nontarget):
    thresholds, miss, false_alarm = error_rates(target, nontarget)
    assert np.all(np.diff(thresholds) > 0)
    assert np.all(np.diff(miss) >= 0)
    assert np.all(np.diff(false_alarm) <= 0)
    assert (miss[0], false_alarm[0], miss[-1], false_alarm[-1], thresholds[-1]) == (0, 1, 1, 0, math.inf)


@given(any_scores, any_scores, st.floats(0.001, 0.999), st.floats(0.1, 10))
def test_min_dcf_never_exceeds_the_trivial_system_or_the_actual_cost(target, nontarget, p_target, c_miss):
    point = OperatingPoint(p_target, c_miss)
    lowest = min_dcf(target, nontarget, point)
    assert 0 <= lowest <= 1
    assert lowest <= actual_dcf(target, nontarget, point) + 1e-12


def test_actual_dcf_of_true_log_likelihood_ratios_is_nearly_the_lowest():
    rng = np.random.default_rng(0)
    target, nontarget = (
        rng.normal(2, 2, 200_000),
        rng.normal(-2, 2, 200_000),
    )  # for these Gaussians the score is its own log-likelihood ratio
    point = OperatingPoint(0.05)
    assert actual_dcf(target, nontarget, point) == pytest.approx(min_dcf(target, nontarget, point), rel=0.01)
    assert actual_dcf(target + 2, nontarget + 2, point) > 1.2 * min_dcf(target, nontarget, point)


def test_actual_dcf_accepts_at_the_bayes_threshold():
    point = OperatingPoint(0.01, c_miss=10, c_fa=1)
    threshold = math.log(0.99 / 0.1)
    assert point.bayes_threshold == pytest.approx(threshold)
    assert actual_dcf(np.array([point.bayes_threshold]), np.array([threshold - 1e-9]), point) == 0
    assert actual_dcf(np.array([threshold - 1e-9]), np.array([point.bayes_threshold]), point) == pytest.approx((0.1 + 0.99) / 0.1)


def test_cost_of_several_points_is_their_mean():
    target, nontarget = gaussian(200, 2000)
    first, second = COSTS["sre16"]
    expected = (min_dcf(target, nontarget, first) + min_dcf(target, nontarget, second)) / 2
    assert min_dcf(target, nontarget, COSTS["sre16"]) == pytest.approx(expected, abs=1e-12)


@given(any_scores, any_scores, st.sampled_from([0.0, 0.01, 0.29, 0.5, 1.0]))
def test_false_rejects_are_the_fewest_that_the_false_alarms_allow(target, nontarget, allowed):
    expected = min(miss for _, miss, false_alarm in slow_rates(target, nontarget) if false_alarm <= allowed)
    assert false_reject_rate_at(target, nontarget, allowed) == pytest.approx(expected, abs=1e-12)


def test_det_points_are_points_of_the_curve_with_both_ends_and_no_gaps():
    target, nontarget = gaussian(2000, 20_000)
    curve = error_rates(target, nontarget)
    thinned = det_points(target, nontarget, max_points=100)
    assert 50 < len(thinned[0]) <= 100
    assert set(zip(*thinned)) <= set(zip(*curve))
    assert (thinned[1][0], thinned[2][-1]) == (0, 0)
    middle = thinned[1][(thinned[1] > 0.02) & (thinned[1] < 0.98)]
    odds = np.log(middle / (1 - middle))
    assert np.diff(odds).max() < 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.float16])
def test_scores_of_any_number_type_are_accepted(dtype):
    target, nontarget = np.array([1, 3, 4], dtype=dtype), np.array([0, 1, 2], dtype=dtype)
    assert equal_error_rate(target, nontarget) == pytest.approx(slow_equal_error_rate([1, 3, 4], [0, 1, 2]), abs=1e-12)


def test_input_is_left_as_it_was():
    target, nontarget = gaussian(100, 200_000)
    before = target.copy(), nontarget.copy()
    equal_error_rate(target, nontarget)
    min_dcf(target, nontarget, COSTS["voxceleb"])
    np.testing.assert_array_equal(before[0], target)
    np.testing.assert_array_equal(before[1], nontarget)


@pytest.mark.parametrize("function", [error_rates, equal_error_rate, det_points], ids=lambda function: function.__name__)
@pytest.mark.parametrize(
    ("target", "nontarget", "message"),
    [
        ([], [1.0], "no target scores"),
        ([1.0], [], "no nontarget scores"),
        ([1.0, np.nan], [1.0], "target score 1 is nan"),
        ([1.0], [0.0, 2.0, -np.inf], "nontarget score 2 is -inf"),
        ([[1.0]], [1.0], "one axis"),
    ],
    ids=["no targets", "no nontargets", "NaN", "Inf", "matrix"],
)
def test_what_has_no_error_rate_is_refused(function, target, nontarget, message):
    with pytest.raises(ValueError, match=message):
        function(np.array(target), np.array(nontarget))


@pytest.mark.parametrize("arguments", [(0.0,), (1.0,), (float("nan"),), (0.1, 0.0), (0.1, 1.0, -1.0), (0.1, math.inf)])
def test_impossible_operating_points_are_refused(arguments):
    with pytest.raises(ValueError, match="p_target|costs"):
        OperatingPoint(*arguments)


@given(any_scores, any_scores, st.sampled_from([0.0, 0.01, 0.29, 0.5, 1.0]))
def test_false_alarms_are_the_fewest_that_the_misses_allow(target, nontarget, allowed):
    expected = min(false_alarm for _, miss, false_alarm in slow_rates(target, nontarget) if miss <= allowed)
    assert false_alarm_rate_at(target, nontarget, allowed) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("function", [false_reject_rate_at, false_alarm_rate_at])
@pytest.mark.parametrize("allowed", [-0.1, 1.1, math.nan])
def test_a_rate_to_keep_lies_between_0_and_1(function, allowed):
    with pytest.raises(ValueError, match=r"lies in \[0, 1\]"):
        function(np.array([1.0]), np.array([0.0]), allowed)


@given(any_scores, any_scores)
def test_cllr_agrees_with_the_definition(target, nontarget):
    target, nontarget = target / 1e4, nontarget / 1e4
    miss = sum(math.log2(1 + math.exp(-llr)) for llr in target) / len(target)
    false_alarm = sum(math.log2(1 + math.exp(llr)) for llr in nontarget) / len(nontarget)
    assert cllr(target, nontarget) == pytest.approx((miss + false_alarm) / 2, rel=1e-12, abs=1e-12)


def test_cllr_of_extreme_ratios_does_not_overflow():
    assert cllr(np.array([1e4]), np.array([-1e4])) == 0
    assert cllr(np.array([-1e4], np.float32), np.array([0.0], np.float32)) == pytest.approx((1e4 / math.log(2) + 1) / 2)


@given(any_scores, any_scores)
def test_cllr_is_the_same_with_roles_and_signs_swapped(target, nontarget):
    assert cllr(-nontarget, -target) == pytest.approx(cllr(target, nontarget), rel=1e-12)


def test_probit_undoes_the_normal_distribution_function():
    deviations = np.linspace(-30, 3, 200)
    rates = [math.erfc(-z / math.sqrt(2)) / 2 for z in deviations]
    np.testing.assert_allclose(probit(rates), deviations, rtol=1e-12, atol=1e-12)
    assert probit([0.0, 0.5, 1.0]).tolist() == [-math.inf, 0.0, math.inf]
    with pytest.raises(ValueError, match=r"lies in \[0, 1\]"):
        probit([0.5, math.nan])


def test_probit_agrees_with_scipy():
    special = pytest.importorskip("scipy.special")
    rates = np.concatenate([np.logspace(-300, -1, 200), np.linspace(0.1, 0.999999, 300)])
    np.testing.assert_allclose(probit(rates), special.ndtri(rates), rtol=1e-14, atol=1e-15)


FACTS = {  # prior, cost of a miss, cost of a false alarm, as the evaluations' plans have them
    "sre08": [(0.01, 10, 1)],
    "sre10": [(0.001, 1, 1)],
    "sre16": [(0.01, 1, 1), (0.005, 1, 1)],
    "voxceleb": [(0.01, 1, 1)],
    "voxsrc": [(0.05, 1, 1)],
}


@pytest.mark.parametrize("name", COSTS)
def test_named_operating_points_are_those_of_the_evaluation_plans(name):
    assert [(point.p_target, point.c_miss, point.c_fa) for point in COSTS[name]] == FACTS[name]


@given(any_scores, any_scores, st.sampled_from(sorted(COSTS)))
def test_actual_dcf_agrees_with_the_definition(target, nontarget, name):
    costs = []
    for p_target, c_miss, c_fa in FACTS[name]:
        threshold = math.log(c_fa * (1 - p_target) / (c_miss * p_target))
        if any(abs(llr - threshold) < 1e-9 for llr in (*target, *nontarget)):
            return  # two ways to write the threshold may differ in its last bit
        miss = sum(llr < threshold for llr in target) / len(target)
        false_alarm = sum(llr >= threshold for llr in nontarget) / len(nontarget)
        costs.append((c_miss * p_target * miss + c_fa * (1 - p_target) * false_alarm) / min(c_miss * p_target, c_fa * (1 - p_target)))
    assert actual_dcf(target, nontarget, COSTS[name]) == pytest.approx(sum(costs) / len(costs), rel=1e-12, abs=1e-12)
