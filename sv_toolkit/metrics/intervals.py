"""Confidence intervals that know that trials of one speaker go together.

A hundred trials of one speaker are not a hundred independent answers: an interval from resampled trials is
several times too narrow.  Here speakers are drawn with replacement, and the trials follow with their speakers
(both sides of a pair: the pigeonhole bootstrap, Owen 2007).

The spread of the draws says how many independent trials would be as uncertain, and Wilson's interval follows from that
number with Student's t (`proportions`).  In simulations with known EERs of 8 and 2 % (`benchmarks/interval_coverage.py`)
nominal 95 % held the truth in 94 to 98 %, all pairs or enrollment and test, 10 to 100 speakers.  It was 92 % for 20
speakers with 45 pairs of each at 2 %: many trials of few speakers.  It was 99 % where so few trials meet 2 % that often
hardly an error is seen (10 speakers, 20 with 4 target trials each): there the number of target trials decides.

A least detection cost is chosen at the best threshold of these very trials and comes out low.  The draws show a part of
that bias, which is taken off, and, the nearer the cost is to 1, the more of it once more from the upper end: there the draws
show the smaller part.  For 20 and 40 speakers its interval holds the truth in 84 to 98 %, weak systems with costs of 0.86 to 1
included; for 6 and 10 speakers in 81 to 100 % of such costs, and in 65 to 97 % of lower ones.

Two systems on one list are compared by the same draws of both, so that what is hard for both cancels out.
Without a true difference p fell under 0.05 in 0 to 5 % of the simulations for the EER, in 2 to 10 % for least costs.

Scores of several seeds of one system are averaged after the statistic: each draw evaluates all seeds with the same
speakers, and the interval is that of the mean over these seeds; it does not speak of seeds that were not run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sv_toolkit.metrics import student
from sv_toolkit.metrics.proportions import effective_size, log_odds, wilson

Statistic = Callable[[np.ndarray, np.ndarray], float]
Values = dict[str, np.ndarray]

TRIAL_VISITS = 2_000_000_000  # trials times replicates: longer lists get fewer replicates, for seconds instead of minutes
MIN_REPLICATES = 200


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, found with so many replicates over so many speakers."""

    low: float
    high: float
    num_replicates: int
    num_speakers: int


@dataclass(frozen=True)
class Difference:
    """A statistic of two systems on the same trials: `difference` is `first - second`, in `interval`; its two-sided p-value."""

    first: float
    second: float
    difference: float
    interval: Interval
    p_value: float


