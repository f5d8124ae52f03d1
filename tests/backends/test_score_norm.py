"""Score normalisation against the definition, trial by trial."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.backends import score_norm
from sv_toolkit.backends.score_norm import ADAPTIVE, METHODS, Side, cosines
from sv_toolkit.errors import DataError

TOP = 7


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def slow_norm(method, scores, enroll, test, cohort, top):
    """One trial after the other, each against the whole cohort."""
    out = []
    for score, i, j in zip(scores, enroll.index, test.index):
        of_enroll = np.array([cosine(enroll.vectors[i], c) for c in cohort])
        of_test = np.array([cosine(test.vectors[j], c) for c in cohort])
        near_enroll, near_test = np.argsort(of_enroll)[-top:], np.argsort(of_test)[-top:]
        z, t = (slice(None), slice(None)) if method not in ADAPTIVE else (near_enroll, near_test)
        if method == "as-norm2":
            z, t = t, z
        by_enroll = (score - of_enroll[z].mean()) / of_enroll[z].std()
        by_test = (score - of_test[t].mean()) / of_test[t].std()
        out.append({"z-norm": by_enroll, "t-norm": by_test}.get(method, (by_enroll + by_test) / 2))
    return np.array(out)


@pytest.fixture
def trials(rng):
    enroll, test = rng.normal(size=(9, 6)), rng.normal(size=(14, 6)) * 10
    cohort = rng.normal(size=(40, 6)) + 0.3
    return rng.uniform(-1, 1, 60), Side(enroll, rng.integers(8, size=60)), Side(test, rng.integers(13, size=60)), cohort


def options(method, top=TOP):
    return {"top": top} if method in ADAPTIVE else {}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("block_values", [1, 40 * 3, 1 << 21], ids=lambda count: f"blocks of {count}")
def test_every_method_is_its_definition(trials, method, block_values, monkeypatch):
    monkeypatch.setattr(score_norm, "BLOCK_VALUES", block_values)
    expected = slow_norm(method, *trials, TOP)
    np.testing.assert_allclose(METHODS[method](*trials, **options(method)), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_one_set_of_vectors_for_both_sides_is_as_good_as_two(trials, method):
    scores, enroll, test, cohort = trials
    vectors = np.concatenate([enroll.vectors, test.vectors])
    shared = scores, Side(vectors, enroll.index), Side(vectors, test.index + len(enroll.vectors)), cohort
    np.testing.assert_allclose(METHODS[method](*shared, **options(method)), METHODS[method](*trials, **options(method)), atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_neither_the_order_of_the_cohort_nor_that_of_trials_matters(trials, method, rng):
    scores, enroll, test, cohort = trials
    order = rng.permutation(len(scores))
    moved = scores[order], Side(enroll.vectors, enroll.index[order]), Side(test.vectors, test.index[order]), rng.permutation(cohort)
    np.testing.assert_allclose(
        METHODS[method](*moved, **options(method)), METHODS[method](*trials, **options(method))[order], rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_shift_and_stretch_of_all_scores_falls_away(trials, method):
    """What a channel does to all scores of a vector is what normalisation is for."""
    scores, enroll, test, cohort = trials

    def compare(vectors, others):
        return 3 + 0.2 * cosines(vectors, others)

    moved = METHODS[method](3 + 0.2 * scores, enroll, test, cohort, **options(method), compare=compare)
    np.testing.assert_allclose(moved, METHODS[method](*trials, **options(method)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["s-norm", "as-norm", "as-norm2"])
def test_swapped_sides_have_the_same_scores(trials, method):
    scores, enroll, test, cohort = trials
    swapped = METHODS[method](scores, test, enroll, cohort, **options(method))
    np.testing.assert_allclose(swapped, METHODS[method](*trials, **options(method)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_with_the_whole_cohort_the_adaptive_norm_is_s_norm(trials, method):
    np.testing.assert_allclose(METHODS[method](*trials, top=40), METHODS["s-norm"](*trials), rtol=0, atol=1e-12)


def test_statistics_are_computed_once_for_each_vector_that_is_used(trials, rng):
    scores, enroll, test, cohort = trials
    seen = []

    def counting(vectors, others):
        seen.append(len(vectors))
        return cosines(vectors, others)

    METHODS["as-norm"](scores, enroll, test, cohort, top=TOP, compare=counting)
    assert sum(seen) == len(np.unique(enroll.index)) + len(np.unique(test.index))


@pytest.mark.parametrize("top", [0, 1, 41])
@pytest.mark.parametrize("method", ADAPTIVE)
def test_a_top_that_the_cohort_does_not_have_is_refused(trials, method, top):
    with pytest.raises(DataError, match=f"nearest {top} of a cohort of 40"):
        METHODS[method](*trials, top=top)


@pytest.mark.parametrize("method", METHODS)
def test_a_cohort_that_says_nothing_is_refused(trials, method):
    *sides, cohort = trials
    with pytest.raises(DataError, match="a cohort of 1 has no deviation"):
        METHODS[method](*sides, cohort[:1])
    with pytest.raises(DataError, match="all equal"):
        METHODS[method](*sides, np.repeat(cohort[:1], 5, axis=0), **options(method, 3))
