"""PLDA against dense Gaussian densities, against known parameters, and EM against what is known without it."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.backends.plda import (
    Covariances,
    SimplifiedConfig,
    SimplifiedPlda,
    Subspace,
    TwoCovarianceConfig,
    TwoCovariancePlda,
    em_step,
    moments,
    subspace_em_step,
)
from sv_toolkit.backends.plda_scoring import DiagonalPlda
from sv_toolkit.backends.statistics import speaker_statistics
from sv_toolkit.errors import ConfigError, DataError

DIM = 4
KINDS = pytest.mark.parametrize("make", [TwoCovariancePlda, SimplifiedPlda], ids=["two-covariance", "simplified"])


def random_covariance(rng, dim=DIM, rank=None):
    root = rng.normal(size=(dim, rank or dim))
    return root @ root.T + (0.1 * np.eye(dim) if rank is None else 0)


def simulate(rng, mean, within, between, counts):
    """Vectors of the two-covariance model and their speakers."""
    roots = [np.linalg.cholesky(c + 1e-12 * np.eye(len(c))) for c in (within, between)]
    speakers = np.repeat(np.arange(len(counts)), counts)
    voices = mean + rng.normal(size=(len(counts), len(mean))) @ roots[1].T
    return voices[speakers] + rng.normal(size=(len(speakers), len(mean))) @ roots[0].T, speakers.astype(str)


def joint_log_density(vectors, mean, within, between):
    """Of all utterances of one speaker, as one Gaussian of `num_utterances * dim` values."""
    n, dim = vectors.shape
    covariance = np.kron(np.ones((n, n)), between) + np.kron(np.eye(n), within)
    offset = (vectors - mean).ravel()
    return -0.5 * (n * dim * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1] + offset @ np.linalg.solve(covariance, offset))


def slow_llr(enrolled, test, mean, within, between):
    """Everything by one speaker, against the test utterance by another."""
    together = joint_log_density(np.vstack([enrolled, test]), mean, within, between)
    return together - joint_log_density(enrolled, mean, within, between) - joint_log_density(test[None], mean, within, between)


def slow_log_likelihood(vectors, speakers, mean, within, between):
    return sum(joint_log_density(vectors[speakers == name], mean, within, between) for name in np.unique(speakers))


@pytest.mark.parametrize("rank", [None, 2], ids=["full rank", "subspace"])
def test_the_llr_is_the_ratio_of_joint_gaussian_densities(rng, rank):
    """One to four enrollment utterances, stacked with the test utterance under both hypotheses."""
    mean, within, between = rng.normal(size=DIM), random_covariance(rng), random_covariance(rng, rank=rank)
    model = DiagonalPlda.from_covariances(mean, within, between)
    counts = [1, 3, 2, 1, 4]
    enrolled = [3 * rng.normal(size=(n, DIM)) for n in counts]
    test = 3 * rng.normal(size=(6, DIM))
    enroll_index, test_index = np.divmod(rng.permutation(30), 6)
    projected = model.project(np.stack([group.mean(axis=0) for group in enrolled]))
    scores = model.llr(projected, np.array(counts), model.project(test), enroll_index, test_index)
    expected = [slow_llr(enrolled[i], test[j], mean, within, between) for i, j in zip(enroll_index, test_index)]
    np.testing.assert_allclose(scores, expected, atol=1e-8, rtol=0)


def test_two_single_utterances_score_the_same_either_way_round(rng):
    model = DiagonalPlda.from_covariances(rng.normal(size=DIM), random_covariance(rng), random_covariance(rng))
    one, other, rows = model.project(rng.normal(size=(7, DIM))), model.project(rng.normal(size=(7, DIM))), np.arange(7)
    ones = np.ones(7)
    np.testing.assert_allclose(model.llr(one, ones, other, rows, rows), model.llr(other, ones, one, rows, rows), atol=1e-10)


def test_many_utterances_are_not_scored_as_one_average(rng):
    model = DiagonalPlda.from_covariances(np.zeros(DIM), np.eye(DIM), np.eye(DIM))
    u, t, row = np.ones((1, DIM)), np.ones((1, DIM)), np.zeros(1, int)
    scores = [model.llr(u, np.array([n]), t, row, row)[0] for n in (1, 2, 10)]
    assert scores[0] < scores[1] < scores[2]


def test_the_llr_does_not_change_when_the_space_is_mapped(rng):
    """Affine maps of vectors and model together leave every ratio of densities alone."""
    mean, within, between = rng.normal(size=DIM), random_covariance(rng), random_covariance(rng)
    shift, turn = rng.normal(size=DIM), rng.normal(size=(DIM, DIM))
    enroll, test, rows = rng.normal(size=(5, DIM)), rng.normal(size=(5, DIM)), np.arange(5)
    model = DiagonalPlda.from_covariances(mean, within, between)
    mapped = DiagonalPlda.from_covariances(turn @ mean + shift, turn @ within @ turn.T, turn @ between @ turn.T)
    scores = model.llr(model.project(enroll), rows + 1, model.project(test), rows, rows)
    others = mapped.llr(mapped.project(enroll @ turn.T + shift), rows + 1, mapped.project(test @ turn.T + shift), rows, rows)
    np.testing.assert_allclose(scores, others, atol=1e-8)


def test_the_diagonal_form_gives_its_covariances_back(rng):
    mean, within, between = rng.normal(size=DIM), random_covariance(rng), random_covariance(rng, rank=2)
    model = DiagonalPlda.from_covariances(mean, within, between)
    np.testing.assert_allclose(model.covariances()[0], within, atol=1e-9)
    np.testing.assert_allclose(model.covariances()[1], between, atol=1e-9)
    assert np.all(np.diff(model.psi) <= 0)
    assert model.psi.min() >= 0


@pytest.mark.parametrize("length", ["model", "sqrt-dim"])
def test_projected_vectors_get_the_length_that_is_asked_for(rng, length):
    """Kaldi's two normalisations, by the row."""
    model = DiagonalPlda.from_covariances(rng.normal(size=DIM), random_covariance(rng), random_covariance(rng))
    counts = np.array([1, 2, 5])
    for row, n in zip(model.project(rng.normal(size=(3, DIM)), counts, length), counts):
        expected = model.psi + 1 / n if length == "model" else np.ones(DIM)
        assert row @ np.diag(1 / expected) @ row == pytest.approx(DIM)