def speaker_bootstrap(
    scores: np.ndarray,
    is_target: np.ndarray,
    enroll_speaker_index: np.ndarray,
    test_speaker_index: np.ndarray,
    statistics: Mapping[str, Statistic],
    num_replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals of statistics of the error curve, by resampling the speakers.

    In a replicate speaker i counts w_i times, and the w_i sum to the number of speakers.  A trial of speaker i
    against itself weighs w_i, one of i against j weighs w_i w_j.  Replicates without a target or without a
    nontarget trial are left out.  The interval is Wilson's for the number of independent trials that would spread as
    much as the draws do (`proportions`), moved by the bias of the draws, and always holds the estimate.

    Args:
        scores: `(num_trials,)`, finite; or `(num_seeds, num_trials)` for the mean of the statistic over the seeds.
        is_target: `(num_trials,)` bool.
        enroll_speaker_index: `(num_trials,)`, speaker of the enrollment model; any integers.
        test_speaker_index: `(num_trials,)`, speaker of the test utterance, in the same numbering.
        statistics: name -> function of `(miss, false_alarm)`, such as `eer_of_curve`, with values from 0 to 1.  They get
            the corners of the curve, which goes straight in between: accept-all first, reject-all last.
        num_replicates: how many draws; `affordable_replicates` says when there are fewer.
        seed: of the draws; the same seed gives the same interval.
        level: the coverage aimed at.

    Raises:
        ValueError: fewer than 3 speakers, a target trial of two speakers, or only one kind of trial.
    """
    runs = _sorted_runs(scores, is_target, enroll_speaker_index, test_speaker_index)
    drawn = _drawn_weights(runs[0].num_speakers, affordable_replicates(np.size(scores), num_replicates), np.random.default_rng(seed))
    replicates, estimate = _evaluate(runs, statistics, drawn), _evaluate(runs, statistics, _ones(runs))
    rarer = min(len(runs[0].target_left), len(runs[0].nontarget_left))
    return {name: _interval(replicates[name], estimate[name][0], rarer, runs[0].num_speakers, level, True) for name in statistics}


def compare_systems(
    first_scores: np.ndarray,
    second_scores: np.ndarray,
    is_target: np.ndarray,
    enroll_speaker_index: np.ndarray,
    test_speaker_index: np.ndarray,
    statistics: Mapping[str, Statistic],
    num_replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Differences between two systems on one list, by resampling the speakers of both at once.

    The interval is the difference plus and minus t deviations of its draws; the p-value is the probability of a
    difference at least as large, either way, if there is none (the same t): it is under `1 - level` where the interval
    leaves 0 out.  Systems that never differ in any draw have no deviation: p is then 1 without a difference, 0 with one.

    Args:
        first_scores, second_scores: `(num_trials,)`, finite, of the same trials; their scales may differ.  Or
            `(num_seeds, num_trials)` for means over seeds, of which the systems may have different numbers.

    The other arguments, and what is raised, are those of `speaker_bootstrap`.
    """
    sides = (is_target, enroll_speaker_index, test_speaker_index)
    first, second = _sorted_runs(first_scores, *sides), _sorted_runs(second_scores, *sides)
    made = affordable_replicates(np.size(first_scores) + np.size(second_scores), num_replicates)
    drawn = _drawn_weights(first[0].num_speakers, made, np.random.default_rng(seed))
    of_first, of_second = _evaluate(first, statistics, drawn), _evaluate(second, statistics, drawn)
    at_first, at_second = _evaluate(first, statistics, _ones(first)), _evaluate(second, statistics, _ones(second))
    return {
        name: _difference(at_first[name][0], at_second[name][0], of_first[name] - of_second[name], first[0].num_speakers, level)
        for name in statistics
    }


def rate_bootstrap(
    shares: np.ndarray, speaker_index: np.ndarray, num_replicates: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, Interval]:
    """The mean of answers and its interval, by resampling the speakers that the questions were about.

    Args:
        shares: `(num_tests,)` or `(num_seeds, num_tests)`, how right each answer is, from 0 to 1 (see `first_shares`).
        speaker_index: `(num_tests,)`, speaker of each test; any integers.

    The other arguments are those of `speaker_bootstrap`, and so is the scale of the interval.

    Raises:
        ValueError: fewer than 3 speakers.
    """
    sums, counts = _by_speaker(shares, speaker_index)
    drawn = _drawn_weights(len(counts), num_replicates, np.random.default_rng(seed))
    estimate = float(sums.sum() / counts.sum())
    return estimate, _interval(drawn @ sums / (drawn @ counts), estimate, int(counts.sum()), len(counts), level)


def compare_rates(
    first_shares: np.ndarray,
    second_shares: np.ndarray,
    speaker_index: np.ndarray,
    num_replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """The difference of two such means, answers of two systems to the same questions; interval and p as in `compare_systems`."""
    (first, counts), (second, _) = _by_speaker(first_shares, speaker_index), _by_speaker(second_shares, speaker_index)
    drawn = _drawn_weights(len(counts), num_replicates, np.random.default_rng(seed))
    rates = (first.sum() / counts.sum(), second.sum() / counts.sum())
    return _difference(*rates, drawn @ (first - second) / (drawn @ counts), len(counts), level)


def _by_speaker(shares: np.ndarray, speaker_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the shares (mean over seeds) and number of the tests of each speaker."""
    speakers, speaker = np.unique(speaker_index, return_inverse=True)
    if len(speakers) < 3:
        raise ValueError(f"resampling speakers needs at least 3 of them, got {len(speakers)}")
    return np.bincount(speaker, np.atleast_2d(shares).mean(axis=0)), np.bincount(speaker)


def affordable_replicates(num_trials: int, wanted: int) -> int:
    """How many replicates are made: as wanted, as `TRIAL_VISITS` allows, and never under `MIN_REPLICATES` for speed."""
    return min(wanted, max(MIN_REPLICATES, TRIAL_VISITS // max(num_trials, 1)))


@dataclass(frozen=True)
class _SortedTrials:
    """Trials in the order of their scores, with all that does not change between replicates.

    A trial weighs `weights[left] * weights[right]`; a trial within one speaker has on the right the extra index
    `num_speakers`, whose weight is 1.
    """

    num_speakers: int
    target_left: np.ndarray
    nontarget_left: np.ndarray
    nontarget_right: np.ndarray
    target_corners: np.ndarray
    nontarget_corners: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, is_target: np.ndarray, enroll_speaker: np.ndarray, test_speaker: np.ndarray) -> _SortedTrials:
        is_target = np.asarray(is_target, dtype=bool)
        speakers, both = np.unique(np.concatenate([enroll_speaker, test_speaker]), return_inverse=True)
        left, right = both.reshape(2, -1)
        if len(speakers) < 3:
            raise ValueError(f"resampling speakers needs at least 3 of them, got {len(speakers)}")
        if np.any(is_target & (left != right)):
            raise ValueError(f"trial {int(np.argmax(is_target & (left != right)))} is a target, but of two speakers")
        if is_target.all() or not is_target.any():
            raise ValueError("an error rate needs both target and nontarget trials")
        target, nontarget = _by_score(scores, is_target), _by_score(scores, ~is_target)
        right_or_extra = np.where(left == right, len(speakers), right)[nontarget]
        return cls(len(speakers), left[target], left[nontarget], right_or_extra, *_corners(scores[target], scores[nontarget]))

    def curve(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Miss and false-alarm rates at the corners under speaker `weights`; None where a side has no weight."""
        weights = np.append(weights, 1)
        missed = _running_sum(weights.take(self.target_left))[self.target_corners]
        rejected = _running_sum(weights.take(self.nontarget_left) * weights.take(self.nontarget_right))[self.nontarget_corners]
        if missed[-1] == 0 or rejected[-1] == 0:
            return None
        return missed / missed[-1], (rejected[-1] - rejected) / rejected[-1]


def _sorted_runs(scores: np.ndarray, *sides: np.ndarray) -> list[_SortedTrials]:
    """One for each seed."""
    return [_SortedTrials.of(each, *sides) for each in np.atleast_2d(scores)]


def _by_score(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    indices = np.flatnonzero(chosen)
    return indices[np.argsort(scores[indices], kind="stable")]


def _corners(target: np.ndarray, nontarget: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many sorted targets and nontargets are rejected at each corner of the curve.

    Between two target scores only false alarms change, along a straight line; so the points just at and just
    above every distinct target score are all that matters, with accept-all before and reject-all after them.
    """
    distinct = np.unique(target)
    corners = []
    for side in (target, nontarget):
        at_and_above = np.stack([np.searchsorted(side, distinct, "left"), np.searchsorted(side, distinct, "right")], axis=1)
        corners.append(np.concatenate([[0], at_and_above.ravel(), [len(side)]]))
    return corners[0], corners[1]


def _running_sum(weights: np.ndarray) -> np.ndarray:
    """Sum of the first k weights at [k]."""
    sums = np.zeros(len(weights) + 1, dtype=np.int64)
    np.cumsum(weights, out=sums[1:])
    return sums


def _drawn_weights(num_speakers: int, num_replicates: int, rng: np.random.Generator) -> np.ndarray:
    """`(num_replicates, num_speakers)`: how often each speaker is drawn."""
    return rng.multinomial(num_speakers, np.full(num_speakers, 1 / num_speakers), size=num_replicates)


def _ones(runs: Sequence[_SortedTrials]) -> np.ndarray:
    """The weights of the trials as they are."""
    return np.ones((1, runs[0].num_speakers), dtype=np.int64)


def _evaluate(runs: Sequence[_SortedTrials], statistics: Mapping[str, Statistic], weights: np.ndarray) -> Values:
    """Mean over the runs; whether a side has weight depends on the speakers alone, so all runs leave out the same replicates."""
    of_runs = []
    for trials in runs:
        curves = (trials.curve(row) for row in weights)
        rows = [[statistic(*curve) for statistic in statistics.values()] for curve in curves if curve is not None]
        of_runs.append(np.array(rows).reshape(-1, len(statistics)).T)
    return dict(zip(statistics, np.mean(of_runs, axis=0)))


def _interval(
    replicates: np.ndarray, estimate: float, num_trials: int, num_speakers: int, level: float, is_chosen: bool = False
) -> Interval:
    """Wilson's interval around the estimate less its bias, with the effective size that the spread of the log odds gives.

    Args:
        is_chosen: the estimate may be the least of many, at a threshold of these very trials.
    """
    half_an_error = 0.5 / num_trials
    spread = _deviation(log_odds(replicates, half_an_error), num_speakers)
    bias = float(np.mean(replicates)) - estimate  # what a draw is to the trials, the trials are to the truth
    center = min(max(estimate - bias, 0.0), 1.0)
    # Where the bias moves a cost to 1, a rate there has no variance, and any spread would look like that of no trials at all.
    rate = min(center, estimate) if is_chosen and center > 0.5 else center
    smooth = (rate + half_an_error) / (1 + 2 * half_an_error)
    # The spread of the rates themselves is far too small where few errors are left; that of their log odds keeps the right size.
    variance = (spread * smooth * (1 - smooth)) ** 2 + bias**2
    size = effective_size(rate, variance, num_trials)
    low, high = wilson(center, size, student.quantile(level, num_speakers - 1))
    if is_chosen:
        high = min(high + max(2 * estimate - 1, 0.0) * max(-bias, 0.0), 1.0)
    return Interval(min(low, float(estimate)), max(high, float(estimate)), len(replicates), num_speakers)


def _difference(first: float, second: float, drawn: np.ndarray, num_speakers: int, level: float) -> Difference:
    difference, deviation = first - second, _deviation(drawn, num_speakers)
    reach = student.quantile(level, num_speakers - 1) * deviation
    interval = Interval(float(difference - reach), float(difference + reach), len(drawn), num_speakers)
    p_value = student.two_sided_p(difference / deviation, num_speakers - 1) if deviation > 0 else float(difference == 0)
    return Difference(float(first), float(second), float(difference), interval, p_value)


def _deviation(drawn: np.ndarray, num_speakers: int) -> float:
    """Standard deviation of the draws; drawing n values shrinks their variance by (n - 1) / n, which is undone."""
    if len(drawn) < 2:
        raise ValueError("no two replicates held both target and nontarget trials: too few speakers have target trials")
    return float(np.std(drawn, ddof=1)) * (num_speakers / (num_speakers - 1)) ** 0.5
