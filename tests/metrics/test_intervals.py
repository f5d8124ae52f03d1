"""Intervals from resampled speakers: against trials copied out one by one, and against the truth in simulations."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from sv_toolkit.metrics import intervals, student
from sv_toolkit.metrics.detection import OperatingPoint, eer_of_curve, equal_error_rate, min_dcf, min_dcf_of_curve
from sv_toolkit.metrics.intervals import Interval, affordable_replicates, compare_systems, speaker_bootstrap

EER = {"eer": eer_of_curve}


def simulated_trials(num_speakers, num_utterances, rng, noise=0.6):
    """All pairs of noisy directions, speakers of different difficulty: scores, is_target, both speakers."""
    difficulty = noise * np.exp(0.5 * rng.normal(size=(num_speakers, 1, 1)))
    vectors = rng.normal(size=(num_speakers, 1, 8)) + difficulty * rng.normal(size=(num_speakers, num_utterances, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).reshape(-1, 8)
    left, right = np.triu_indices(len(vectors), 1)
    scores = np.einsum("ij,ij->i", vectors[left], vectors[right])
    enroll_speaker, test_speaker = left // num_utterances, right // num_utterances
    return scores, enroll_speaker == test_speaker, enroll_speaker, test_speaker


def copied_out(scores, is_target, enroll_speaker, test_speaker, weights):
    """The weighted list the slow way: every trial as often as its weight says."""
    target, nontarget = [], []
    for score, same, i, j in zip(scores, is_target, enroll_speaker, test_speaker):
        times = weights[i] if i == j else weights[i] * weights[j]
        (target if same else nontarget).extend([score] * int(times))
    return np.array(target), np.array(nontarget)


@pytest.mark.parametrize("decimals", [6, 1, 0], ids=["no ties", "ties", "heavy ties"])
def test_weighted_rates_agree_with_copied_trials(rng, decimals):
    trials = simulated_trials(7, 3, rng)
    trials = (trials[0].round(decimals), *trials[1:])
    point = OperatingPoint(0.05)
    sorted_trials = intervals._SortedTrials.of(*trials)
    for weights in intervals._drawn_weights(7, 20, rng):
        curve, copies = sorted_trials.curve(weights), copied_out(*trials, weights)
        assert eer_of_curve(*curve) == pytest.approx(equal_error_rate(*copies), abs=1e-12)
        assert min_dcf_of_curve(*curve, point) == pytest.approx(min_dcf(*copies, point), abs=1e-12)


def test_a_nontarget_trial_within_a_speaker_counts_once_per_draw(rng):
    """Wrong passphrase, right speaker: such trials are nontargets of one speaker."""
    scores, is_target, enroll_speaker, test_speaker = simulated_trials(6, 4, rng)
    is_target = is_target & (rng.random(len(scores)) < 0.5)
    trials = scores, is_target, enroll_speaker, test_speaker
    weights = np.array([3, 0, 1, 1, 0, 1])
    assert eer_of_curve(*intervals._SortedTrials.of(*trials).curve(weights)) == pytest.approx(
        equal_error_rate(*copied_out(*trials, weights)), abs=1e-12
    )


def test_replicates_without_one_kind_of_trial_are_left_out():
    scores = np.array([3.0, 0.0, 1.0, 2.0])
    speakers = np.array([0, 0, 1, 2]), np.array([0, 1, 2, 0])
    sorted_trials = intervals._SortedTrials.of(scores, np.array([True, False, False, False]), *speakers)
    assert sorted_trials.curve(np.array([3, 0, 0])) is None  # no nontarget trial is left
    assert sorted_trials.curve(np.array([0, 2, 1])) is None  # no target trial is left
    found = speaker_bootstrap(scores, np.array([True, False, False, False]), *speakers, EER, num_replicates=300)["eer"]
    assert 0 < found.num_replicates < 300


def test_interval_holds_the_estimate_and_shrinks_with_more_speakers(rng):
    widths = []
    for num_speakers in (10, 40):
        scores, is_target, *speakers = simulated_trials(num_speakers, 5, rng)
        found = speaker_bootstrap(scores, is_target, *speakers, EER, num_replicates=300)["eer"]
        assert found.low < equal_error_rate(scores[is_target], scores[~is_target]) < found.high
        assert found.num_speakers == num_speakers
        widths.append(found.high - found.low)
    assert widths[1] < 0.75 * widths[0]


def test_interval_is_wider_than_that_of_resampled_trials(rng):
    scores, is_target, *speakers = simulated_trials(15, 12, rng)
    by_speaker = speaker_bootstrap(scores, is_target, *speakers, EER, num_replicates=300)["eer"]
    target, nontarget = scores[is_target], scores[~is_target]
    by_trial = [equal_error_rate(rng.choice(target, len(target)), rng.choice(nontarget, len(nontarget))) for _ in range(200)]
    low, high = np.quantile(by_trial, [0.025, 0.975])
    assert by_speaker.high - by_speaker.low > 1.5 * (high - low)


def test_interval_is_decided_by_the_seed(rng):
    trials = simulated_trials(8, 4, rng)
    first, same, other = (speaker_bootstrap(*trials, EER, num_replicates=100, seed=seed)["eer"] for seed in (1, 1, 2))
    assert first == same != other


def test_interval_does_not_depend_on_the_order_or_on_the_numbering_of_speakers(rng):
    scores, is_target, enroll_speaker, test_speaker = simulated_trials(8, 4, rng)
    order = rng.permutation(len(scores))
    moved = scores[order], is_target[order], 1000 * enroll_speaker[order] - 3, 1000 * test_speaker[order] - 3
    assert speaker_bootstrap(*moved, EER) == speaker_bootstrap(scores, is_target, enroll_speaker, test_speaker, EER)


def test_several_statistics_share_the_replicates(rng):
    trials = simulated_trials(10, 5, rng)
    dcf = partial(min_dcf_of_curve, points=OperatingPoint(0.05))
    both = speaker_bootstrap(*trials, {**EER, "dcf": dcf}, num_replicates=100)
    assert both["eer"] == speaker_bootstrap(*trials, EER, num_replicates=100)["eer"]
    assert 0 < both["dcf"].low < both["dcf"].high <= 1


def test_upper_end_is_above_zero_without_errors():
    """That of as many independent trials as there are targets, with no error among them."""
    high = []
    for num_speakers in (4, 40):
        speakers = np.repeat(np.arange(num_speakers), num_speakers), np.tile(np.arange(num_speakers), num_speakers)
        is_target = speakers[0] == speakers[1]
        found = speaker_bootstrap(is_target.astype(float), is_target, *speakers, EER, num_replicates=50)["eer"]
        t = student.quantile(0.95, num_speakers - 1)
        assert found == Interval(0.0, found.high, 50, num_speakers)
        assert found.high == pytest.approx(t**2 / (num_speakers + t**2), rel=0.03)
        high.append(found.high)
    assert high[0] > 5 * high[1]


def test_lower_end_is_under_one_without_right_answers_and_the_other_way_round():
    speaker = np.repeat(np.arange(20), 3)
    (none, of_none), (every, of_all) = (intervals.rate_bootstrap(np.full(60, rate), speaker, 50) for rate in (0.0, 1.0))
    assert (none, of_none.low, every, of_all.high) == (0, 0, 1, 1)
    assert of_none.high == pytest.approx(1 - of_all.low) and 0.05 < of_none.high < 0.1


def drawn_rates(trials, num_replicates, seed):
    """EER of every draw by the slow way."""
    weights = intervals._drawn_weights(len(np.unique(trials[2:])), num_replicates, np.random.default_rng(seed))
    return np.array([equal_error_rate(*copied_out(*trials, row)) for row in weights])


def defined_interval(drawn, rate, num_trials, num_speakers):
    """Step by step: bias, spread of the log odds, effective size, and the true rates t of their deviations away."""
    center, half, tenth = 2 * rate - np.mean(drawn), 0.5 / num_trials, 0.1 / num_trials
    smooth = (center + half) / (1 + 2 * half)
    spread = np.var(np.log((drawn + half) / (1 - drawn + half)), ddof=1) * num_speakers / (num_speakers - 1)
    variance = spread * (smooth * (1 - smooth)) ** 2 + (rate - np.mean(drawn)) ** 2
    smooth = (center + tenth) / (1 + 2 * tenth)
    size = smooth * (1 - smooth) / (variance + tenth / num_trials)
    t = student.quantile(0.95, num_speakers - 1)
    # (end - center)^2 = t^2 end (1 - end) / size
    low, high = sorted(np.roots([1 + t**2 / size, -2 * center - t**2 / size, center**2]))
    return min(low, rate), max(high, rate)


def test_interval_agrees_with_its_definition(rng):
    trials = simulated_trials(9, 3, rng)
    scores, is_target = trials[:2]
    rate = equal_error_rate(scores[is_target], scores[~is_target])
    expected = defined_interval(drawn_rates(trials, 60, seed=4), rate, is_target.sum(), 9)
    found = speaker_bootstrap(*trials, EER, num_replicates=60, seed=4)["eer"]
    np.testing.assert_allclose([found.low, found.high], expected, rtol=0, atol=1e-9)


def test_interval_of_accuracies_mirrors_that_of_errors(rng):
    trials = simulated_trials(9, 3, rng)
    rates = speaker_bootstrap(*trials, {"eer": eer_of_curve, "right": lambda miss, fa: 1 - eer_of_curve(miss, fa)}, num_replicates=60)
    assert rates["right"].low == pytest.approx(1 - rates["eer"].high, abs=1e-12)
    assert rates["right"].high == pytest.approx(1 - rates["eer"].low, abs=1e-12)


def test_interval_holds_its_estimate_at_very_low_rates():
    """One error of one speaker among many: half an error more would lift both ends over the rate, a bias move them past it."""
    speakers = np.repeat(np.arange(30), 30), np.tile(np.arange(30), 30)
    is_target = speakers[0] == speakers[1]
    scores = np.where(is_target, 1.0, 0.0)
    scores[1] = 1.5  # one nontarget over all targets
    found = speaker_bootstrap(scores, is_target, *speakers, EER, num_replicates=200)["eer"]
    assert 0 <= found.low <= equal_error_rate(scores[is_target], scores[~is_target]) <= found.high


def two_systems(rng, num_speakers=9, num_utterances=3):
    first, is_target, *speakers = simulated_trials(num_speakers, num_utterances, rng)
    return first, first + 0.4 * rng.normal(size=len(first)), is_target, *speakers


def test_comparison_agrees_with_its_definition(rng):
    first, second, *sides = two_systems(rng)
    differences = drawn_rates((first, *sides), 60, seed=4) - drawn_rates((second, *sides), 60, seed=4)
    one, other = (equal_error_rate(scores[sides[0]], scores[~sides[0]]) for scores in (first, second))
    deviation = np.sqrt(np.var(differences, ddof=1) * 9 / 8)
    found = compare_systems(first, second, *sides, EER, num_replicates=60, seed=4)["eer"]
    assert (found.first, found.second, found.difference) == pytest.approx((one, other, one - other), abs=1e-12)
    reach = student.quantile(0.95, 8) * deviation
    assert (found.interval.low, found.interval.high) == pytest.approx((one - other - reach, one - other + reach), abs=1e-12)
    assert found.p_value == pytest.approx(student.two_sided_p((one - other) / deviation, 8), abs=1e-12)


def test_swapping_the_systems_turns_the_sign_and_nothing_else(rng):
    first, second, *sides = two_systems(rng)
    there, back = (compare_systems(*pair, *sides, EER, num_replicates=100)["eer"] for pair in ((first, second), (second, first)))
    assert (there.first, there.second, there.difference) == (back.second, back.first, -back.difference)
    assert there.p_value == pytest.approx(back.p_value, abs=1e-12)
    assert (there.interval.low, there.interval.high) == pytest.approx((-back.interval.high, -back.interval.low), abs=1e-12)


def test_a_system_does_not_differ_from_itself_on_another_scale(rng):
    first, _, *sides = two_systems(rng)
    found = compare_systems(first, 3 * first - 7, *sides, EER, num_replicates=50)["eer"]
    assert (found.difference, found.p_value, found.interval.low, found.interval.high) == (0, 1, 0, 0)


def test_systems_that_always_differ_by_the_same_have_no_doubt_left():
    speakers = np.repeat(np.arange(4), 4), np.tile(np.arange(4), 4)
    is_target = speakers[0] == speakers[1]
    found = compare_systems(is_target.astype(float), np.zeros(16), is_target, *speakers, EER, num_replicates=50)["eer"]
    assert (found.first, found.second, found.p_value) == (0, 0.5, 0)


def test_p_is_under_5_percent_where_the_interval_leaves_0_out(rng):
    seen = set()
    for noise in (0.0, 0.1, 0.3, 0.6, 1.0):
        first, is_target, *speakers = simulated_trials(12, 3, rng)
        second = first + noise * rng.normal(size=len(first))
        found = compare_systems(first, second, is_target, *speakers, EER, num_replicates=100)["eer"]
        significant = not found.interval.low <= 0 <= found.interval.high
        assert significant == (found.p_value < 0.05)
        seen.add(significant)
    assert seen == {True, False}


def test_what_both_systems_find_hard_cancels_out(rng):
    first, second, *sides = two_systems(rng, 15, 4)
    second = first + 0.1 * (second - first)
    paired = compare_systems(first, second, *sides, EER, num_replicates=200)["eer"].interval
    alone = speaker_bootstrap(first, *sides, EER, num_replicates=200)["eer"]
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def test_long_lists_get_fewer_replicates_but_never_too_few():
    assert affordable_replicates(100_000, 1000) == 1000
    assert affordable_replicates(5_000_000, 1000) == 400
    assert affordable_replicates(10**9, 1000) == intervals.MIN_REPLICATES
    assert affordable_replicates(10**9, 50) == 50


@pytest.mark.parametrize(
    ("is_target", "enroll_speaker", "test_speaker", "message"),
    [
        ([True, False], [0, 0], [0, 1], "at least 3"),
        ([True, True, False], [0, 1, 0], [0, 2, 1], "trial 1 is a target, but of two speakers"),
        ([False, False, False], [0, 1, 0], [1, 2, 2], "both target and nontarget"),
        ([True, True, True], [0, 1, 2], [0, 1, 2], "both target and nontarget"),
    ],
    ids=["two speakers", "a target of two speakers", "no target", "no nontarget"],
)
def test_what_cannot_be_resampled_is_refused(is_target, enroll_speaker, test_speaker, message):
    with pytest.raises(ValueError, match=message):
        speaker_bootstrap(
            np.arange(len(is_target), dtype=float), np.array(is_target), np.array(enroll_speaker), np.array(test_speaker), EER
        )


@pytest.mark.slow
def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(7)
    speakers = rng.normal(size=(300_000, 1, 8))
    vectors = speakers + 0.6 * np.exp(0.5 * rng.normal(size=(300_000, 1, 1))) * rng.normal(size=(300_000, 2, 8))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    one, other = vectors[:, 0], vectors[:, 1]
    truth = equal_error_rate(np.einsum("ij,ij->i", one, other), np.einsum("ij,ij->i", one, np.roll(other, 1, axis=0)))
    runs, covered = 400, 0
    for run in range(runs):
        found = speaker_bootstrap(*simulated_trials(20, 5, rng), EER, num_replicates=400, seed=run)["eer"]
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / runs <= 0.98  # the share itself has a deviation of 1.1 %


COST = {"cost": partial(min_dcf_of_curve, points=OperatingPoint(0.05))}


def test_the_interval_of_a_cost_near_one_reaches_little_below_its_draws():
    """The bias moves such a cost to 1, where a rate has no variance of its own; the effective size must not fall to nothing."""
    rng, gaps = np.random.default_rng(1), []
    for seed in range(20):
        trials = simulated_trials(20, 4, rng, noise=1.5)
        found = speaker_bootstrap(*trials, COST, num_replicates=200, seed=seed)["cost"]
        curves = map(intervals._SortedTrials.of(*trials).curve, intervals._drawn_weights(20, 200, rng))
        gaps.append(np.quantile([COST["cost"](*curve) for curve in curves if curve is not None], 0.01) - found.low)
    assert max(gaps) < 0.45


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "num_speakers"), [(1.5, 10), (2.5, 20)])
def test_the_interval_of_the_least_cost_of_a_weak_system_covers_the_truth(noise, num_speakers):
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(400_000, 1, 8)) + noise * np.exp(0.5 * rng.normal(size=(400_000, 1, 1))) * rng.normal(size=(400_000, 2, 8))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    one, other = vectors[:, 0], vectors[:, 1]
    truth = min_dcf(np.einsum("ij,ij->i", one, other), np.einsum("ij,ij->i", one, np.roll(other, 1, axis=0)), OperatingPoint(0.05))
    assert truth > 0.7
    runs, covered, widths = 200, 0, []
    for run in range(runs):
        found = speaker_bootstrap(*simulated_trials(num_speakers, 4, rng, noise), COST, num_replicates=200, seed=run)["cost"]
        covered += found.low <= truth <= found.high
        widths.append(found.high - found.low)
    assert covered / runs >= 0.86
    assert np.mean(widths) < 0.75


def test_means_over_seeds_agree_with_the_slow_loop(rng):
    """Three seeds of one system, two of another: every draw of speakers evaluates all of them, one after the other."""
    scores, *sides = simulated_trials(8, 3, rng)
    first, second = (scores + spread * rng.normal(size=(count, len(scores))) for count, spread in ((3, 0.3), (2, 0.6)))
    drawn = intervals._drawn_weights(8, 40, np.random.default_rng(5))
    loops = []
    for runs in (first, second):
        copies = [[copied_out(each, *sides, weights) for each in runs] for weights in drawn]
        loops.append(np.array([np.mean([equal_error_rate(*copy) for copy in copied]) for copied in copies]))
    means = [np.mean([equal_error_rate(each[sides[0]], each[~sides[0]]) for each in runs]) for runs in (first, second)]
    factor = np.sqrt(8 / 7) * student.quantile(0.95, 7)
    found = compare_systems(first, second, *sides, EER, 40, seed=5)["eer"]
    reach = factor * np.std(loops[0] - loops[1], ddof=1)
    assert (found.first, found.second) == pytest.approx(tuple(means), abs=1e-12)
    assert (found.interval.low, found.interval.high) == pytest.approx((found.difference - reach, found.difference + reach), abs=1e-12)
    interval = speaker_bootstrap(first, *sides, EER, 40, seed=5)["eer"]
    expected = defined_interval(loops[0], means[0], sides[0].sum(), 8)
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-9)


def test_one_seed_in_two_dimensions_is_the_system_itself(rng):
    scores, *sides = simulated_trials(6, 3, rng)
    assert speaker_bootstrap(scores[None], *sides, EER, 30) == speaker_bootstrap(scores, *sides, EER, 30)


def test_rates_of_answers_agree_with_copied_answers(rng):
    first, second = rng.random((2, 3, 40)).round()
    speaker = rng.integers(7, size=40) * 10
    index = np.unique(speaker, return_inverse=True)[1]
    drawn = intervals._drawn_weights(7, 30, np.random.default_rng(2))
    copied = [np.repeat(np.arange(40), weights[index]) for weights in drawn]
    loops = [np.array([runs[:, rows].mean() for rows in copied]) for runs in (first, second)]
    found = intervals.compare_rates(first, second, speaker, 30, seed=2)
    reach = np.sqrt(7 / 6) * student.quantile(0.95, 6) * np.std(loops[0] - loops[1], ddof=1)
    assert (found.first, found.second) == pytest.approx((first.mean(), second.mean()))
    assert found.interval.high - found.difference == pytest.approx(reach)
    rate, interval = intervals.rate_bootstrap(first, speaker, 30, seed=2)
    assert rate == pytest.approx(first.mean()) and interval.low < rate < interval.high
    assert interval.num_speakers == 7
    with pytest.raises(ValueError, match="at least 3"):
        intervals.rate_bootstrap(first, speaker % 2, 30)


@pytest.mark.slow
@pytest.mark.parametrize("mean", [0.03, 0.2], ids=["few errors", "many errors"])
def test_the_interval_of_answers_covers_the_truth_as_often_as_it_says(mean):
    """Every speaker has an accuracy of his own: the answers about him go together."""
    rng = np.random.default_rng(11)
    speaker, runs, covered = np.repeat(np.arange(40), 6), 1000, 0
    for run in range(runs):
        wrong = rng.random(240) < rng.beta(5 * mean, 5 * (1 - mean), size=40)[speaker]
        _, interval = intervals.rate_bootstrap(1.0 - wrong, speaker, 200, seed=run)
        covered += interval.low <= 1 - mean <= interval.high
    assert 0.93 <= covered / runs <= 0.975  # the share itself has a deviation of 0.7 %