def test_an_unknown_length_and_a_vector_without_direction_are_refused(rng):
    model = DiagonalPlda.from_covariances(np.ones(DIM), np.eye(DIM), np.eye(DIM))
    with pytest.raises(ConfigError, match="none, model, sqrt-dim, got 'kaldi'"):
        model.project(np.zeros((1, DIM)), 1, "kaldi")
    with pytest.raises(DataError, match="row 1 of the vectors equals the mean"):
        model.project(np.array([[2.0] * DIM, [1.0] * DIM]), 1, "model")
    with pytest.raises(DataError, match="takes vectors of 4 dimensions"):
        model.project(np.zeros((1, 3)))


@KINDS
def test_the_log_likelihood_never_decreases(rng, make):
    mean, within, between = rng.normal(size=DIM), random_covariance(rng), random_covariance(rng, rank=2)
    data = simulate(rng, mean, within, between, rng.integers(1, 9, size=60))
    config = TwoCovarianceConfig(60) if make is TwoCovariancePlda else SimplifiedConfig(60, 2)
    steps = np.diff(make(config).fit(*data).log_likelihoods)
    assert len(steps) == 60
    assert steps.min() >= -1e-12
    assert steps[0] > 1e-6


@KINDS
@pytest.mark.parametrize("num_iterations", [0, 3])
def test_the_log_likelihood_is_that_of_the_joint_densities(rng, make, num_iterations):
    mean, within, between = rng.normal(size=DIM), random_covariance(rng), random_covariance(rng)
    vectors, speakers = simulate(rng, mean, within, between, rng.integers(1, 6, size=12))
    config = TwoCovarianceConfig(num_iterations) if make is TwoCovariancePlda else SimplifiedConfig(num_iterations, 2)
    model = make(config).fit(vectors, speakers)
    expected = slow_log_likelihood(vectors, speakers, model.mean_, *model.covariances()) / len(vectors)
    assert model.log_likelihoods[-1] == pytest.approx(expected, abs=1e-9)


