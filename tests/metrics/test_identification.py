"""Identification against slow definitions: every lot drawn, every trial looked at."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.metrics import identification
from sv_toolkit.metrics.identification import (
    anchor_trials,
    candidate_scores,
    detection_and_identification_rate,
    enrollment_trials,
    open_set_false_alarm_rate,
    open_set_threshold,
    speaker_models,
    top_k_accuracy,
)


@st.composite
def matrices(draw):
    """Score matrices with many ties, and the true columns."""
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    values = draw(st.lists(st.integers(-2, 2), min_size=rows * columns, max_size=rows * columns))
    true = draw(st.lists(st.integers(0, columns - 1), min_size=rows, max_size=rows))
    return np.array(values, dtype=np.float64).reshape(rows, columns), np.array(true)


def slow_share(row, true, k):
    """Chance that the true model is in the first k places, over all orders that the scores allow."""
    higher = sum(score > row[true] for score in row)
    equal = sum(score == row[true] for score in row)
    return Fraction(sum(1 for place in range(higher + 1, higher + equal + 1) if place <= k), equal)


@given(matrices(), st.integers(1, 6))
def test_top_k_agrees_with_every_order_that_ties_allow(matrix, k):
    scores, true = matrix
    expected = sum(slow_share(row, t, k) for row, t in zip(scores, true)) / len(true)
    assert top_k_accuracy(scores, true, k) == pytest.approx(float(expected), abs=1e-12)


@given(matrices(), st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0, math.inf]), st.integers(1, 3))
def test_detection_and_identification_agrees_with_the_definition(matrix, threshold, k):
    scores, true = matrix
    expected = sum(slow_share(row, t, k) for row, t in zip(scores, true) if row[t] >= threshold) / len(true)
    assert detection_and_identification_rate(scores, true, threshold, k) == pytest.approx(float(expected), abs=1e-12)


@given(matrices(), st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_open_set_threshold_is_the_lowest_that_keeps_the_false_alarms(matrix, allowed):
    scores, _ = matrix
    threshold = open_set_threshold(scores, allowed)
    assert open_set_false_alarm_rate(scores, threshold) <= allowed
    for lower in {max(row) for row in scores} - {threshold}:
        if lower < threshold:
            assert sum(max(row) >= lower for row in scores) / len(scores) > allowed


@given(matrices(), st.integers(1, 4))
def test_accuracy_does_not_depend_on_the_order_of_models_or_tests(matrix, k):
    scores, true = matrix
    rng = np.random.default_rng(0)
    columns, rows = rng.permutation(scores.shape[1]), rng.permutation(len(scores))
    place = np.argsort(columns)
    expected = top_k_accuracy(scores, true, k)
    assert top_k_accuracy(scores[rows][:, columns], place[true[rows]], k) == pytest.approx(expected, abs=1e-12)
    assert top_k_accuracy(np.exp(scores), true, k) == expected


def test_a_system_that_knows_nothing_is_as_good_as_chance():
    assert top_k_accuracy(np.zeros((7, 100)), np.arange(7)) == pytest.approx(0.01)
    assert top_k_accuracy(np.zeros((7, 100)), np.arange(7), k=5) == pytest.approx(0.05)
    assert top_k_accuracy(np.zeros((7, 3)), np.zeros(7, int), k=3) == 1


labels = st.lists(st.integers(0, 6), min_size=3, max_size=40).filter(lambda x: 2 <= len(set(x)) < len(x))


@settings(max_examples=50)
@given(labels, st.integers(2, 9), st.integers(0, 3))
def test_anchor_trials_have_one_positive_and_negatives_of_different_other_speakers(speakers, num_candidates, seed):
    speakers = np.array(speakers) * 10 - 3
    trials = anchor_trials(speakers, num_candidates, np.random.default_rng(seed))
    repeated = [i for i, s in enumerate(speakers) if np.count_nonzero(speakers == s) > 1]
    assert trials.anchors.tolist() == repeated
    assert trials.candidates.shape == (len(repeated), min(num_candidates, len(set(speakers.tolist()))))
    for anchor, (positive, *negatives) in zip(trials.anchors, trials.candidates):
        assert positive != anchor
        assert speakers[positive] == speakers[anchor]
        of = [int(speakers[row]) for row in negatives]
        assert len(set(of)) == len(of)
        assert speakers[anchor] not in of


def test_every_positive_and_every_negative_is_equally_likely():
    speakers = np.repeat(np.arange(5), [2, 3, 4, 1, 2])
    rng = np.random.default_rng(1)
    drawn = [anchor_trials(speakers, 3, rng) for _ in range(3000)]
    anchor = drawn[0].anchors.tolist().index(3)
    positives = np.bincount([trials.candidates[anchor, 0] for trials in drawn], minlength=12) / 3000
    np.testing.assert_allclose(positives[[2, 4]], 0.5, atol=0.04)
    negatives = np.bincount(np.concatenate([trials.candidates[anchor, 1:] for trials in drawn]), minlength=12) / 3000
    np.testing.assert_allclose(negatives[[0, 5, 9, 10]], [0.25, 0.125, 0.5, 0.25], atol=0.04)  # two of four others, then an utterance


@settings(max_examples=50)
@given(labels, st.integers(1, 3), st.integers(2, 9), st.integers(0, 3))
def test_enrollment_and_test_never_share_an_utterance(speakers, most, num_candidates, seed):
    speakers = np.array(speakers)
    counts = {s: np.count_nonzero(speakers == s) for s in speakers}
    if sum(c >= most for c in counts.values()) < 2 or max(counts.values()) <= most:
        with pytest.raises(ValueError, match="two speakers|none is left"):
            enrollment_trials(speakers, most, num_candidates, np.random.default_rng(seed))
        return
    enrolled, trials = enrollment_trials(speakers, most, num_candidates, np.random.default_rng(seed))
    assert sorted(speakers[enrolled[:, 0]]) == sorted(s for s, c in counts.items() if c >= most)
    assert all(len({*row}) == most and len({*speakers[row]}) == 1 for row in enrolled)
    rest = [i for i in range(len(speakers)) if counts[speakers[i]] >= most and i not in enrolled]
    assert sorted(trials.anchors.tolist()) == rest
    for anchor, (own, *others) in zip(trials.anchors, trials.candidates):
        assert speakers[enrolled[own, 0]] == speakers[anchor]
        assert own not in others
        assert len({*others}) == len(others) == min(num_candidates, len(enrolled)) - 1


@pytest.mark.parametrize(
    ("num_speakers", "num_utterances", "num_trials"), [(200, 3_800, 380_000), (844, 10_014, 1_001_400), (200, 4_000, 400_000)]
)
def test_numbers_of_trials_are_those_of_the_paper(num_speakers, num_utterances, num_trials):
    """Deep Speaker, section 4.1 and table 4: Eva200, XiaoDu, MTurk."""
    trials = anchor_trials(np.arange(num_utterances) % num_speakers, 100, np.random.default_rng(0))
    assert trials.candidates.size == num_trials


def test_number_of_enrollment_trials_is_that_of_the_paper():
    """Deep Speaker, section 5.1.5: five of 19 utterances enroll, whatever the number that a model uses."""
    enrolled, trials = enrollment_trials(np.repeat(np.arange(200), 19), 5, 100, np.random.default_rng(0))
    assert (enrolled.shape, trials.candidates.size) == ((200, 5), 280_000)


def test_trials_are_decided_by_the_seed():
    speakers = np.repeat(np.arange(8), 4)
    first, same, other = (anchor_trials(speakers, 5, np.random.default_rng(seed)).candidates for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("rows_at_once", [1, 50, 1 << 22])
def test_scores_are_cosines_of_anchor_and_candidate(monkeypatch, rng, rows_at_once):
    monkeypatch.setattr(identification, "ROWS_AT_ONCE", rows_at_once)
    vectors = rng.normal(size=(20, 6))
    trials = anchor_trials(np.repeat(np.arange(5), 4), 4, rng)
    found = candidate_scores(vectors, vectors, trials)
    for i, (anchor, row) in enumerate(zip(trials.anchors, trials.candidates)):
        for j, candidate in enumerate(row):
            a, b = vectors[anchor], vectors[candidate]
            assert found[i, j] == pytest.approx(float(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b)), abs=1e-12)


def test_models_are_means_of_unit_vectors(rng):
    vectors, enrolled = rng.normal(size=(9, 4)), np.array([[0, 4], [7, 2]])
    expected = [sum(vectors[i] / math.sqrt(vectors[i] @ vectors[i]) for i in row) / 2 for row in enrolled]
    np.testing.assert_allclose(speaker_models(vectors, enrolled), expected, atol=1e-12)


def test_more_enrollment_utterances_identify_better(rng):
    speakers = np.repeat(np.arange(60), 9)
    vectors = rng.normal(size=(60, 16))[speakers] + 1.5 * rng.normal(size=(540, 16))
    enrolled, trials = enrollment_trials(speakers, 5, 50, rng)
    found = [
        top_k_accuracy(candidate_scores(vectors, speaker_models(vectors, enrolled[:, :n]), trials), np.zeros(240, int)) for n in (1, 2, 5)
    ]
    assert found[0] < found[1] < found[2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: top_k_accuracy(np.zeros((2, 2)), np.array([0, 2])), "a column from 0 to 1"),
        (lambda: top_k_accuracy(np.zeros((2, 2)), np.array([0])), "for each of 2 test utterances"),
        (lambda: top_k_accuracy(np.full((1, 2), np.nan), np.array([0])), "finite"),
        (lambda: top_k_accuracy(np.zeros((1, 2)), np.array([0]), 0), "k must be at least 1"),
        (lambda: open_set_threshold(np.zeros((0, 2)), 0.1), "neither of them 0"),
        (lambda: open_set_threshold(np.zeros((1, 2)), 1.5), "lies in"),
        (lambda: anchor_trials(np.array([1, 2, 3]), 5, np.random.default_rng(0)), "no speaker has two"),
        (lambda: anchor_trials(np.array([1, 1]), 5, np.random.default_rng(0)), "at least two speakers"),
        (lambda: anchor_trials(np.array([1, 1, 2]), 1, np.random.default_rng(0)), "at least 2 candidates"),
        (lambda: enrollment_trials(np.array([1, 1, 2, 2]), 0, 5, np.random.default_rng(0)), "at least 1 utterance"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
