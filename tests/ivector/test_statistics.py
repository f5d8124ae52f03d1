"""Statistics against loops over frames, and their independence of the number of jobs."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from sv_toolkit.ivector import frames as frames_module
from sv_toolkit.ivector.frames import opened
from sv_toolkit.ivector.gmm import DiagonalGmm, full_posteriors
from sv_toolkit.ivector.statistics import Source, align_diagonal, align_full, utterance_statistics
from sv_toolkit.ivector.ubm import as_full


@pytest.fixture
def gmm(rng):
    return as_full(DiagonalGmm(np.array([0.3, 0.3, 0.2, 0.2]), 2 * rng.standard_normal((4, 3)), np.ones((4, 3))))


@pytest.fixture
def source(data, small, monkeypatch):
    monkeypatch.setattr(frames_module, "BLOCK", 200)
    opened.cache_clear()
    frames = opened(data, small.frames, None)
    return Source(frames, frames.index.utterances)


def test_statistics_of_utterances_agree_with_loops(source, gmm):
    counts, sums = utterance_statistics(source.frames, source.utterances, partial(align_full, gmm, 3, 0.025))
    for utterance, count, total in zip(source.utterances, counts, sums):
        frames = source.frames.read(utterance)[0].astype(np.float64)
        expected_count, expected_sum = np.zeros(4), np.zeros((4, 3))
        for frame in frames:
            posterior = full_posteriors(frame[None], gmm, 3, 0.025)[0][0]
            expected_count += posterior
            expected_sum += np.outer(posterior, frame)
        assert count == pytest.approx(expected_count, rel=1e-9)
        assert total == pytest.approx(expected_sum, rel=1e-9, abs=1e-9)
        assert count.sum() == pytest.approx(len(frames))


@pytest.mark.parametrize("is_full", [False, True])
def test_sums_over_all_frames_agree_with_loops(source, gmm, is_full):
    made = source.accumulate(partial(align_full, gmm, 4, 0.0), is_full)
    frames = np.concatenate([source.frames.read(utterance)[0] for utterance in source.utterances]).astype(np.float64)
    posteriors, log_likelihood = full_posteriors(frames, gmm, 4, 0.0)
    products = sum(np.einsum("c,d,e->cde", p, x, x) for p, x in zip(posteriors, frames))
    assert made.squares == pytest.approx(products if is_full else np.diagonal(products, axis1=1, axis2=2), rel=1e-9, abs=1e-9)
    assert made.sums == pytest.approx(sum(np.outer(p, x) for p, x in zip(posteriors, frames)), rel=1e-9, abs=1e-9)
    assert made.counts == pytest.approx(posteriors.sum(axis=0))
    assert (made.log_likelihood, made.num_frames) == (pytest.approx(log_likelihood.sum()), len(frames))


def test_the_number_of_jobs_does_not_change_a_bit(source, gmm):
    align = partial(align_diagonal, gmm.diagonal)
    one, three = (Source(source.frames, source.utterances, num_jobs).accumulate(align) for num_jobs in (1, 3))
    for name in ("counts", "sums", "squares", "log_likelihood", "num_frames"):
        assert np.array_equal(getattr(one, name), getattr(three, name)), name


def test_every_third_frame_is_about_a_third_of_the_frames(source, gmm):
    align = partial(align_diagonal, gmm.diagonal)
    whole, part = (Source(source.frames, source.utterances, subsample=n).accumulate(align) for n in (1, 3))
    assert part.num_frames == pytest.approx(whole.num_frames / 3, rel=0.02)
    assert part.mean_log_likelihood == pytest.approx(whole.mean_log_likelihood, rel=0.1)