def test_balanced_data_have_their_maximum_in_closed_form(rng):
    """EM from elsewhere arrives where the moments are, and does not leave them."""
    data = simulate(rng, rng.normal(size=DIM), random_covariance(rng), 2 * random_covariance(rng), [6] * 40)
    stats = speaker_statistics(*data)
    closed = moments(stats)
    means = stats.means - stats.means.mean(axis=0)
    np.testing.assert_allclose(closed.within, stats.within_scatter / (40 * 5), rtol=1e-12)
    np.testing.assert_allclose(closed.between, means.T @ means / 40 - closed.within / 6, atol=1e-12)
    for ours, theirs in zip(em_step(stats, closed)[0], closed):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)
    model = Covariances(np.zeros(DIM), np.eye(DIM), np.eye(DIM))
    for _ in range(400):
        model, _ = em_step(stats, model)
    for ours, theirs in zip(model, closed):
        np.testing.assert_allclose(ours, theirs, atol=1e-8)


def test_a_full_subspace_is_the_two_covariance_model(rng):
    """With as many columns as dimensions both families are one, and so are their maxima."""
    data = simulate(rng, rng.normal(size=2), random_covariance(rng, 2), 2 * random_covariance(rng, 2), rng.integers(2, 9, size=50))
    one = TwoCovariancePlda(TwoCovarianceConfig(300)).fit(*data)
    other = SimplifiedPlda(SimplifiedConfig(300)).fit(*data)
    assert one.log_likelihoods[-1] == pytest.approx(other.log_likelihoods[-1], abs=1e-9)
    np.testing.assert_allclose(one.covariances(), other.covariances(), atol=1e-5)
    np.testing.assert_allclose(one.mean_, other.mean_, atol=1e-5)


def slow_kaldi_iteration(vectors, speakers, within, between):
    """One update by speaker, with inverses, the mean over speakers' means held: the algorithm family of Kaldi."""
    groups = [vectors[speakers == name] for name in np.unique(speakers)]
    mean = np.mean([group.mean(axis=0) for group in groups], axis=0)
    within_sum, between_sum = np.zeros_like(within), np.zeros_like(between)
    for group in groups:
        n, m = len(group), group.mean(axis=0) - mean
        posterior = np.linalg.inv(np.linalg.inv(between) + n * np.linalg.inv(within))
        w = posterior @ (n * np.linalg.inv(within) @ m)
        between_sum += posterior + np.outer(w, w)
        within_sum += n * (posterior + np.outer(m - w, m - w))
        within_sum += (group - group.mean(axis=0)).T @ (group - group.mean(axis=0))
    return mean, within_sum / len(vectors), between_sum / len(groups)


def test_one_iteration_is_the_update_by_speakers_with_inverses(rng):
    vectors, speakers = simulate(rng, rng.normal(size=DIM), random_covariance(rng), random_covariance(rng), rng.integers(1, 7, size=20))
    stats = speaker_statistics(vectors, speakers)
    within, between = random_covariance(rng), random_covariance(rng)
    expected = slow_kaldi_iteration(vectors, speakers, within, between)
    updated, _ = em_step(stats, Covariances(stats.means.mean(axis=0), within, between), estimate_mean=False)
    for ours, theirs in zip(updated, expected):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_an_iteration_moves_the_mean_to_that_of_the_posteriors(rng):
    """From a mean far off: the speakers' posteriors are Gaussians of their own, and mean and B are their moments."""
    vectors, speakers = simulate(rng, rng.normal(size=DIM), random_covariance(rng), random_covariance(rng), rng.integers(1, 7, size=20))
    mean, within, between = 3 * rng.normal(size=DIM), random_covariance(rng), random_covariance(rng)
    centers, spreads, within_sum = [], [], 0
    for name in np.unique(speakers):
        group = vectors[speakers == name]
        spreads.append(np.linalg.inv(np.linalg.inv(between) + len(group) * np.linalg.inv(within)))
        centers.append(spreads[-1] @ (np.linalg.solve(between, mean) + np.linalg.solve(within, group.sum(axis=0))))
        within_sum = within_sum + len(group) * spreads[-1] + (group - centers[-1]).T @ (group - centers[-1])
    updated, _ = em_step(speaker_statistics(vectors, speakers), Covariances(mean, within, between))
    np.testing.assert_allclose(updated.mean, np.mean(centers, axis=0), atol=1e-9)
    np.testing.assert_allclose(updated.between, np.mean(spreads, axis=0) + np.cov(np.array(centers).T, bias=True), atol=1e-9)
    np.testing.assert_allclose(updated.within, within_sum / len(vectors), atol=1e-9)


