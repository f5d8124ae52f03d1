"""The map of a calibration: a score, bent or as it is, and quality measures of the trial, to a log-likelihood ratio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sv_toolkit.backends.logistic import fit_llr
from sv_toolkit.errors import ConfigError, DataError, shown

LARGEST = 1e300  # of log-likelihood ratios
BEND_QUANTILES = (0.05, 0.5)  # of the target scores: the bend lies between them, about where decisions are made
STEEPEST = 10.0  # how many times the one slope may be the other: a fit on few targets must not level out a side

QualityValues = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class QualityRange:
    """A quality measure beside the score, and the values it had in the fit; others are taken as the nearest of these."""

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"the range of {shown(self.name)} is empty: {self.low} to {self.high}")


@dataclass(frozen=True)
class Bend:
    """A monotone map of scores: slope 1 below `low`, `slope` above `high`, changing evenly in between.

    Targets spread wider than nontargets, as a rule, and no affine map of such scores gives log-likelihood ratios.  Two
    slopes follow them better, and keep their order.
    """

    low: float
    high: float
    slope: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"the bend is empty: {self.low} to {self.high}")
        if not self.slope > 0:
            raise ConfigError(f"the slope above the bend must be positive, got {self.slope}")

    @classmethod
    def fit(cls, scores: np.ndarray, is_target: np.ndarray, prior: float, measures: np.ndarray) -> Bend:
        """The bend under which the affine fit of scores and `measures` `(num_trials, num_measures)` is best.

        A convex problem in both slopes; where they come out further apart than `STEEPEST`, the best of those that are
        allowed lie that far apart.

        Raises:
            DataError: what `fit_llr` refuses, all targets have one score, or nontargets have the larger scores.
        """
        low, high = np.quantile(scores[is_target], BEND_QUANTILES).tolist() if is_target.any() else (0.0, 0.0)
        if not low < high:
            raise DataError("a bend needs targets of different scores; calibrate without")
        weights, _ = fit_llr(np.column_stack([scores, _rise(scores, low, high), measures]), is_target, prior)
        below, above = float(weights[0]), float(weights[0] + weights[1])
        _refuse_falling(max(below, above))
        return cls(low, high, float(np.clip(above / below, 1 / STEEPEST, STEEPEST)) if below > 0 else STEEPEST)

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Bent scores, of the shape of `scores`."""
        return scores + (self.slope - 1) * _rise(scores, self.low, self.high)


@dataclass(frozen=True)
class ScoreMap:
    """An affine map of a score, and of quality measures where it has any, to a log-likelihood ratio.

    Attributes:
        weights: of the score (positive), then of each quality measure.
        offset: added to the weighted sum.
        quality: names and ranges of the quality measures.
        bend: of the score before its weight, None where it is taken as it is.
    """

    weights: tuple[float, ...]
    offset: float
    quality: tuple[QualityRange, ...] = ()
    bend: Bend | None = None

    def __post_init__(self) -> None:
        if len(self.weights) != 1 + len(self.quality):
            raise ConfigError(f"{len(self.weights)} weights for a score and {len(self.quality)} quality measures")
        if not self.weights[0] > 0:
            raise ConfigError(f"the weight of the score must be positive, got {self.weights[0]}")

    @classmethod
    def fit(cls, scores: np.ndarray, is_target: np.ndarray, prior: float, quality: QualityValues, bent: bool) -> ScoreMap:
        """The map that fits labelled scores best at `prior` (`logistic.fit_llr`); `calibration.calibrate` says more."""
        scores = np.asarray(scores, np.float64)
        measures = np.column_stack([np.empty((len(scores), 0)), *quality.values()])
        bend = Bend.fit(scores, is_target, prior, measures) if bent else None
        weights, offset = fit_llr(np.column_stack([bend(scores) if bend else scores, measures]), is_target, prior)
        _refuse_falling(weights[0])
        ranges = tuple(QualityRange(name, float(x.min()), float(x.max())) for name, x in quality.items())
        return cls(tuple(weights.tolist()), offset, ranges, bend)

    @property
    def quality_names(self) -> tuple[str, ...]:
        """Of the measures that `llr` needs."""
        return tuple(measure.name for measure in self.quality)

    def llr(self, scores: np.ndarray, quality: QualityValues | None = None) -> np.ndarray:
        """Natural log-likelihood ratios `(num_trials,)` of `scores`, rising with them.

        Args:
            quality: `(num_trials,)` of each of `quality_names`; others are passed over.

        Raises:
            ValueError: a measure is missing or does not fit the scores.
        """
        scores = np.asarray(scores, np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            total = self.weights[0] * (self.bend(scores) if self.bend else scores) + self.offset
            for weight, measure in zip(self.weights[1:], self.quality):
                total = total + weight * _clipped(quality or {}, measure, scores.shape)
        return refuse_infinite(total)


def refuse_infinite(ratios: np.ndarray) -> np.ndarray:
    """`ratios`, or DataError where weights of a file are so large that they overflow."""
    if not (np.abs(ratios) < LARGEST).all():  # nor what rounding to decimals makes of them
        raise DataError("log-likelihood ratios are not finite: the weights or the offset are too large for these scores")
    return ratios


def _rise(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """Zero below `low`, a parabola up to `high`, and from there a line of slope 1."""
    within = np.clip(scores, low, high) - low
    return within**2 / (2 * (high - low)) + np.maximum(scores - high, 0)


def _refuse_falling(weight: float) -> None:
    if weight <= 0:
        raise DataError("the larger scores belong to nontargets: are the labels right, or are these distances?")


def _clipped(quality: QualityValues, measure: QualityRange, shape: tuple[int, ...]) -> np.ndarray:
    if measure.name not in quality:
        raise ValueError(f"this calibration needs the quality measure {measure.name}")
    values = np.asarray(quality[measure.name], np.float64)
    if values.shape != shape or not np.isfinite(values).all():
        raise ValueError(f"{measure.name} has shape {values.shape} or is not finite, the scores have shape {shape}")
    return np.clip(values, measure.low, measure.high)
