"""The bend of a calibration: its shape, the minimum it stands for, and what it does for scores of unequal spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from sv_toolkit.backends.logistic import logit
from sv_toolkit.backends.score_map import STEEPEST, Bend, ScoreMap
from sv_toolkit.errors import DataError
from sv_toolkit.metrics.detection import cllr
from sv_toolkit.metrics.hull import min_cllr


def spread(rng, num_targets, num_nontargets, target_deviation=1.6):
    """Scores as a score normalisation gives them: nontargets of deviation 1, targets wider."""
    is_target = np.arange(num_targets + num_nontargets) < num_targets
    return rng.normal(np.where(is_target, 4.0, 0.0), np.where(is_target, target_deviation, 1.0)), is_target


def cross_entropy(llr, is_target, prior):
    odds = llr + logit(prior)
    return prior * np.logaddexp(0, -odds[is_target]).mean() + (1 - prior) * np.logaddexp(0, odds[~is_target]).mean()


finite = st.floats(-1e3, 1e3)


@given(low=finite, width=st.floats(1e-3, 1e3), slope=st.floats(1e-3, 1e3), scores=st.lists(finite, min_size=2, unique=True))
def test_the_bend_is_the_integral_of_its_slopes(low, width, slope, scores):
    bend, scores = Bend(low, low + width, slope), np.sort(scores)
    bent = bend(scores)
    assert (bent[scores <= low] == scores[scores <= low]).all()
    for first, last, found in zip(scores, scores[1:], np.diff(bent)):
        knots = np.unique(np.clip([first, low, low + width, last], first, last))
        slopes = 1 + (slope - 1) * np.clip((knots - low) / width, 0, 1)
        assert found == pytest.approx(np.trapezoid(slopes, knots), rel=1e-6, abs=1e-9 * (1 + np.abs(bent).max()))


@pytest.mark.parametrize("prior", [0.05, 0.5])
def test_the_slopes_have_the_lowest_cross_entropy(rng, prior):
    """No other slope, weight and offset does better, by a search that knows nothing of the fit."""
    scores, is_target = spread(rng, 300, 3000)
    found = ScoreMap.fit(scores, is_target, prior, {}, bent=True)

    def objective(parameters):
        weight, slope, offset = parameters
        return cross_entropy(weight * Bend(found.bend.low, found.bend.high, max(slope, 1e-6))(scores) + offset, is_target, prior)

    searched = minimize(objective, [1.0, 1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 5000})
    assert cross_entropy(found.llr(scores), is_target, prior) <= searched.fun + 1e-6  # the ridge of fit_llr
    np.testing.assert_allclose([found.weights[0], found.bend.slope, found.offset], searched.x, rtol=0.03)


def test_scores_of_unequal_spread_lose_less_with_two_slopes(rng):
    """On scores that the fits have not seen; the least cost is that of the true ratios, which are a parabola."""
    scores, is_target = spread(rng, 1000, 20_000, 2.0)
    costs, (tested, labels) = {}, spread(rng, 5000, 100_000, 2.0)
    for bent in (False, True):
        llr = ScoreMap.fit(scores, is_target, 0.05, {}, bent).llr(tested)
        costs[bent] = cllr(llr[labels], llr[~labels]) / min_cllr(llr[labels], llr[~labels])
    assert costs[True] < 1.04 < 1.05 < costs[False]


@settings(max_examples=15)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_stretched_and_shifted_scores_have_the_same_ratios(scale, shift):
    scores, is_target = spread(np.random.default_rng(1), 50, 300)
    moved = scale * scores + shift
    ratios = [ScoreMap.fit(values, is_target, 0.05, {}, bent=True).llr(values) for values in (scores, moved)]
    np.testing.assert_allclose(*ratios, rtol=1e-5, atol=1e-5)


SHARES = {
    1 / STEEPEST: lambda x: np.where(x < 0.5, 1.8 * x, 0.9 - 0.1 * (x - 0.5)),
    STEEPEST: lambda x: np.where(x < 0.5, 0.2 - 0.1 * x, 1.6 * x - 0.65),
}


@pytest.mark.parametrize("slope", SHARES)
def test_slopes_stay_within_bounds_and_are_the_best_of_those(rng, slope):
    """A side where targets get rarer as scores rise would fall; the fit is the best of the rising ones."""
    values = np.linspace(0, 1, 1000)
    is_target = rng.random(1000) < SHARES[slope](values)
    found = ScoreMap.fit(values, is_target, 0.5, {}, bent=True)
    assert found.bend.slope == slope
    here = cross_entropy(found.llr(values), is_target, 0.5)
    for inside in np.geomspace(1 / STEEPEST, STEEPEST, 21):
        bent = Bend(found.bend.low, found.bend.high, float(inside))(values)
        assert here <= cross_entropy(ScoreMap.fit(bent, is_target, 0.5, {}, bent=False).llr(bent), is_target, 0.5) + 1e-9


def test_quality_measures_go_with_a_bend(rng):
    scores, is_target = spread(rng, 1000, 10_000)
    quality = {"duration": rng.uniform(-1, 1, len(scores))}
    moved = scores + quality["duration"]
    found = ScoreMap.fit(moved, is_target, 0.05, quality, bent=True)
    costs = [
        cllr(llr[is_target], llr[~is_target])
        for llr in (found.llr(moved, quality), ScoreMap.fit(moved, is_target, 0.05, {}, True).llr(moved))
    ]
    assert costs[0] < 0.9 * costs[1]


@pytest.mark.parametrize(
    ("scores", "message"),
    [([1.0, 1.0, 0.0], "targets of different scores"), ([0.0, 1.0, 5.0], "larger scores belong to nontargets")],
)
def test_what_cannot_be_bent_is_refused(scores, message):
    with pytest.raises(DataError, match=message):
        ScoreMap.fit(np.array(scores), np.array([True, True, False]), 0.05, {}, bent=True)


def test_a_class_that_is_missing_is_refused():
    for is_target in (np.ones(3, bool), np.zeros(3, bool)):
        with pytest.raises(DataError):
            ScoreMap.fit(np.arange(3.0), is_target, 0.05, {}, bent=True)
