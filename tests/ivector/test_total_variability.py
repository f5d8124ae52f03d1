"""Total variability: the closed form of a Gaussian, the likelihood that never decreases, and simulated data."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.ivector.gmm import FullGmm
from sv_toolkit.ivector.total_variability import TotalVariability, expectations, gram, initial, maximization, posterior, whiten

COMPONENTS, DIM, SIZE = 3, 4, 2


def make_gmm(rng):
    roots = rng.standard_normal((COMPONENTS, DIM, 3 * DIM))
    covariances = roots @ roots.transpose(0, 2, 1) / (3 * DIM)
    return FullGmm(np.full(COMPONENTS, 1 / COMPONENTS), 3 * rng.standard_normal((COMPONENTS, DIM)), covariances)


def make_model(rng, size=SIZE):
    return TotalVariability(0.7 * rng.standard_normal((COMPONENTS, DIM, size)), 0.3 * rng.standard_normal((COMPONENTS, DIM)))


def simulate(rng, model, num_utterances, num_frames):
    """Whitened statistics of utterances drawn from the model itself, and the i-vectors they were drawn with."""
    counts, sums, truth = [], [], rng.standard_normal((num_utterances, model.ivector_dim))
    for w in truth:
        labels = rng.integers(COMPONENTS, size=num_frames)
        frames = model.offsets[labels] + model.matrix[labels] @ w + rng.standard_normal((num_frames, DIM))
        counts.append(np.bincount(labels, minlength=COMPONENTS))
        sums.append([frames[labels == c].sum(axis=0) for c in range(COMPONENTS)])
    return np.array(counts, float), np.array(sums), truth


def log_gaussian(x, mean, covariance):
    off = x - mean
    return -0.5 * (off @ np.linalg.solve(covariance, off) + np.linalg.slogdet(2 * np.pi * covariance)[1])


def test_the_posterior_agrees_with_the_closed_form_of_one_large_gaussian(rng):
    """All frames stacked are jointly Gaussian with w; nothing of EM or of statistics is in this formula."""
    gmm, model = make_gmm(rng), make_model(rng)
    labels = rng.integers(COMPONENTS, size=9)
    roots = np.linalg.cholesky(gmm.covariances)
    frames = gmm.means[labels] + rng.standard_normal((9, DIM))
    load = np.concatenate([roots[c] @ model.matrix[c] for c in labels])  # back to the units of the frames
    mean = np.concatenate([gmm.means[c] + roots[c] @ model.offsets[c] for c in labels])
    noise = np.zeros((9 * DIM, 9 * DIM))
    for t, c in enumerate(labels):
        noise[t * DIM : (t + 1) * DIM, t * DIM : (t + 1) * DIM] = gmm.covariances[c]
    total = load @ load.T + noise
    x = frames.reshape(-1)
    expected_mean = load.T @ np.linalg.solve(total, x - mean)
    expected_covariance = np.eye(SIZE) - load.T @ np.linalg.solve(total, load)
    unshifted = np.concatenate([gmm.means[c] for c in labels])

    counts = np.bincount(labels, minlength=COMPONENTS)[None].astype(float)
    sums = np.stack([frames[labels == c].sum(axis=0) for c in range(COMPONENTS)])[None]
    found = posterior(counts, whiten(counts, sums, gmm), model, gram(model))
    assert found.means[0] == pytest.approx(expected_mean, abs=1e-8)
    assert np.linalg.inv(found.precisions[0]) == pytest.approx(expected_covariance, abs=1e-8)
    assert found.log_marginals[0] == pytest.approx(log_gaussian(x, mean, total) - log_gaussian(x, unshifted, noise), abs=1e-8)


def test_without_frames_nothing_is_known(rng):
    model = make_model(rng)
    found = posterior(np.zeros((1, COMPONENTS)), np.zeros((1, COMPONENTS, DIM)), model, gram(model))
    assert (found.means == 0).all()
    assert (found.precisions[0] == np.eye(SIZE)).all()
    assert found.log_marginals[0] == 0


def test_utterances_do_not_depend_on_each_other(rng):
    model = make_model(rng)
    counts, sums, _ = simulate(rng, model, 6, 20)
    together = posterior(counts, sums, model, gram(model)).means
    alone = [posterior(counts[i : i + 1], sums[i : i + 1], model, gram(model)).means[0] for i in range(6)]
    assert together == pytest.approx(np.array(alone), rel=1e-10)


def test_expectations_agree_with_loops(rng):
    model = make_model(rng)
    counts, sums, _ = simulate(rng, model, 5, 12)
    made = expectations(counts, sums, model, gram(model))
    second, cross = np.zeros((COMPONENTS, SIZE, SIZE)), np.zeros((COMPONENTS, DIM, SIZE))
    for count, total in zip(counts, sums):
        precision = np.eye(SIZE) + sum(n * t.T @ t for n, t in zip(count, model.matrix))
        shifted = total - count[:, None] * model.offsets
        mean = np.linalg.inv(precision) @ sum(t.T @ f for t, f in zip(model.matrix, shifted))
        moment = np.linalg.inv(precision) + np.outer(mean, mean)
        for c in range(COMPONENTS):
            second[c] += count[c] * moment
            cross[c] += np.outer(shifted[c], mean)
    assert made.second == pytest.approx(second, rel=1e-9)
    assert made.cross == pytest.approx(cross, rel=1e-9)
    assert made.counts == pytest.approx(counts.sum(axis=0))


def test_sums_over_parts_are_those_of_the_whole(rng):
    model = make_model(rng)
    counts, sums, _ = simulate(rng, model, 7, 12)
    whole = expectations(counts, sums, model, gram(model))
    parts = expectations(counts[:3], sums[:3], model, gram(model)) + expectations(counts[3:], sums[3:], model, gram(model))
    for name in ("counts", "second", "cross", "mean", "moment", "log_marginal", "num_utterances"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-10), name


def train(counts, sums, model, num_iterations, minimum_divergence):
    values = []
    for _ in range(num_iterations):
        expected = expectations(counts, sums, model, gram(model))
        values.append(expected.log_marginal)
        model = maximization(expected, model, minimum_divergence)
    return model, values


@pytest.mark.parametrize("minimum_divergence", [False, True])
@pytest.mark.parametrize("size", [1, SIZE, 5])
def test_the_marginal_likelihood_never_decreases(rng, minimum_divergence, size):
    counts, sums, _ = simulate(rng, make_model(rng), 40, 25)
    start = initial(COMPONENTS, DIM, size, rng)
    _, values = train(counts, sums, start, 25, minimum_divergence)
    assert (np.diff(values) >= -1e-8 * np.abs(values[-1])).all()
    assert values[-1] > values[0] + 10


def test_minimum_divergence_is_ahead_from_the_start(rng):
    counts, sums, _ = simulate(rng, make_model(rng), 100, 25)
    start = initial(COMPONENTS, DIM, SIZE, rng)
    with_it, without = (train(counts, sums, start, 8, choice)[1] for choice in (True, False))
    assert with_it[-1] > without[-1]


def test_minimum_divergence_makes_the_i_vectors_standard_normal(rng):
    counts, sums, _ = simulate(rng, make_model(rng), 400, 30)
    model, _ = train(counts, sums, initial(COMPONENTS, DIM, SIZE, rng), 60, True)
    expected = expectations(counts, sums, model, gram(model))
    assert expected.mean / 400 == pytest.approx(np.zeros(SIZE), abs=1e-3)
    assert expected.moment / 400 == pytest.approx(np.eye(SIZE), abs=1e-2)


def test_the_subspace_that_data_were_drawn_from_is_found(rng):
    truth = make_model(rng)
    truth = TotalVariability(truth.matrix, truth.matrix @ [0.5, -0.3])  # offsets are looked for among the shifts that i-vectors make
    counts, sums, ivectors = simulate(rng, truth, 1500, 60)
    model, _ = train(counts, sums, initial(COMPONENTS, DIM, SIZE, rng), 40, True)
    own, found = truth.matrix.reshape(-1, SIZE), model.matrix.reshape(-1, SIZE)
    assert found @ found.T == pytest.approx(own @ own.T, rel=0.08, abs=0.08)  # the matrix itself is known up to a rotation
    cosines = np.linalg.svd(np.linalg.qr(own)[0].T @ np.linalg.qr(found)[0])[1]
    assert cosines.min() > 0.995
    assert model.offsets == pytest.approx(truth.offsets, abs=0.08)
    means = posterior(counts, sums, model, gram(model)).means
    rotation = np.linalg.lstsq(means, ivectors, rcond=None)[0]
    assert np.corrcoef((means @ rotation).ravel(), ivectors.ravel())[0, 1] > 0.97


def test_a_gaussian_that_nobody_meets_keeps_its_part_of_the_matrix(rng):
    model = make_model(rng)
    counts, sums, _ = simulate(rng, model, 20, 25)
    counts[:, 1], sums[:, 1] = 0, 0
    made = maximization(expectations(counts, sums, model, gram(model)), model, False)
    assert (made.matrix[1] == model.matrix[1]).all()
    assert (made.matrix[0] != model.matrix[0]).any()


def test_whitened_statistics_are_those_of_whitened_frames(rng):
    gmm, frames = make_gmm(rng), rng.standard_normal((5, DIM))
    counts, sums = np.array([[0.0, 5.0, 0.0]]), np.zeros((1, COMPONENTS, DIM))
    sums[0, 1] = frames.sum(axis=0)
    root = np.linalg.cholesky(gmm.covariances[1])
    expected = sum(np.linalg.solve(root, frame - gmm.means[1]) for frame in frames)
    assert whiten(counts, sums, gmm)[0] == pytest.approx(np.array([np.zeros(DIM), expected, np.zeros(DIM)]), abs=1e-10)
