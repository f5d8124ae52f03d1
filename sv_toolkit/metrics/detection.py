"""Error rates of a detector: the equal error rate, detection costs, the cost of log-likelihood ratios, the DET curve.

The same rules hold everywhere.  A larger score means more alike; a trial is accepted when score >= threshold.
Equal scores move together, so that the order of trials cannot matter.  A miss is a rejected target, a false
alarm an accepted nontarget; rates are fractions.  Scores must be finite: where a NaN lands in a sort decides
the result, so it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

SORT_AT_ONCE = 1 << 15  # lists up to this length are sorted whole; longer ones only near the crossing
SAMPLE = 1 << 14  # scores per side that locate the crossing: the gap of the rates is then known to 0.006 (one deviation)
SAMPLE_MARGIN = 0.03

Curve = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class EqualErrorPoint:
    """The equal error rate, and the operating point (`threshold`, `miss`, `false_alarm`) that comes closest to it."""

    rate: float
    threshold: float
    miss: float
    false_alarm: float


@dataclass(frozen=True)
class OperatingPoint:
    """What errors cost in an application: prior of a target, cost of a miss, cost of a false alarm."""

    p_target: float
    c_miss: float = 1.0
    c_fa: float = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.p_target < 1:
            raise ValueError(f"p_target must lie between 0 and 1, got {self.p_target}")
        if not (0 < self.c_miss < math.inf and 0 < self.c_fa < math.inf):
            raise ValueError(f"costs must be positive, got c_miss {self.c_miss} and c_fa {self.c_fa}")

    @property
    def trivial_cost(self) -> float:
        """Cost of the better of the two trivial systems (accept all, reject all): accept all, or reject all."""
        return min(self.c_miss * self.p_target, self.c_fa * (1 - self.p_target))

    @property
    def bayes_threshold(self) -> float:
        """Where to accept a log-likelihood ratio (natural logarithm) at the lowest expected cost."""
        return math.log(self.c_fa * (1 - self.p_target)) - math.log(self.c_miss * self.p_target)

    def cost(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        """Expected cost of these rates over that of the better of the two trivial systems (accept all, reject all): 1 is as good as accepting or rejecting everything."""
        return (self.c_miss * self.p_target * miss + self.c_fa * (1 - self.p_target) * false_alarm) / self.trivial_cost


# A cost with several points is the mean of their costs, each at its own threshold (as in SRE16, whose equal weight
# of the partitions of its list is not imitated).  VoxCeleb results are given at 0.01 (the paper) and at 0.05 (VoxSRC).
COSTS: dict[str, tuple[OperatingPoint, ...]] = {
    "voxceleb": (OperatingPoint(0.01, name="voxceleb"),),
    "voxsrc": (OperatingPoint(0.05, name="voxsrc"),),
    "sre08": (OperatingPoint(0.01, c_miss=10.0, name="sre08"),),
    "sre10": (OperatingPoint(0.001, name="sre10"),),
    "sre16": (OperatingPoint(0.01, name="sre16"), OperatingPoint(0.005, name="sre16")),
}


def error_rates(target_scores: np.ndarray, nontarget_scores: np.ndarray) -> Curve:
    """Every operating point that the scores allow.

    Args:
        target_scores: `(num_targets,)`.
        nontarget_scores: `(num_nontargets,)`.

    Returns:
        `thresholds, miss, false_alarm`, each `(num_distinct_scores + 1,)`; thresholds rise from the lowest score
        (accept all: 0, 1) through every distinct score to infinity (reject all: 1, 0).

    Raises:
        ValueError: a side is empty, or a score is not finite.

    >>> error_rates(np.array([1.0, 2.0]), np.array([0.0, 1.0]))
    (array([ 0.,  1.,  2., inf]), array([0. , 0. , 0.5, 1. ]), array([1. , 0.5, 0. , 0. ]))
    """
    target, nontarget = checked_scores(target_scores, nontarget_scores)
    return _rates_between(target, nontarget, -math.inf, math.inf)


def equal_error_rate(target_scores: np.ndarray, nontarget_scores: np.ndarray) -> float:
    """Rate at which misses equal false alarms, as a fraction.

    Between the two neighbouring operating points on either side of equality the rates are joined by a straight
    line (this is not the ROC convex hull, which is lower).  Exact for any number of trials and ties; the time
    grows with their number, and long lists are not sorted.

    >>> equal_error_rate(np.array([2.0, 3.0]), np.array([0.0, 1.0]))
    0.0
    >>> equal_error_rate(np.array([1.0, 1.0]), np.array([1.0]))  # nothing to tell them apart
    0.5
    """
    return eer_operating_point(target_scores, nontarget_scores).rate


def eer_operating_point(target_scores: np.ndarray, nontarget_scores: np.ndarray) -> EqualErrorPoint:
    """The equal error rate with a threshold to work at: of the two neighbours the one with nearer rates (the lower if equal)."""
    target, nontarget = checked_scores(target_scores, nontarget_scores)
    thresholds, miss, false_alarm = _rates_near_equality(target, nontarget)
    after = int(np.argmax(miss >= false_alarm))
    at = after if miss[after] - false_alarm[after] < false_alarm[after - 1] - miss[after - 1] else after - 1
    return EqualErrorPoint(eer_of_curve(miss, false_alarm), float(thresholds[at]), float(miss[at]), float(false_alarm[at]))


def eer_of_curve(miss: np.ndarray, false_alarm: np.ndarray) -> float:
    """Equal error rate of operating points `(num_points,)` in the order of rising thresholds, first accept-all."""
    gap = miss - false_alarm  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    before = after - 1
    weight = gap[before] / (gap[before] - gap[after])
    return float(miss[before] + weight * (miss[after] - miss[before]))


def min_dcf(target_scores: np.ndarray, nontarget_scores: np.ndarray, points: OperatingPoint | Sequence[OperatingPoint]) -> float:
    """Detection cost at the best threshold, over that of the better of the two trivial systems (accept all, reject all); the mean over several operating points.

    Never above 1, as rejecting or accepting everything is among the thresholds.

    >>> min_dcf(np.array([0.0, 2.0, 3.0]), np.array([0.0, 1.0]), OperatingPoint(0.5))
    0.3333333333333333
    """
    target, nontarget = checked_scores(target_scores, nontarget_scores)
    # Raising a threshold up to the next target score only sheds false alarms: the best one is a target score or infinity.
    thresholds = np.append(np.unique(target), target.dtype.type(math.inf))
    miss, false_alarm = _rates_at(np.sort(target), np.sort(nontarget), thresholds)
    return min_dcf_of_curve(miss, false_alarm, points)


def min_dcf_of_curve(miss: np.ndarray, false_alarm: np.ndarray, points: OperatingPoint | Sequence[OperatingPoint]) -> float:
    """`min_dcf` of operating points `(num_points,)`, reject-all among them."""
    points = [points] if isinstance(points, OperatingPoint) else points
    return float(np.mean([min(point.cost(miss, false_alarm).min(), 1.0) for point in points]))


def actual_dcf(target_llrs: np.ndarray, nontarget_llrs: np.ndarray, points: OperatingPoint | Sequence[OperatingPoint]) -> float:
    """Detection cost at the Bayes threshold, normalised as `min_dcf`; for log-likelihood ratios (natural logarithm).

    For uncalibrated scores, such as cosines, the number says nothing about the system.  It can exceed 1.
    """
    target, nontarget = checked_scores(target_llrs, nontarget_llrs)
    points = [points] if isinstance(points, OperatingPoint) else points
    return float(np.mean([_cost_at(target, nontarget, point.bayes_threshold, point) for point in points]))


def _cost_at(target: np.ndarray, nontarget: np.ndarray, threshold: float, point: OperatingPoint) -> np.ndarray:
    return point.cost(np.asarray(np.mean(target < threshold)), np.asarray(np.mean(nontarget >= threshold)))


def false_reject_rate_at(target_scores: np.ndarray, nontarget_scores: np.ndarray, false_alarm: float) -> float:
    """Miss rate at the lowest threshold that keeps false alarms at or under `false_alarm` (a fraction).

    A step, not interpolated: what a user gets who sets the threshold on these trials.
    """
    target, nontarget = checked_scores(target_scores, nontarget_scores)
    allowed = _count_within(false_alarm, len(nontarget), "false-alarm")
    if allowed == len(nontarget):
        return 0.0
    place = len(nontarget) - 1 - allowed  # of the best nontarget that must be rejected; the threshold is the next higher score
    return float(np.mean(target <= np.partition(nontarget, place)[place]))


def false_alarm_rate_at(target_scores: np.ndarray, nontarget_scores: np.ndarray, miss: float) -> float:
    """False-alarm rate at the highest threshold that keeps misses at or under `miss` (a fraction); a step, as above.

    >>> false_alarm_rate_at(np.array([1.0, 3.0]), np.array([0.0, 2.0]), 0.4)
    0.5
    """
    target, nontarget = checked_scores(target_scores, nontarget_scores)
    allowed = _count_within(miss, len(target), "miss")
    if allowed == len(target):
        return 0.0
    return float(np.mean(nontarget >= np.partition(target, allowed)[allowed]))


def _count_within(rate: float, num_trials: int, kind: str) -> int:
    """The most errors among the trials whose share is at most `rate`."""
    if not 0 <= rate <= 1:
        raise ValueError(f"a {kind} rate lies in [0, 1], got {rate}")
    count = min(int(rate * num_trials) + 1, num_trials)
    return count if count / num_trials <= rate else count - 1


def cllr(target_llrs: np.ndarray, nontarget_llrs: np.ndarray) -> float:
    """Cost of the log-likelihood ratios (natural logarithm) in bits, over all operating points: Brummer and du Preez 2006.

    0 for a detector that never errs and knows it, 1 for one that says nothing (every ratio 0), more for one that misleads.
    For uncalibrated scores, such as cosines, the number says nothing about the system.

    >>> cllr(np.array([0.0]), np.array([0.0]))
    1.0
    """
    target, nontarget = checked_scores(target_llrs, nontarget_llrs)
    costs = [np.logaddexp(0.0, side, dtype=np.float64).mean() for side in (-target, nontarget)]
    return float(sum(costs) / (2 * math.log(2)))


def probit(rates: np.ndarray) -> np.ndarray:
    """Where rates (fractions) stand on the axes of a DET plot: the inverse of the normal distribution function.

    Accurate to 1e-15 relative (Wichura 1988, algorithm AS 241, through the standard library); -inf at 0, inf at 1.

    Raises:
        ValueError: a rate lies outside [0, 1].
    """
    rates = np.asarray(rates, dtype=np.float64)
    if not np.all((rates >= 0) & (rates <= 1)):
        raise ValueError("a rate lies in [0, 1]")
    inside = (rates > 0) & (rates < 1)
    found = np.where(rates > 0, math.inf, -math.inf)
    found[inside] = np.fromiter(map(NormalDist().inv_cdf, rates[inside].tolist()), np.float64, np.count_nonzero(inside))
    return found


def det_points(target_scores: np.ndarray, nontarget_scores: np.ndarray, max_points: int = 200) -> Curve:
    """Operating points for a DET plot, at most `max_points`, evenly spaced along the curve as it is drawn.

    Returns:
        `thresholds, miss, false_alarm` as `error_rates`, both ends always kept.
    """
    if max_points < 2:
        raise ValueError(f"a curve needs at least 2 points, got {max_points}")
    curve = error_rates(target_scores, nontarget_scores)
    if len(curve[0]) <= max_points:
        return curve
    across = _logit(curve[1], len(target_scores)), _logit(curve[2], len(nontarget_scores))
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*(np.diff(axis) for axis in across)))])
    keep = np.searchsorted(length, np.linspace(0.0, length[-1], max_points))
    keep = np.unique(np.append(keep[:-1], len(length) - 1))  # the search finds the first of several points at the end
    return curve[0][keep], curve[1][keep], curve[2][keep]


def _logit(rate: np.ndarray, num_trials: int) -> np.ndarray:
    """Log odds, near enough to the probit axes of a DET plot for spacing; 0 and 1 stand half a trial away."""
    inside = np.clip(rate, 0.5 / num_trials, 1 - 0.5 / num_trials)
    return np.log(inside / (1 - inside))


def _rates_near_equality(target: np.ndarray, nontarget: np.ndarray) -> Curve:
    """The part of `error_rates` around the crossing, without sorting what lies far from it.

    A random sample says where the crossing must be; counting below that bracket and sorting inside it is exact.
    Should the sample mislead, the crossing is not in the bracket, which shows, and everything is sorted.
    """
    if len(target) + len(nontarget) > SORT_AT_ONCE:
        rng = np.random.default_rng(0)
        sample = [side if len(side) <= SAMPLE else side[rng.integers(len(side), size=SAMPLE)] for side in (target, nontarget)]
        thresholds, miss, false_alarm = _rates_between(sample[0], sample[1], -math.inf, math.inf)
        gap = miss - false_alarm
        low = thresholds[np.searchsorted(gap, -SAMPLE_MARGIN, side="right") - 1]
        high = thresholds[np.searchsorted(gap, SAMPLE_MARGIN)]
        near = _rates_between(target, nontarget, low, high)
        if near[1][0] < near[2][0] and near[1][-1] >= near[2][-1]:
            return near
    return _rates_between(target, nontarget, -math.inf, math.inf)


def _rates_between(target: np.ndarray, nontarget: np.ndarray, low: float, high: float) -> Curve:
    """Operating points at every distinct score in [low, high) and at `high`."""
    inside = [side[(side >= low) & (side < high)] for side in (target, nontarget)]
    for side in inside:
        side.sort()
    both = np.concatenate(inside)
    both.sort(kind="stable")  # merges the two sorted runs in linear time
    is_new = np.append(True, both[1:] != both[:-1]) if len(both) else np.zeros(0, dtype=bool)
    thresholds = np.append(both[is_new], both.dtype.type(high))
    below = np.count_nonzero(target < low), np.count_nonzero(nontarget < low)
    miss = (below[0] + np.searchsorted(inside[0], thresholds)) / len(target)
    false_alarm = (len(nontarget) - below[1] - np.searchsorted(inside[1], thresholds)) / len(nontarget)
    return thresholds, miss, false_alarm


def _rates_at(sorted_target: np.ndarray, sorted_nontarget: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    miss = np.searchsorted(sorted_target, thresholds) / len(sorted_target)
    accepted = len(sorted_nontarget) - np.searchsorted(sorted_nontarget, thresholds)
    return miss, accepted / len(sorted_nontarget)


def checked_scores(target_scores: np.ndarray, nontarget_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as one floating type of at least 32 bits.

    Raises:
        ValueError: a side is empty or has several axes, or a score is not finite.
    """
    target, nontarget = _finite(target_scores, "target"), _finite(nontarget_scores, "nontarget")
    common = np.result_type(target, nontarget)
    return target.astype(common, copy=False), nontarget.astype(common, copy=False)


def _finite(scores: np.ndarray, kind: str) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 1:
        raise ValueError(f"{kind} scores must have one axis, got shape {scores.shape}")
    if len(scores) == 0:
        raise ValueError(f"there are no {kind} scores; an error rate needs both kinds of trials")
    scores = scores.astype(np.result_type(scores, np.float32), copy=False)
    if not (np.isfinite(scores.min()) and np.isfinite(scores.max())):  # a NaN shows in both; needs no mask of 1e7 flags
        bad = int(np.argmin(np.isfinite(scores)))
        raise ValueError(f"{kind} score {bad} is {scores[bad]}; scores must be finite")
    return scores
