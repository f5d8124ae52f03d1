"""Transforms: what they make of the statistics of their training data, agreement with a reference, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.backends.covariance import diagonalize_both, oracle_shrinkage, shrink
from sv_toolkit.backends.transforms import (
    Center,
    Lda,
    LdaConfig,
    LengthNorm,
    LengthNormConfig,
    Pipeline,
    Whiten,
    WhitenConfig,
)
from sv_toolkit.errors import ConfigError, DataError, ModelError

DIM, NUM_SPEAKERS = 6, 5


@pytest.fixture
def data(rng):
    speakers = rng.permutation(np.repeat(np.arange(NUM_SPEAKERS), 12))
    voices = 2 * rng.normal(size=(NUM_SPEAKERS, DIM))
    return 4 + voices[speakers] + rng.normal(size=(len(speakers), DIM)) @ rng.normal(size=(DIM, DIM)), speakers.astype(str)


def within_between(vectors, speakers):
    means = {name: vectors[speakers == name].mean(axis=0) for name in np.unique(speakers)}
    own = np.array([means[name] for name in speakers])
    offsets, own = vectors - own, own - vectors.mean(axis=0)
    return offsets.T @ offsets / (len(vectors) - len(means)), own.T @ own / len(vectors)


def test_centered_vectors_have_no_mean(data):
    np.testing.assert_allclose(Center().fit(data[0]).transform(data[0]).mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("kind", ["zca", "pca"])
def test_whitened_vectors_have_unit_covariance(data, kind):
    white = Whiten(WhitenConfig(kind)).fit(data[0]).transform(data[0])
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(DIM), atol=1e-10)


def test_zca_is_symmetric_and_pca_puts_most_variance_first(data):
    zca, pca = (Whiten(WhitenConfig(kind)).fit(data[0]).projection_ for kind in ("zca", "pca"))
    np.testing.assert_allclose(zca, zca.T, atol=1e-12)
    variances = 1 / np.sum(pca**2, axis=1)
    np.testing.assert_allclose(variances, np.linalg.eigvalsh(np.cov(data[0].T, bias=True))[::-1], rtol=1e-9)


def test_full_shrinkage_whitens_by_one_number(data):
    projection = Whiten(WhitenConfig(shrinkage=1.0)).fit(data[0]).projection_
    np.testing.assert_allclose(projection, np.eye(DIM) / np.sqrt(np.trace(np.cov(data[0].T, bias=True)) / DIM), atol=1e-12)


def test_lda_makes_within_unit_and_between_diagonal_and_falling(data):
    projected = Lda(LdaConfig(shrinkage=0.0)).fit(*data).transform(data[0])
    assert projected.shape == (60, NUM_SPEAKERS - 1)
    within, between = within_between(projected, data[1])
    np.testing.assert_allclose(within, np.eye(NUM_SPEAKERS - 1), atol=1e-9)
    np.testing.assert_allclose(between, np.diag(np.diag(between)), atol=1e-9)
    assert np.all(np.diff(np.diag(between)) < 0)


def test_lda_finds_the_subspace_of_the_reference(data):
    """Scikit-learn's, by another algorithm: each of our directions is one of theirs."""
    discriminant = pytest.importorskip("sklearn.discriminant_analysis").LinearDiscriminantAnalysis(solver="svd")
    theirs = discriminant.fit(*data).transform(data[0])
    ours = Lda(LdaConfig(shrinkage=0.0)).fit(*data).transform(data[0])
    correlation = np.corrcoef(ours.T, theirs.T)[: NUM_SPEAKERS - 1, NUM_SPEAKERS - 1 :]
    np.testing.assert_allclose(np.abs(np.diag(correlation)), 1, atol=1e-9)


def test_the_first_lda_direction_separates_better_than_any_other(data, rng):
    within, between = within_between(*data)
    best = Lda(LdaConfig(1, 0.0)).fit(*data).projection_[0]
    others = rng.normal(size=(500, DIM))
    ratios = np.einsum("ij,jk,ik->i", others, between, others) / np.einsum("ij,jk,ik->i", others, within, others)
    assert best @ between @ best / (best @ within @ best) > ratios.max()


def test_lda_separates_the_same_after_an_invertible_map(data, rng):
    """Without shrinkage directions follow the space, up to sign."""
    turn = rng.normal(size=(DIM, DIM))
    ours = Lda(LdaConfig(shrinkage=0.0)).fit(*data).transform(data[0])
    mapped = data[0] @ turn.T
    other = Lda(LdaConfig(shrinkage=0.0)).fit(mapped, data[1]).transform(mapped)
    np.testing.assert_allclose(np.abs(ours), np.abs(other), atol=1e-7)


def test_lda_of_more_dimensions_than_speakers_differ_in_is_refused(data):
    with pytest.raises(DataError, match="5 speakers of 6 dimensions differ in 4; take at most 4"):
        Lda(LdaConfig(5)).fit(*data)


