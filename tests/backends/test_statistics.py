"""Statistics of speakers against their definition, and sums of shards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.backends import statistics
from sv_toolkit.backends.statistics import speaker_statistics
from sv_toolkit.errors import DataError


def slow_statistics(vectors, speakers):
    means, scatter = {}, 0
    for name in sorted(set(speakers)):
        group = np.array([vector for vector, speaker in zip(vectors, speakers) if speaker == name])
        means[name] = group.mean(axis=0)
        scatter = scatter + sum(np.outer(row - means[name], row - means[name]) for row in group)
    return means, scatter


def labelled(seed, size):
    rng = np.random.default_rng(seed)
    return rng.normal(3, 1, size=(size, 3)), rng.choice(["a", "bb", "c", "dddd"], size=size)


@pytest.mark.parametrize("block", [5, 1 << 14], ids=["blocks", "one block"])
def test_statistics_agree_with_their_definition(block, monkeypatch):
    monkeypatch.setattr(statistics, "_BLOCK", block)
    vectors, speakers = labelled(0, 53)
    means, scatter = slow_statistics(vectors, speakers)
    stats = speaker_statistics(vectors, speakers)
    assert list(stats.speakers) == list(means)
    np.testing.assert_allclose(stats.means, list(means.values()), rtol=1e-12)
    np.testing.assert_allclose(stats.within_scatter, scatter, rtol=1e-10)
    np.testing.assert_allclose(stats.mean, vectors.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(stats.total_scatter / 53, np.cov(vectors.T, bias=True), rtol=1e-10)
    assert (stats.num_utterances, stats.num_speakers, stats.dim, stats.within_freedom) == (53, 4, 3, 49)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), size=st.integers(2, 40), cut=st.floats(0, 1))
def test_statistics_of_two_parts_sum_to_those_of_the_whole(seed, size, cut):
    vectors, speakers = labelled(seed, size)
    at = min(max(1, int(cut * size)), size - 1)
    total = speaker_statistics(vectors[:at], speakers[:at]) + speaker_statistics(vectors[at:], speakers[at:])
    whole = speaker_statistics(vectors, speakers)
    assert list(total.speakers) == list(whole.speakers)
    np.testing.assert_array_equal(total.counts, whole.counts)
    np.testing.assert_allclose(total.means, whole.means, atol=1e-12)
    np.testing.assert_allclose(total.within_scatter, whole.within_scatter, atol=1e-11)


def test_a_large_mean_does_not_drown_the_scatter(rng):
    vectors = rng.normal(size=(50, 2))
    shifted = (speaker_statistics(vectors[:20] + 1e7) + speaker_statistics(vectors[20:] + 1e7)).within_scatter
    np.testing.assert_allclose(shifted, speaker_statistics(vectors).within_scatter, rtol=1e-6)


def test_vectors_of_two_dimensions_or_none_at_all_are_refused():
    with pytest.raises(DataError, match="of 3 and of 2 dimensions"):
        speaker_statistics(np.ones((1, 3))) + speaker_statistics(np.ones((1, 2)))
    with pytest.raises(DataError, match="at least one"):
        speaker_statistics(np.ones((0, 3)))
    with pytest.raises(ValueError, match="2 vectors but speakers of shape"):
        speaker_statistics(np.ones((2, 3)), ["a"])
