"""The background model: M-steps against definitions and scikit-learn, and the likelihood that never decreases."""

from __future__ import annotations

import logging
import re
from functools import partial

import numpy as np
import pytest

from sv_toolkit.errors import ConfigError, DataError
from sv_toolkit.io.archives import ScpReader, write_ark_scp
from sv_toolkit.ivector.config import FrameConfig, UbmConfig
from sv_toolkit.ivector.frames import Block, opened
from sv_toolkit.ivector.gmm import DiagonalGmm, FullGmm
from sv_toolkit.ivector.statistics import Source, align_diagonal, align_full, statistics_of
from sv_toolkit.ivector.ubm import (
    as_full,
    diagonal_step,
    floored,
    full_step,
    global_gaussian,
    split,
    train_diagonal,
    train_ubm,
    ubm_of_posteriors,
)

NO_FLOOR = np.full(3, 1e-6)


@pytest.fixture
def frames(rng):
    """Three clouds, one of them leaning."""
    lean = rng.standard_normal((200, 3)) @ np.array([[1, 0.8, 0], [0, 0.5, 0], [0, 0, 1]])
    return np.concatenate([lean, 0.5 * rng.standard_normal((150, 3)) + [3, 0, 0], rng.standard_normal((100, 3)) + [0, 4, -2]])


@pytest.fixture
def start(rng, frames):
    return DiagonalGmm(np.full(4, 0.25), frames[rng.choice(len(frames), 4, replace=False)], np.tile(frames.var(axis=0), (4, 1)))


def block_of(frames):
    return Block(["u"], [0], frames, None)


def diagonal_em(frames, gmm, floor=NO_FLOOR):
    statistics = statistics_of(block_of(frames), partial(align_diagonal, gmm), is_full=False)
    return diagonal_step(statistics, gmm, floor), statistics.mean_log_likelihood


def full_em(frames, gmm, floor=NO_FLOOR, num_selected=4, min_posterior=0.0):
    statistics = statistics_of(block_of(frames), partial(align_full, gmm, num_selected, min_posterior), is_full=True)
    return full_step(statistics, gmm, floor), statistics.mean_log_likelihood


def slow_step(frames, gmm):
    """EM by loops over Gaussians and frames: weights, means, covariances."""
    posteriors = []
    for frame in frames:
        densities = []
        for weight, mean, covariance in zip(gmm.weights, gmm.means, gmm.covariances):
            off = frame - mean
            densities.append(weight * np.exp(-0.5 * off @ np.linalg.inv(covariance) @ off) / np.sqrt(np.linalg.det(2 * np.pi * covariance)))
        posteriors.append(np.array(densities) / sum(densities))
    weights, means, covariances = [], [], []
    for component in range(len(gmm.weights)):
        share = np.array([p[component] for p in posteriors])
        mean = sum(s * x for s, x in zip(share, frames)) / share.sum()
        weights.append(share.mean())
        means.append(mean)
        covariances.append(sum(s * np.outer(x - mean, x - mean) for s, x in zip(share, frames)) / share.sum())
    return np.array(weights), np.array(means), np.array(covariances)


def test_a_step_agrees_with_the_definition(frames, start):
    weights, means, covariances = slow_step(frames, as_full(start))
    full, _ = full_em(frames, as_full(start))
    diagonal, _ = diagonal_em(frames, start)
    for made in (full, diagonal):
        assert made.weights == pytest.approx(weights, rel=1e-9)
        assert made.means == pytest.approx(means, rel=1e-9)
    assert full.covariances == pytest.approx(covariances, rel=1e-7, abs=1e-9)
    assert diagonal.variances == pytest.approx(np.diagonal(covariances, axis1=1, axis2=2), rel=1e-7)