def test_few_utterances_are_regularised_or_refused(rng):
    vectors, speakers = rng.normal(size=(12, 30)), np.repeat(["a", "b", "c", "d"], 3)
    assert Lda().fit(vectors, speakers).transform(vectors).shape == (12, 3)
    with pytest.raises(DataError, match="has rank 8; take more utterances, or a shrinkage above 0"):
        Lda(LdaConfig(shrinkage=0.0)).fit(vectors, speakers)
    with pytest.raises(DataError, match="has rank 11"):
        Whiten().fit(vectors)
    assert np.isfinite(Whiten(WhitenConfig(shrinkage=None)).fit(vectors).transform(vectors)).all()


@pytest.mark.parametrize(("length", "expected"), [("unit", 1.0), ("sqrt-dim", np.sqrt(DIM))])
def test_normalized_vectors_keep_their_direction(data, length, expected):
    vectors = data[0] * 10.0 ** np.linspace(-200, 200, len(data[0]))[:, None]
    scaled = LengthNorm(LengthNormConfig(length)).fit(vectors).transform(vectors)
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), expected, rtol=1e-12)
    np.testing.assert_allclose(scaled / expected, data[0] / np.linalg.norm(data[0], axis=1, keepdims=True), rtol=1e-10)


def test_a_pipeline_is_its_steps_one_after_the_other(data):
    pipeline = Pipeline([Center(), Lda(LdaConfig(3)), LengthNorm()])
    whole = pipeline.fit_transform(*data)
    vectors = data[0]
    for step in (Center(), Lda(LdaConfig(3)), LengthNorm()):
        vectors = step.fit(vectors, data[1]).transform(vectors)
    np.testing.assert_array_equal(whole, vectors)
    np.testing.assert_array_equal(pipeline.transform(data[0]), vectors)
    again = Pipeline([Center(), Lda(), LengthNorm()]).load_arrays(pipeline.arrays())
    np.testing.assert_array_equal(again.transform(data[0]), vectors)
    with pytest.raises(ModelError, match="1 missing arrays"):
        Pipeline([Center(), Center()]).load_arrays({"0.mean": np.zeros(2)})


def test_vectors_of_another_dimension_are_refused(data):
    with pytest.raises(DataError, match="takes vectors of 6 dimensions"):
        Center().fit(data[0]).transform(data[0][:, :4])


def test_arrays_of_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ModelError, match=r"projection has shape \(2, 4\), new dim \(2\) x dim \(3\) is needed"):
        Whiten().load_arrays({"mean": np.zeros(3), "projection": np.zeros((2, 4))})
    with pytest.raises(ModelError, match="float64 is needed"):
        Center().load_arrays({"mean": np.zeros(3, np.float32)})


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: WhitenConfig("ica"), "'zca' or 'pca', got 'ica'"),
        (lambda: WhitenConfig(shrinkage=2.0), r"lies in \[0, 1\], got 2.0"),
        (lambda: LdaConfig(0), "at least 1 dimension, got 0"),
        (lambda: LengthNormConfig("one"), "'unit' or 'sqrt-dim', got 'one'"),
    ],
)
def test_options_without_meaning_are_refused(make, match):
    with pytest.raises(ConfigError, match=match):
        make()


def test_oracle_shrinkage_is_its_formula_and_falls_with_the_data(rng):
    root = rng.normal(size=(5, 5))
    covariance = root @ root.T
    trace, square = sum(covariance[i, i] for i in range(5)), sum(covariance[i, j] * covariance[j, i] for i in range(5) for j in range(5))
    expected = ((1 - 2 / 5) * square + trace**2) / ((100 + 1 - 2 / 5) * (square - trace**2 / 5))
    assert oracle_shrinkage(covariance, 100) == pytest.approx(expected)
    assert oracle_shrinkage(covariance, 10**9) < 1e-6
    assert oracle_shrinkage(np.eye(5), 100) == 1.0


def test_oracle_shrinkage_comes_nearer_the_truth_than_the_sample(rng):
    truth = np.diag(np.linspace(1, 2, 20))
    gain = []
    for _ in range(20):
        sample = np.cov((rng.normal(size=(15, 20)) @ np.sqrt(truth)).T)
        gain.append(np.sum((sample - truth) ** 2) - np.sum((shrink(sample, oracle_shrinkage(sample, 14)) - truth) ** 2))
    assert min(gain) > 0


def test_both_covariances_become_diagonal_together(rng):
    within, low = rng.normal(size=(2, DIM, DIM))
    within, between = within @ within.T + np.eye(DIM), low[:, :2] @ low[:, :2].T
    transform, inverse, psi = diagonalize_both(within, between)
    np.testing.assert_allclose(transform @ within @ transform.T, np.eye(DIM), atol=1e-10)
    np.testing.assert_allclose(transform @ between @ transform.T, np.diag(psi), atol=1e-10)
    np.testing.assert_allclose(transform @ inverse, np.eye(DIM), atol=1e-10)
    assert np.all(psi[2:] < 1e-10)


@pytest.mark.parametrize("shrinkage", [0.0, 0.5, None])
def test_equal_vectors_of_a_speaker_are_named_and_no_shrinkage_is_advised(rng, shrinkage):
    vectors, speakers = np.repeat(rng.normal(size=(6, 4)), 2, axis=0), np.repeat(list("abcdef"), 2)
    with pytest.raises(DataError, match="the vectors of each speaker are equal") as caught:
        Lda(LdaConfig(shrinkage=shrinkage)).fit(vectors, speakers)
    assert "shrinkage above" not in str(caught.value)
