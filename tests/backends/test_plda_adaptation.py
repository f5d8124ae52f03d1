"""Unsupervised adaptation of PLDA against its definition step by step, and what it must leave alone."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.backends.plda_adaptation import AdaptationConfig, adapt_plda
from sv_toolkit.backends.plda_scoring import DiagonalPlda
from sv_toolkit.backends.statistics import speaker_statistics
from sv_toolkit.errors import ConfigError, DataError

DIM = 4


@pytest.fixture
def model(rng):
    one, two = rng.normal(size=(2, DIM, DIM))
    return DiagonalPlda.from_covariances(rng.normal(size=DIM), one @ one.T + np.eye(DIM), two @ two.T)


def slow_adaptation(model, vectors, config):
    """Direction by direction in the space of unit total variance, as Kaldi's program goes about it."""
    mean = vectors.mean(axis=0)
    difference = mean - model.mean
    variance = np.cov(vectors.T, bias=True) + config.mean_diff_scale * np.outer(difference, difference)
    unit = np.diag(1 / np.sqrt(1 + model.psi)) @ model.transform
    values, vectors = np.linalg.eigh(unit @ variance @ unit.T)
    within = vectors.T @ np.diag(1 / (1 + model.psi)) @ vectors
    between = vectors.T @ np.diag(model.psi / (1 + model.psi)) @ vectors
    for i, value in enumerate(values):
        if value > 1:
            within[i, i] += config.within_covar_scale * (value - 1)
            between[i, i] += config.between_covar_scale * (value - 1)
    back = np.linalg.inv(vectors.T @ unit)
    return mean, back @ within @ back.T, back @ between @ back.T


@pytest.mark.parametrize("config", [AdaptationConfig(), AdaptationConfig(0.5, 0.75, 0.25)], ids=["defaults", "others"])
def test_adaptation_agrees_with_its_definition(rng, model, config):
    vectors = rng.normal(size=(200, DIM)) @ rng.normal(size=(DIM, DIM)) * 2 + 1
    adapted = adapt_plda(model, speaker_statistics(vectors), config)
    mean, within, between = slow_adaptation(model, vectors, config)
    np.testing.assert_allclose(adapted.mean, mean, atol=1e-10)
    np.testing.assert_allclose(adapted.covariances()[0], within, atol=1e-8)
    np.testing.assert_allclose(adapted.covariances()[1], between, atol=1e-8)


def test_data_that_vary_less_move_only_the_mean(rng, model):
    vectors = model.mean + 1e-3 * rng.normal(size=(100, DIM))
    adapted = adapt_plda(model, speaker_statistics(vectors))
    np.testing.assert_allclose(adapted.covariances(), model.covariances(), atol=1e-8)
    np.testing.assert_allclose(adapted.mean, vectors.mean(axis=0), atol=1e-12)


def test_labels_do_not_matter(rng, model):
    vectors = 3 * rng.normal(size=(100, DIM))
    one = adapt_plda(model, speaker_statistics(vectors))
    other = adapt_plda(model, speaker_statistics(vectors, rng.integers(9, size=100).astype(str)))
    np.testing.assert_allclose(one.covariances(), other.covariances(), atol=1e-9)


def test_negative_scales_and_other_dimensions_are_refused(rng, model):
    for scale in (-1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"within_covar_scale must be a finite number from 0 on, got {scale}"):
            AdaptationConfig(within_covar_scale=scale)
    with pytest.raises(DataError, match="takes vectors of 4 dimensions, those to adapt to have 3"):
        adapt_plda(model, speaker_statistics(rng.normal(size=(9, 3))))
