"""Centroids, cosines and maps agree with their slow definitions."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.reporting import projection
from sv_toolkit.reporting.projection import centroids, impostor_cosines, principal_axes, tsne, unit_rows

EDGES = np.linspace(-1, 1, 41)


@pytest.fixture
def spoken(rng):
    """Five speakers, twelve embeddings each, well apart."""
    means = np.repeat(rng.normal(size=(5, 16)), 12, axis=0)
    speakers = [f"s{i // 12}" for i in range(60)]
    order = rng.permutation(60)
    return (means + 0.3 * rng.normal(size=(60, 16)))[order], [speakers[i] for i in order]


def test_centroids_are_means_of_directions(spoken):
    vectors, speakers = spoken
    found = centroids(vectors, speakers)
    assert found.speakers == ["s0", "s1", "s2", "s3", "s4"]
    for place, speaker in enumerate(found.speakers):
        own = [vector / np.linalg.norm(vector) for vector, name in zip(vectors, speakers) if name == speaker]
        mean = np.mean(own, axis=0)
        assert np.allclose(found.vectors[place], mean / np.linalg.norm(mean), atol=1e-12)


def test_the_scale_of_an_embedding_does_not_matter(spoken, rng):
    vectors, speakers = spoken
    scaled = vectors * rng.uniform(0.1, 10, size=(len(vectors), 1))
    assert np.allclose(centroids(vectors, speakers).vectors, centroids(scaled, speakers).vectors, atol=1e-12)


@pytest.mark.parametrize("block", [2, 1000])
def test_impostor_cosines_are_those_of_all_pairs(rng, monkeypatch, block):
    monkeypatch.setattr(projection, "BLOCK", block)
    vectors = unit_rows(rng.normal(size=(7, 5)))
    pairs = [float(vectors[i] @ vectors[j]) for i in range(7) for j in range(i)]
    density, mean, count = impostor_cosines(vectors, EDGES)
    assert np.allclose(density, np.histogram(pairs, EDGES, density=True)[0])
    assert np.isclose(mean, np.mean(pairs))
    assert count == 21
    assert np.isclose(np.sum(density * np.diff(EDGES)), 1)


def test_one_speaker_has_no_impostor():
    with pytest.raises(ValueError, match="two"):
        impostor_cosines(np.ones((1, 3)), EDGES)


def test_principal_axes_are_eigenvectors_of_the_covariance(rng):
    vectors = rng.normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1] + 2
    mean, axes, shares = principal_axes(vectors)
    values, rows = np.linalg.eigh(np.cov(vectors.T))
    assert np.allclose(mean, vectors.mean(axis=0))
    assert np.allclose(np.abs(axes @ rows[:, [-1, -2]]), np.eye(2), atol=1e-8)
    assert np.allclose(shares, values[[-1, -2]] / values.sum())
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in axes)


def test_tsne_affinities_have_the_perplexity(rng):
    distances = projection._squared_distances(rng.normal(size=(40, 5)))
    joint = projection._affinities(distances, 10.0)
    assert np.isclose(joint.sum(), 1, atol=1e-6)
    assert np.allclose(joint, joint.T)


def test_the_slope_of_tsne_is_that_of_the_divergence(rng):
    wanted = projection._affinities(projection._squared_distances(rng.normal(size=(8, 4))), 2.0)
    places = rng.normal(size=(8, 2))

    def divergence(points):
        closeness = 1 / (1 + ((points[:, None] - points) ** 2).sum(axis=-1))
        np.fill_diagonal(closeness, 0)
        shares = closeness / closeness.sum()
        off = ~np.eye(8, dtype=bool)
        return float(np.sum(wanted[off] * np.log(wanted[off] / shares[off])))

    slope, step = projection._slope(places, wanted), 1e-6
    for i, j in np.ndindex(places.shape):
        moved = [places.copy(), places.copy()]
        moved[0][i, j] += step
        moved[1][i, j] -= step
        assert np.isclose(slope[i, j], (divergence(moved[0]) - divergence(moved[1])) / (2 * step), atol=1e-7)


def spread(seed, num_speakers, num_each):
    """Speakers well apart, and who speaks."""
    rng = np.random.default_rng(seed)
    means = np.repeat(rng.normal(size=(num_speakers, 16)), num_each, axis=0)
    return means + 0.3 * rng.normal(size=means.shape), np.repeat(np.arange(num_speakers), num_each)


@pytest.mark.parametrize("size", [(5, 12), (10, 6), (4, 4)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_tsne_keeps_speakers_together_and_draws_nothing_at_random(seed, size):
    vectors, speakers = spread(seed, *size)
    places = tsne(unit_rows(vectors))
    distances = ((places[:, None] - places) ** 2).sum(axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    assert all(speakers[i] == speakers[j] for i, j in enumerate(nearest))
    assert np.array_equal(places, tsne(unit_rows(vectors)))


def test_equal_points_are_mapped():
    assert np.isfinite(tsne(np.ones((6, 3)))).all()
