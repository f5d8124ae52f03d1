"""Measures of labels against their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sv_toolkit.phonetic.agreement import force_align, label_purity, phone_posteriors, spoken_agreement


def test_purity_is_the_share_of_the_most_frequent_phone_of_each_class():
    phones, found = np.array([0, 0, 1, 1, 2, 2]), np.array([3, 3, 3, 1, 1, 1])
    assert label_purity(phones, found) == pytest.approx((2 + 2) / 6)
    assert label_purity(phones, phones + 4) == 1
    with pytest.raises(ValueError, match="no frames"):
        label_purity(phones[:0], found[:0])


def test_posteriors_of_parts_add_up_to_those_of_phones():
    parts = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    assert phone_posteriors(parts, np.array([1, 1, 0, 2])) == pytest.approx(np.array([[0.3, 0.3, 0.4]]))


def slow_alignment(log_posteriors, sequence, silence):
    """The best of all paths, by trying each."""
    best, num_frames = (-np.inf, None), len(log_posteriors)
    for path in itertools.product(range(2 * len(sequence) + 1), repeat=num_frames):
        states = [silence if place % 2 == 0 else sequence[place // 2] for place in path]
        steps = list(zip(path, path[1:]))
        allowed = all(b - a in (0, 1) or (b - a == 2 and b % 2 == 1) for a, b in steps)
        if allowed and path[0] <= 1 and path[-1] >= 2 * len(sequence) - 1:
            score = sum(row[state] for row, state in zip(log_posteriors, states)) / num_frames
            best = max(best, (score, states), key=lambda pair: pair[0])
    return best


@pytest.mark.parametrize("seed", range(5))
def test_the_alignment_is_the_best_of_all_paths(seed):
    rng = np.random.default_rng(seed)
    log_posteriors = np.log(rng.dirichlet(np.ones(3), size=5))
    sequence = [1, 1] if seed == 0 else rng.integers(1, 3, size=2).tolist()
    score, path = force_align(log_posteriors, sequence, silence=0)
    expected, states = slow_alignment(log_posteriors, sequence, 0)
    assert score == pytest.approx(expected)
    assert path.tolist() == states


def test_more_phones_than_frames_cannot_be_spoken():
    score, path = force_align(np.zeros((2, 3)), [1, 2, 1], 0)
    assert score == -np.inf
    assert path.tolist() == [0, 0]


def test_the_phones_that_were_spoken_agree_better_than_others():
    labels = np.array([0, 1, 1, 1, 2, 2, 0, 3, 3])
    posteriors = np.full((9, 4), 0.1)
    posteriors[np.arange(9), labels] = 0.7
    own, other = (spoken_agreement(posteriors, sequence, silence=0) for sequence in ([1, 2, 3], [3, 1, 1]))
    assert own == (pytest.approx(np.log(0.7)), 1.0)
    assert other[0] < own[0]
    assert other[1] < 1
