"""Cosine scores against the loop over trials, on both of their paths."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.backends.cosine import cosine_scores, length_normalize


def slow_cosine(enroll, test, enroll_index, test_index):
    scores = []
    for i, j in zip(enroll_index, test_index):
        a, b = enroll[i].astype(np.float64), test[j].astype(np.float64)
        scores.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    return np.array(scores)


def random_lists(rng, num_trials, num_enroll=40, num_test=60, dim=16):
    enroll, test = rng.normal(size=(num_enroll, dim)).astype(np.float32), 5 * rng.normal(size=(num_test, dim)).astype(np.float32)
    return enroll, test, rng.integers(num_enroll, size=num_trials), rng.integers(num_test, size=num_trials)


@pytest.mark.parametrize("num_trials", [0, 1, 7, 100, 149, 150, 5000], ids=lambda count: f"{count} trials")
def test_scores_agree_with_the_definition(rng, num_trials):
    trials = random_lists(rng, num_trials)
    scores = cosine_scores(*trials)
    assert scores.shape == (num_trials,)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, slow_cosine(*trials), atol=1e-6)


@pytest.mark.parametrize("num_trials", [100, 5000], ids=["gathered", "matrix"])
def test_scores_do_not_depend_on_the_order_of_trials(rng, num_trials):
    enroll, test, enroll_index, test_index = random_lists(rng, num_trials)
    order = rng.permutation(num_trials)
    np.testing.assert_array_equal(
        cosine_scores(enroll, test, enroll_index[order], test_index[order]), cosine_scores(enroll, test, enroll_index, test_index)[order]
    )


def test_scores_do_not_depend_on_the_length_of_vectors(rng):
    enroll, test, *trials = random_lists(rng, 300)
    lengths = 2.0 ** rng.integers(-100, 100, size=(len(enroll), 1))  # powers of two: exact, and far past what squares of float32 can hold
    np.testing.assert_array_equal(cosine_scores((enroll * lengths).astype(np.float32), test, *trials), cosine_scores(enroll, test, *trials))


def test_a_vector_against_itself_and_its_opposite_scores_one_and_minus_one(rng):
    vectors = rng.normal(size=(50, 256)).astype(np.float32)
    rows = np.arange(50)
    same, opposite = cosine_scores(vectors, vectors, rows, rows), cosine_scores(vectors, -vectors, rows, rows)
    np.testing.assert_allclose(same, 1, atol=1e-6)
    np.testing.assert_allclose(opposite, -1, atol=1e-6)
    assert same.max() <= 1
    assert opposite.min() >= -1


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf], ids=["zero", "NaN", "Inf"])
def test_vectors_without_a_direction_are_refused(rng, value):
    vectors = rng.normal(size=(4, 3)).astype(np.float32)
    vectors[2] = value
    with pytest.raises(ValueError, match="vector 2 is zero or not finite"):
        length_normalize(vectors)


def test_vectors_of_two_dimensions_are_refused():
    with pytest.raises(ValueError, match="256 values, test vectors 128"):
        cosine_scores(np.ones((1, 256)), np.ones((1, 128)), np.zeros(1, int), np.zeros(1, int))


@pytest.mark.parametrize("index", [-1, 3])
def test_rows_that_are_not_there_are_refused(index):
    with pytest.raises(ValueError, match="there are 3 vectors"):
        cosine_scores(np.ones((3, 2)), np.ones((3, 2)), np.array([0, 1]), np.array([0, index]))
