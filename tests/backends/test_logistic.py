"""The logistic fit: the minimum of its objective, ideal where the truth is known, finite where classes are separable."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.backends.logistic import RIDGE, fit_llr, is_separated, logit, sigmoid
from sv_toolkit.errors import DataError


def slow_objective(features, is_target, prior, weights, offset):
    total = 0.0
    for row, target in zip(features, is_target):
        odds = sum(w * x for w, x in zip(weights, row)) + offset + np.log(prior / (1 - prior))
        share = prior / sum(is_target) if target else (1 - prior) / sum(~is_target)
        total += share * np.log1p(np.exp(-odds if target else odds))
    return total


@pytest.fixture
def trials(rng):
    is_target = np.arange(400) % 4 == 0
    return rng.normal(size=(400, 2)) + np.outer(is_target, [1.5, 0.7]), is_target


@pytest.mark.parametrize("prior", [0.01, 0.5, 0.9])
def test_no_neighbour_of_the_fit_has_a_lower_cost(trials, prior):
    weights, offset = fit_llr(*trials, prior)
    best = slow_objective(*trials, prior, weights, offset)
    for step in np.vstack([np.eye(3), -np.eye(3)]) * 0.03:
        assert slow_objective(*trials, prior, weights + step[:2], offset + step[2]) > best


@pytest.mark.parametrize("prior", [0.01, 0.5])
def test_the_fit_agrees_with_a_general_minimiser(trials, prior):
    optimize = pytest.importorskip("scipy.optimize")
    sign = np.where(trials[1], 1, -1)
    share = np.where(trials[1], prior / trials[1].sum(), (1 - prior) / (~trials[1]).sum())

    def objective(x):
        return 1e3 * share @ np.logaddexp(0, -sign * (trials[0] @ x[:2] + x[2] + logit(prior)))

    found = optimize.minimize(objective, np.zeros(3), method="BFGS", options={"gtol": 1e-9}).x
    weights, offset = fit_llr(*trials, prior)
    np.testing.assert_allclose([*weights, offset], found, rtol=2e-3)


def test_of_gaussian_scores_the_true_ratio_is_found(rng):
    """Targets N(2, 1), nontargets N(0, 1): the ratio is 2 x - 2."""
    is_target = np.arange(200_000) % 2 == 0
    (weight,), offset = fit_llr(rng.normal(2.0 * is_target)[:, None], is_target, 0.3)
    assert (weight, offset) == pytest.approx((2, -2), rel=0.02)


def test_two_independent_systems_add_up(rng):
    is_target = np.arange(100_000) % 2 == 0
    weights, offset = fit_llr(rng.normal(size=(100_000, 2)) + np.outer(is_target, [2.0, 1.0]), is_target, 0.3)
    np.testing.assert_allclose([*weights, offset], [2, 1, -2.5], rtol=0.03)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_affine_maps_of_the_features_change_nothing(trials, scale):
    features, is_target = trials
    weights, offset = fit_llr(features, is_target, 0.05)
    moved = 5 * scale + scale * features
    again, shift = fit_llr(moved, is_target, 0.05)
    np.testing.assert_allclose(moved @ again + shift, features @ weights + offset, atol=1e-8)


def test_the_same_trials_give_the_same_bits(trials):
    assert [fit_llr(*trials, 0.05)[0].tolist() for _ in range(2)][0] == fit_llr(*trials, 0.05)[0].tolist()


def test_repeating_every_trial_changes_nothing(trials):
    weights, offset = fit_llr(*trials, 0.05)
    again, shift = fit_llr(np.repeat(trials[0], 3, axis=0), np.repeat(trials[1], 3), 0.05)
    np.testing.assert_allclose([*again, shift], [*weights, offset], rtol=1e-9)


def long_tailed(seed, num_systems, tail):
    """Few errors near the threshold, most nontargets `tail` times as far away as the targets lie apart."""
    rng = np.random.default_rng(seed)
    is_target = np.arange(2300) < 300
    near = rng.random((2000, num_systems)) < 0.4
    nontargets = np.where(near, rng.normal(-3, 2.5, near.shape), -rng.gamma(2, tail, near.shape))
    return np.vstack([rng.normal(4, 2, (300, num_systems)), nontargets]), is_target


@pytest.mark.parametrize("prior", [0.01, 0.5])
@pytest.mark.parametrize("tail", [1e3, 1e6])
@pytest.mark.parametrize("num_systems", [1, 2])
def test_a_long_tail_of_nontargets_does_not_hold_the_fit_back(num_systems, tail, prior):
    """The peer is the same fit on the trials alone that are near: of the others, the loss vanishes."""
    optimize = pytest.importorskip("scipy.optimize")
    features, is_target = long_tailed(3, num_systems, tail)
    sign = np.where(is_target, 1.0, -1.0)
    share = np.where(is_target, prior / 300, (1 - prior) / 2000)

    def entropy(x):
        return share @ np.logaddexp(0, -sign * (features @ x[:-1] + x[-1] + logit(prior)))

    weights, offset = fit_llr(features, is_target, prior)
    found = entropy(np.append(weights, offset))
    assert not is_separated(features @ weights, is_target)
    options = {"xatol": 1e-12, "fatol": 1e-17, "maxiter": 20_000}
    for start in (np.append(weights, offset), np.append(np.ones(num_systems), 0.0)):
        assert found <= optimize.minimize(entropy, start, method="Nelder-Mead", options=options).fun * (1 + 1e-6)


def test_separable_lists_with_a_long_tail_end_with_a_finite_map():
    features, is_target = long_tailed(4, 1, 1e4)
    features[:300] += 40
    weights, offset = fit_llr(features, is_target, 0.05)
    assert is_separated(features @ weights, is_target) and np.isfinite([*weights, offset]).all()


@pytest.mark.parametrize("gap", [3.5, 10.0, 1e6])
@pytest.mark.parametrize("prior", [1e-4, 0.05, 0.99])
def test_separable_classes_give_finite_ratios_of_the_right_sign(gap, prior):
    is_target = np.arange(60) < 10
    features = (np.linspace(0, 3, 60) % 1.5 + gap * is_target)[:, None]
    weights, offset = fit_llr(features, is_target, prior)
    odds = features @ weights + offset
    assert np.isfinite(odds).all()
    assert odds[is_target].min() > odds[~is_target].max()
    assert abs(odds + logit(prior)).max() < 10 - np.log(RIDGE * min(prior, 1 - prior)) * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y & False, 0.5), "0 of 400 trials are targets"),
        (lambda x, y: (x, y | True, 0.5), "400 of 400 trials"),
        (lambda x, y: (x, y, 1.0), "prior lies between 0 and 1"),
        (lambda x, y: (x[:9], y, 0.5), "do not fit"),
        (lambda x, y: (x[:, 0], y, 0.5), "do not fit"),
        (lambda x, y: (np.where(x > 1, np.nan, x), y, 0.5), "finite"),
        (lambda x, y: (x * [1, 0] + [0, 0.1], y, 0.5), "all values of input 2 of 2 are the same"),
    ],
    ids=["no targets", "no nontargets", "prior", "lengths", "one axis", "NaN", "constant"],
)
def test_what_cannot_be_fitted_is_refused(trials, change, message):
    with pytest.raises((DataError, ValueError), match=message):
        fit_llr(*change(*trials))


def test_sigmoid_is_right_at_both_ends():
    np.testing.assert_array_equal(sigmoid(np.array([-1e4, 0.0, 1e4])), [0, 0.5, 1])
    assert sigmoid(np.array(-30.0)) == pytest.approx(np.exp(-30), rel=1e-12)
    assert sigmoid(np.array(logit(0.3))) == pytest.approx(0.3)
