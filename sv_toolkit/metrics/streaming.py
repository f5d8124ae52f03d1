"""Error rates of more scores than fit in memory: counts in fine bins, with bounds on what the bins hide.

Scores are sorted into bins by the leading bits of their float32 form, put in rising order.  So there is no range
to choose, any chunks in any order give the same counts, and a bin is `2 ** -FRACTION_BITS` of its score wide.
The edges of the bins are true operating points; what lies between two of them is known to lie between their rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sv_toolkit.metrics.detection import OperatingPoint, eer_of_curve

FRACTION_BITS = 13  # of a float32's 23: bins are a 8192th part of the score wide, 0.00006 at a cosine of 0.5
_SHIFT = 23 - FRACTION_BITS
NUM_BINS = 1 << (32 - _SHIFT)
_ADD_AT_ONCE = 1 << 22  # scores binned at a time: the work beside their own memory


@dataclass(frozen=True)
class Bounded:
    """A number, and the ends between which the exact one lies for certain."""

    value: float
    low: float
    high: float


@dataclass
class ScoreHistogram:
    """How many target and nontarget scores fell into each bin, `(NUM_BINS,)` each; 64 MB in all."""

    targets: np.ndarray = field(default_factory=lambda: np.zeros(NUM_BINS, dtype=np.int64))
    nontargets: np.ndarray = field(default_factory=lambda: np.zeros(NUM_BINS, dtype=np.int64))

    def add(self, scores: np.ndarray, is_target: np.ndarray) -> None:
        """Count a chunk of scores, `(num_trials,)` each; larger chunks cost less per score.

        Raises:
            ValueError: a score is not finite as float32.
        """
        self.add_scores(scores[is_target], np.zeros(0, np.float32))
        self.add_scores(np.zeros(0, np.float32), scores[~is_target])

    def add_scores(self, target_scores: np.ndarray, nontarget_scores: np.ndarray) -> None:
        """The same for scores that are apart already."""
        for counts, scores in ((self.targets, target_scores), (self.nontargets, nontarget_scores)):
            for start in range(0, len(scores), _ADD_AT_ONCE):
                counts += np.bincount(bins_of(scores[start : start + _ADD_AT_ONCE]), minlength=NUM_BINS)

    def merge(self, other: ScoreHistogram) -> None:
        """Add the counts of another histogram."""
        self.targets += other.targets
        self.nontargets += other.nontargets

    @property
    def num_targets(self) -> int:
        """Target scores counted."""
        return int(self.targets.sum())

    @property
    def num_nontargets(self) -> int:
        """Nontarget scores counted."""
        return int(self.nontargets.sum())

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Miss and false-alarm rates at the lower edges of the bins that hold scores, then of reject-all.

        Raises:
            ValueError: a side is empty.
        """
        if not (self.targets.any() and self.nontargets.any()):
            raise ValueError("an error rate needs both target and nontarget scores")
        used = np.flatnonzero(self.targets + self.nontargets)
        missed, rejected = (np.append(0, np.cumsum(counts[used])) for counts in (self.targets, self.nontargets))
        return missed / missed[-1], (rejected[-1] - rejected) / rejected[-1]

    def equal_error_rate(self) -> Bounded:
        """`detection.equal_error_rate` with all scores of a bin taken for equal, and bounds on that of the scores themselves.

        The crossing of the rates lies in one bin.  Whatever is in it, misses stay between those at its two edges, and so
        do false alarms.
        """
        miss, false_alarm = self.curve()
        after = int(np.argmax(miss >= false_alarm))
        low, high = max(miss[after - 1], false_alarm[after]), min(miss[after], false_alarm[after - 1])
        return Bounded(eer_of_curve(miss, false_alarm), float(low), float(high))

    def min_dcf(self, points: OperatingPoint | Sequence[OperatingPoint]) -> Bounded:
        """`detection.min_dcf` at the edges of the bins, which is the upper bound; inside a bin no cost is under that of its best corner."""
        points = [points] if isinstance(points, OperatingPoint) else points
        miss, false_alarm = self.curve()
        at_edges = [min(float(point.cost(miss, false_alarm).min()), 1.0) for point in points]
        inside = [min(float(point.cost(miss[:-1], false_alarm[1:]).min()), edge) for point, edge in zip(points, at_edges)]
        return Bounded(float(np.mean(at_edges)), float(np.mean(inside)), float(np.mean(at_edges)))


def bins_of(scores: np.ndarray) -> np.ndarray:
    """The bin of each score, `(num_scores,)` uint32: a larger score never has a smaller bin, 0.0 and -0.0 share one.

    Raises:
        ValueError: a score is not finite as float32.
    """
    with np.errstate(over="ignore"):
        values = np.asarray(scores).astype(np.float32) + np.float32(0)  # -0.0 becomes 0.0
    if len(values) and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        bad = int(np.argmin(np.isfinite(values)))
        raise ValueError(f"score {bad} is {scores[bad]}; scores must be finite in float32")
    bits = values.view(np.uint32)
    negative = (bits >> np.uint32(31)).astype(bool)
    ordered = np.where(negative, ~bits, bits | np.uint32(1 << 31))
    return ordered >> np.uint32(_SHIFT)
