"""Likelihoods against their definition, selection and pruning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.ivector.gmm import DiagonalGmm, FullGmm, diagonal_posteriors, full_posteriors, normalized, pruned, select


def make_full(rng, num_components=5, dim=3):
    roots = rng.standard_normal((num_components, dim, 2 * dim))
    weights = rng.dirichlet(np.ones(num_components))
    return FullGmm(weights, 2 * rng.standard_normal((num_components, dim)), roots @ roots.transpose(0, 2, 1) / (2 * dim))


def make_diagonal(rng, num_components=5, dim=3):
    weights = rng.dirichlet(np.ones(num_components))
    return DiagonalGmm(weights, rng.standard_normal((num_components, dim)), rng.uniform(0.2, 2, (num_components, dim)))


def log_density(frame, mean, covariance):
    """The textbook formula."""
    off = frame - mean
    return -0.5 * (off @ np.linalg.inv(covariance) @ off + np.log(np.linalg.det(2 * np.pi * covariance)))


def test_full_likelihoods_agree_with_the_definition(rng):
    gmm, frames = make_full(rng), rng.standard_normal((7, 3))
    expected = [[np.log(w) + log_density(x, m, c) for w, m, c in zip(gmm.weights, gmm.means, gmm.covariances)] for x in frames]
    assert gmm.log_likelihoods(frames) == pytest.approx(np.array(expected), rel=1e-10)


def test_diagonal_likelihoods_are_those_of_a_full_mixture_with_the_same_variances(rng):
    gmm, frames = make_diagonal(rng), rng.standard_normal((7, 3))
    full = FullGmm(gmm.weights, gmm.means, np.stack([np.diag(v) for v in gmm.variances]))
    assert gmm.log_likelihoods(frames) == pytest.approx(full.log_likelihoods(frames), rel=1e-10)
    assert full.diagonal.variances == pytest.approx(gmm.variances)


def test_likelihoods_agree_with_scikit_learn(rng):
    mixture = pytest.importorskip("sklearn.mixture")
    gmm, frames = make_full(rng), rng.standard_normal((50, 3))
    peer = mixture.GaussianMixture(len(gmm.weights))
    peer.weights_, peer.means_, peer.covariances_ = gmm.weights, gmm.means, gmm.covariances
    peer.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(gmm.covariances))
    posteriors, log_likelihood = full_posteriors(frames, gmm, num_selected=5, min_posterior=0.0)
    assert log_likelihood == pytest.approx(peer.score_samples(frames), rel=1e-10)
    assert posteriors == pytest.approx(peer.predict_proba(frames), abs=1e-10)


def test_selected_gaussians_alone_share_the_posterior(rng):
    gmm, frames = make_full(rng), rng.standard_normal((30, 3))
    posteriors, log_likelihood = full_posteriors(frames, gmm, num_selected=2, min_posterior=0.0)
    best = np.argsort(-gmm.diagonal.log_likelihoods(frames), axis=1)[:, :2]
    all_of_them = np.exp(gmm.log_likelihoods(frames))
    for row, chosen, values in zip(posteriors, best, all_of_them):
        assert set(np.flatnonzero(row)) <= set(chosen)
        assert row[chosen] == pytest.approx(values[chosen] / values[chosen].sum(), rel=1e-9)
    assert log_likelihood == pytest.approx(np.log(np.take_along_axis(all_of_them, best, 1).sum(axis=1)))


@pytest.mark.parametrize(("num_selected", "min_posterior"), [(5, 0.0), (2, 0.0), (3, 0.2)])
def test_diagonal_posteriors_are_those_of_a_full_mixture_with_the_same_variances(rng, num_selected, min_posterior):
    gmm, frames = make_diagonal(rng), rng.standard_normal((30, 3))
    full = FullGmm(gmm.weights, gmm.means, np.stack([np.diag(v) for v in gmm.variances]))
    made, likelihood = diagonal_posteriors(frames, gmm, num_selected, min_posterior)
    expected, full_likelihood = full_posteriors(frames, full, num_selected, min_posterior)
    assert made == pytest.approx(expected, abs=1e-12)
    assert likelihood == pytest.approx(full_likelihood)


def test_selecting_all_selects_nothing_out():
    assert select(np.zeros((3, 4)), 4) is None
    assert (select(np.arange(8.0).reshape(2, 4), 3).sum(axis=1) == 3).all()


def test_far_away_frames_have_posteriors_too(rng):
    posteriors, log_likelihood = normalized(make_diagonal(rng).log_likelihoods(np.full((1, 3), 1e4)))
    assert posteriors.sum() == pytest.approx(1)
    assert np.isfinite(log_likelihood).all()


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0, 0.49), st.integers(1, 60))
def test_pruned_posteriors_add_up_and_keep_what_was_large(seed, least, num_components):
    posteriors = np.random.default_rng(seed).dirichlet(np.full(num_components, 0.3), size=5)
    kept = pruned(posteriors, least)
    assert kept.sum(axis=1) == pytest.approx(np.ones(5))
    assert (kept.argmax(axis=1) == posteriors.argmax(axis=1)).all()
    is_kept = kept > 0
    assert (posteriors[is_kept] >= min(least, posteriors.max(axis=1).min())).all()
    assert (kept[is_kept] >= posteriors[is_kept] - 1e-12).all()
    assert is_kept[posteriors >= max(least, 1e-300)].all()