def test_one_subspace_iteration_is_the_regression_on_posterior_moments(rng):
    """Moments of `h` and 1 by speaker, the normal equations, and the prior moved to the posteriors."""
    vectors, speakers = simulate(rng, rng.normal(size=DIM), random_covariance(rng), random_covariance(rng), rng.integers(1, 7, size=20))
    mean, within, loading = rng.normal(size=DIM), random_covariance(rng), rng.normal(size=(DIM, 2))
    precision = np.linalg.inv(within)
    second, cross, total = np.zeros((3, 3)), np.zeros((DIM, 3)), vectors.T @ vectors
    firsts, seconds = [], []
    for name in np.unique(speakers):
        group = vectors[speakers == name]
        covariance = np.linalg.inv(np.eye(2) + len(group) * loading.T @ precision @ loading)
        first = covariance @ loading.T @ precision @ (group - mean).sum(axis=0)
        augmented = np.append(first, 1)
        moment = np.outer(augmented, augmented)
        moment[:2, :2] += covariance
        second += len(group) * moment
        cross += np.outer(group.sum(axis=0), augmented)
        firsts.append(first)
        seconds.append(moment[:2, :2])
    regressed = cross @ np.linalg.inv(second)
    center = np.mean(firsts, axis=0)
    prior = np.mean(seconds, axis=0) - np.outer(center, center)
    updated, _ = subspace_em_step(speaker_statistics(vectors, speakers), Subspace(mean, within, loading))
    np.testing.assert_allclose(updated.mean, regressed[:, 2] + regressed[:, :2] @ center, atol=1e-9)
    np.testing.assert_allclose(updated.within, (total - regressed @ cross.T) / len(vectors), atol=1e-9)
    np.testing.assert_allclose(updated.loading @ updated.loading.T, regressed[:, :2] @ prior @ regressed[:, :2].T, atol=1e-9)


@KINDS
def test_known_parameters_are_recovered(rng, make):
    mean, within, between = rng.normal(size=3), random_covariance(rng, 3), 4 * random_covariance(rng, 3, rank=2)
    data = simulate(rng, mean, within, between, rng.integers(2, 10, size=4000))
    config = TwoCovarianceConfig(30) if make is TwoCovariancePlda else SimplifiedConfig(30, 2)
    model = make(config).fit(*data)
    scale = np.sqrt(np.trace(between))
    np.testing.assert_allclose(model.covariances()[0], within, atol=0.05 * np.trace(within))
    np.testing.assert_allclose(model.covariances()[1], between, atol=0.1 * np.trace(between))
    np.testing.assert_allclose(model.mean_, mean, atol=0.1 * scale)


def test_llrs_of_simulated_trials_are_calibrated(rng):
    """The mean of exp(-llr) over targets is 1 where the llr is the ratio of the densities that made the trials."""
    mean, within, between = np.zeros(2), np.eye(2), 0.5 * np.eye(2)
    vectors, _ = simulate(rng, mean, within, between, [2] * 20_000)
    model = DiagonalPlda.from_covariances(mean, within, between)
    rows = np.arange(20_000)
    scores = model.llr(model.project(vectors[::2]), np.ones(20_000), model.project(vectors[1::2]), rows, rows)
    assert np.mean(np.exp(-scores)) == pytest.approx(1, abs=0.05)


@KINDS
def test_too_few_utterances_for_the_dimensions_are_refused_with_the_way_out(rng, make):
    vectors, speakers = rng.normal(size=(8, 6)), np.repeat(["a", "b", "c", "d"], 2)
    with pytest.raises(DataError, match="has rank 4; reduce to at most 4 dimensions by LDA"):
        make().fit(vectors, speakers)


@KINDS
def test_speakers_within_whom_nothing_varies_are_refused(make):
    with pytest.raises(DataError, match="of each of 2 speakers are all the same"):
        make().fit(np.array([[1.0], [1.0], [-1.0], [-1.0]]), ["a", "a", "b", "b"])


def test_a_subspace_larger_than_the_speakers_span_is_refused(rng):
    with pytest.raises(DataError, match="subspace of 3 dimensions: 3 speakers of 4 dimensions span 2"):
        SimplifiedPlda(SimplifiedConfig(speaker_dim=3)).fit(rng.normal(size=(60, 4)), np.repeat(["a", "b", "c"], 20))