@pytest.mark.parametrize("kind", ["diag", "full"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # it says that one step is not convergence
def test_a_step_agrees_with_scikit_learn(frames, start, kind):
    mixture = pytest.importorskip("sklearn.mixture")
    precisions = 1 / start.variances if kind == "diag" else np.stack([np.diag(1 / v) for v in start.variances])
    peer = mixture.GaussianMixture(
        4, covariance_type=kind, max_iter=1, reg_covar=0, weights_init=start.weights, means_init=start.means, precisions_init=precisions
    ).fit(frames)
    made = diagonal_em(frames, start)[0] if kind == "diag" else full_em(frames, as_full(start))[0]
    assert made.weights == pytest.approx(peer.weights_, rel=1e-9)
    assert made.means == pytest.approx(peer.means_, rel=1e-8)
    assert (made.variances if kind == "diag" else made.covariances) == pytest.approx(peer.covariances_, rel=1e-6, abs=1e-9)


def test_the_likelihood_never_decreases(frames, start):
    values, gmm = [], start
    for _ in range(15):
        gmm, value = diagonal_em(frames, gmm)
        values.append(value)
    full = as_full(gmm)
    for _ in range(15):
        full, value = full_em(frames, full)
        values.append(value)
    assert (np.diff(values) >= -1e-10).all()
    assert values[-1] > values[0] + 0.1


def test_variances_stay_above_their_floor(frames, start):
    floor = np.array([0.5, 2.0, 1.0])
    diagonal, _ = diagonal_em(frames, start, floor)
    assert (diagonal.variances >= floor).all()
    assert (diagonal.variances == floor).any()
    full, _ = full_em(frames, as_full(start), floor)
    scaled = full.covariances / np.sqrt(np.outer(floor, floor))
    assert np.linalg.eigvalsh(scaled).min() == pytest.approx(1)
    assert np.linalg.eigvalsh(scaled).max() > 1.1


def test_covariances_above_the_floor_stay_as_they_are(rng):
    root = rng.standard_normal((4, 3, 9))
    covariances = root @ root.transpose(0, 2, 1)
    assert floored(covariances, 0.01 * np.ones(3)) == pytest.approx(covariances)


def test_a_gaussian_that_nothing_meets_keeps_its_place(frames, start):
    lost = DiagonalGmm(start.weights, np.concatenate([start.means[:3], [[1e3, 1e3, 1e3]]]), start.variances)
    diagonal, _ = diagonal_em(frames, lost)
    full, _ = full_em(frames, as_full(lost))
    assert (diagonal.means[3] == 1e3).all()
    assert (full.covariances[3] == np.diag(start.variances[3])).all()
    assert 0 < full.weights[3] < 1e-6
    assert np.isfinite(full.log_likelihoods(frames)).all()


def test_splitting_keeps_weights_and_the_middle_of_each_pair(rng, start):
    uneven = DiagonalGmm(np.array([0.1, 0.4, 0.2, 0.3]), start.means, start.variances)
    made = split(uneven, 6, rng)
    assert made.weights == pytest.approx([0.1, 0.2, 0.2, 0.15, 0.2, 0.15])
    assert (made.means[1] + made.means[4]) / 2 == pytest.approx(start.means[1])
    assert np.abs(made.means[1] - made.means[4]) == pytest.approx(0.4 * np.sqrt(start.variances[1]))
    assert (made.means[[0, 2]] == start.means[[0, 2]]).all()


def test_one_gaussian_has_mean_and_variance_of_the_frames(frames, start):
    made = global_gaussian(statistics_of(block_of(frames), partial(align_diagonal, start), is_full=False))
    assert made.means[0] == pytest.approx(frames.mean(axis=0))
    assert made.variances[0] == pytest.approx(frames.var(axis=0))


@pytest.fixture
def source(data):
    opened.cache_clear()
    frames = opened(data, FrameConfig(delta_order=0, cmvn="none"), None)
    return Source(frames, frames.index.utterances)


@pytest.mark.parametrize("num_components", [1, 2, 5, 8])
def test_training_gives_the_number_of_gaussians_asked_for_and_a_likelihood_that_rises(source, caplog, num_components):
    config = UbmConfig(
        num_components=num_components, diagonal_iterations=4, full_iterations=5, num_selected=num_components, min_posterior=0.0
    )
    with caplog.at_level(logging.INFO, "sv_toolkit"):
        gmm = train_ubm(source, config)
    assert isinstance(gmm, FullGmm)
    assert gmm.means.shape == (num_components, 3)
    assert gmm.weights.sum() == pytest.approx(1)
    values = [float(value) for value in re.findall(r"full covariances.*likelihood (\S+)", caplog.text)]
    assert len(values) == 5
    assert (np.diff(values) >= -1e-4).all()  # as printed


def test_training_depends_on_the_seed_alone(source):
    config = UbmConfig(num_components=4, full_iterations=1)
    one, other = train_ubm(source, config), train_ubm(Source(source.frames, source.utterances, num_jobs=2), config)
    assert (one.covariances == other.covariances).all()
    assert (train_ubm(source, UbmConfig(num_components=4, full_iterations=1, seed=1)).means != one.means).any()


def test_more_gaussians_than_the_frames_can_bear_are_refused(source):
    with pytest.raises(DataError, match=r"frames are too few for 5000 Gaussians; choose a smaller num_components"):
        train_ubm(source, UbmConfig(num_components=5000))


def test_a_constant_column_is_refused(data):
    reader = ScpReader(data / "feats.scp")
    write_ark_scp(
        data, "feats", {key: np.hstack([reader.read(key), np.ones((reader.shape(key)[0], 1))]).astype(np.float32) for key in reader}
    )
    opened.cache_clear()
    frames = opened(data, FrameConfig(delta_order=0, cmvn="none"), None)
    with pytest.raises(DataError, match="column 3 .* is constant"):
        train_ubm(Source(frames, frames.index.utterances), UbmConfig(num_components=2))


def test_gaussians_of_given_posteriors_are_those_of_the_classes(data, tmp_path, rng):
    reader = ScpReader(data / "feats.scp")
    given = {key: np.eye(3, dtype=np.float32)[rng.integers(3, size=reader.shape(key)[0])] for key in reader}
    opened.cache_clear()
    frames = opened(data, FrameConfig(delta_order=0, cmvn="none", use_vad=False), write_ark_scp(tmp_path, "post", given))
    source = Source(frames, frames.index.utterances)
    gmm = ubm_of_posteriors(source, UbmConfig(num_components=3))
    together, labels = (
        np.concatenate([table[key] if isinstance(table, dict) else table.read(key) for key in reader]) for table in (reader, given)
    )
    for component in range(3):
        own = together[labels[:, component] == 1].astype(np.float64)
        assert gmm.means[component] == pytest.approx(own.mean(axis=0))
        assert gmm.covariances[component] == pytest.approx(np.cov(own.T, bias=True), rel=1e-6, abs=1e-6)
    with pytest.raises(ConfigError, match="the posteriors have 3 columns, num_components is 64; give --num-components 3"):
        ubm_of_posteriors(source, UbmConfig())


def test_diagonal_covariances_stay_as_the_diagonal_iterations_left_them(source):
    config = UbmConfig(num_components=4, covariance="diagonal")
    gmm, (diagonal, _) = train_ubm(source, config), train_diagonal(source, config)
    assert (gmm.covariances == as_full(diagonal).covariances).all()
    assert (gmm.means == diagonal.means).all()


def test_diagonal_gaussians_of_given_posteriors_have_the_variances_of_the_classes(data, tmp_path, rng):
    reader = ScpReader(data / "feats.scp")
    given = {key: np.eye(2, dtype=np.float32)[rng.integers(2, size=reader.shape(key)[0])] for key in reader}
    opened.cache_clear()
    frames = opened(data, FrameConfig(delta_order=0, cmvn="none", use_vad=False), write_ark_scp(tmp_path, "post", given))
    gmm = ubm_of_posteriors(Source(frames, frames.index.utterances), UbmConfig(num_components=2, covariance="diagonal"))
    together = np.concatenate([reader.read(key) for key in reader])
    labels = np.concatenate([given[key] for key in reader])[:, 1]
    for component in range(2):
        expected = np.diag(together[labels == component].var(axis=0, dtype=np.float64))
        assert gmm.covariances[component] == pytest.approx(expected, rel=1e-5)
