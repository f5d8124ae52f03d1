"""Calibration: from scores to log-likelihood ratios, and from these to decisions with the error rates they had.

A calibrated score is the natural logarithm of how many times likelier the two sides sound as one speaker than as two.
The threshold then follows from the application alone (prior and costs) and no longer from the scores.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.backends.logistic import fit_llr, logit, sigmoid
from sv_toolkit.backends.records import read_record, write_record
from sv_toolkit.errors import ConfigError, DataError, ModelError, plain, shown
from sv_toolkit.metrics.detection import OperatingPoint, det_points

KIND, NAME = "calibration", "calibration.json"
# Between the priors of 0.01 and 0.05 that detection costs are reported at and the 0.5 of Cllr: on simulated scores that no
# affine map makes ideal, a fit here comes nearest to the lowest costs at all three, also from a few hundred targets.
DEFAULT_PRIOR = 0.05
CURVE_POINTS = 500
LARGEST = 1e300  # of log-likelihood ratios
FEW_TARGETS, FEW_SPEAKERS = 30, 20

logger = logging.getLogger("sv_toolkit")

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
class FitList:
    """The trial list of a fit: file name, hash as sv-check-trials prints it (12 digits), and counts."""

    name: str
    hash: str
    num_targets: int
    num_nontargets: int

    def __post_init__(self) -> None:
        if self.num_targets < 1 or self.num_nontargets < 1:
            raise ConfigError(f"a fit needs targets and nontargets, got {self.num_targets} and {self.num_nontargets}")


@dataclass(frozen=True)
class Calibration:
    """An affine map of a score, and of quality measures where it has any, to a log-likelihood ratio.

    Attributes:
        weights: of the score (positive), then of each quality measure.
        offset: added to the weighted sum.
        prior: of a target, that the fit was weighted by.
        list: the trials of the fit.
        curve: `(threshold, false_alarm_rate, miss_rate)` of that list, thresholds (log-likelihood ratios) rising.
        quality: names and ranges of the quality measures.
        scoring: what made the scores ("cosine"); other scores need another calibration.
        model: digest of the embedding model, None where it is not known.
    """

    weights: tuple[float, ...]
    offset: float
    prior: float
    list: FitList
    curve: tuple[tuple[float, float, float], ...]
    quality: tuple[QualityRange, ...] = ()
    scoring: str = "cosine"
    model: str | None = None

    def __post_init__(self) -> None:
        if len(self.weights) != 1 + len(self.quality):
            raise ConfigError(f"{len(self.weights)} weights for a score and {len(self.quality)} quality measures")
        if not self.weights[0] > 0:
            raise ConfigError(f"the weight of the score must be positive, got {self.weights[0]}")
        if not 0 < self.prior < 1:
            raise ConfigError(f"prior must lie between 0 and 1, got {self.prior}")
        _refuse_crooked(np.array(self.curve, dtype=np.float64).reshape(-1, 3))

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
        return _mapped(self.weights, self.offset, self.quality, scores, quality or {})

    @staticmethod
    def posterior(llr: np.ndarray, prior: float) -> np.ndarray:
        """Probability that the trial is a target, where targets come with the probability `prior`."""
        return sigmoid(np.asarray(llr, np.float64) + logit(prior))

    @staticmethod
    def threshold(prior: float, cost_miss: float = 1.0, cost_fa: float = 1.0) -> float:
        """The log-likelihood ratio from which accepting costs less than rejecting (Bayes)."""
        return OperatingPoint(prior, cost_miss, cost_fa).bayes_threshold

    def rates_at(self, llr: float) -> tuple[float, float]:
        """False-alarm rate and miss rate of the threshold `llr` on the list of the fit.

        Between the points of the curve they are joined by straight lines; a rate of 0 says that none of the list's
        `num_nontargets` (or `num_targets`) went wrong, no more.  The fit has seen this list, which flatters a little.
        """
        thresholds, false_alarm, miss = np.array(self.curve).T
        if llr > thresholds[-1]:
            return 0.0, 1.0
        return float(np.interp(llr, thresholds, false_alarm)), float(np.interp(llr, thresholds, miss))


def _refuse_crooked(curve: np.ndarray) -> None:
    if not len(curve) or not np.isfinite(curve).all():
        raise ConfigError("the curve has no points, or points that are not finite")
    steps, rates = np.diff(curve, axis=0), curve[:, 1:]
    if (steps[:, 0] <= 0).any() or (steps[:, 1] > 0).any() or (steps[:, 2] < 0).any() or rates.min() < 0 or rates.max() > 1:
        raise ConfigError("the curve must have rising thresholds, falling false-alarm rates and rising miss rates, all in [0, 1]")


def calibrate(
    scores: np.ndarray,
    is_target: np.ndarray,
    trials: FitList,
    prior: float = DEFAULT_PRIOR,
    quality: QualityValues | None = None,
    scoring: str = "cosine",
    model: str | None = None,
) -> Calibration:
    """The calibration that fits labelled scores best at `prior` (`logistic.fit_llr`).

    Positive affine maps of the scores leave its log-likelihood ratios as they are.

    Args:
        scores: `(num_trials,)`, finite.
        is_target: `(num_trials,)` bool.
        trials: what to record of the list.
        quality: name -> `(num_trials,)`, for example of `data.quality.log_durations`.

    Raises:
        DataError: what `fit_llr` refuses, or nontargets have the larger scores.
    """
    weights, offset, ranges = _fit(scores, is_target, prior, quality or {})
    llr = _mapped(weights, offset, ranges, scores, quality or {})
    return Calibration(weights, offset, prior, trials, _curve(llr[is_target], llr[~is_target]), ranges, scoring, model)


def _fit(
    scores: np.ndarray, is_target: np.ndarray, prior: float, quality: QualityValues
) -> tuple[tuple[float, ...], float, tuple[QualityRange, ...]]:
    weights, offset = fit_llr(np.column_stack([scores, *quality.values()]), is_target, prior)
    if weights[0] <= 0:
        raise DataError("the larger scores belong to nontargets: are the labels right, or are these distances?")
    return tuple(weights.tolist()), offset, tuple(QualityRange(name, float(x.min()), float(x.max())) for name, x in quality.items())


def _mapped(
    weights: tuple[float, ...], offset: float, measures: tuple[QualityRange, ...], scores: np.ndarray, quality: QualityValues
) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return refuse_infinite(_weighted(weights, offset, measures, scores, quality))


def refuse_infinite(ratios: np.ndarray) -> np.ndarray:
    """`ratios`, or DataError where weights of a file are so large that they overflow."""
    if not (np.abs(ratios) < LARGEST).all():  # nor what rounding to decimals makes of them
        raise DataError("log-likelihood ratios are not finite: the weights or the offset are too large for these scores")
    return ratios


def _weighted(
    weights: tuple[float, ...], offset: float, measures: tuple[QualityRange, ...], scores: np.ndarray, quality: QualityValues
) -> np.ndarray:
    total = weights[0] * scores + offset
    for weight, measure in zip(weights[1:], measures):
        if measure.name not in quality:
            raise ValueError(f"this calibration needs the quality measure {measure.name}")
        values = np.asarray(quality[measure.name], np.float64)
        if values.shape != scores.shape or not np.isfinite(values).all():
            raise ValueError(f"{measure.name} has shape {values.shape} or is not finite, the scores have shape {scores.shape}")
        total = total + weight * np.clip(values, measure.low, measure.high)
    return total


def _curve(target: np.ndarray, nontarget: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    thresholds, miss, false_alarm = det_points(target, nontarget, CURVE_POINTS + 1)
    points = zip(thresholds[:-1].tolist(), false_alarm[:-1].tolist(), miss[:-1].tolist())  # the last is infinity: reject all
    return tuple(points)


def warn_of_weak_evidence(scores: np.ndarray, is_target: np.ndarray, num_speakers: int | None, where: Path) -> None:
    """Say where the list cannot carry the fit: few targets or speakers (None: not known), or no error at the best threshold."""
    if scores[is_target].min() > scores[~is_target].max():
        logger.warning("%s: one threshold tells all targets from all nontargets: the size of the ratios is a guess", plain(where))
    if is_target.sum() < FEW_TARGETS:
        logger.warning("%s: few target trials: a calibration on %d is rough", plain(where), is_target.sum())
    if num_speakers is not None and num_speakers < FEW_SPEAKERS:
        logger.warning("%s: few speakers: a calibration on %d fits them and not others", plain(where), num_speakers)


def refuse_no_cosines(scores: np.ndarray, where: Path, way_out: str) -> None:
    """Stop where scores that are said to be cosines cannot be: they lie outside of [-1, 1].

    Raises:
        DataError: with the way out.
    """
    if np.abs(scores).max() > 1 + 1e-6:
        raise DataError(f"{plain(where)}: {scores[np.argmax(np.abs(scores))]:g} is no cosine; {way_out}")


def refuse_other_origin(calibration: Calibration, where: Path, scoring: str, model: str | None) -> None:
    """Stop where scores come from another back end or another model than those of the fit; what is not known is passed over.

    Raises:
        ModelError: the calibration would give numbers that mean nothing.
    """
    if calibration.scoring != scoring:
        raise ModelError(f"{plain(where)}: was fitted on {plain(calibration.scoring)} scores, these are {plain(scoring)}; run sv-calibrate")
    if calibration.model and model and calibration.model != model:
        raise ModelError(
            f"{plain(where)}: was fitted on scores of the model {plain(calibration.model)}, this is {plain(model)}; run sv-calibrate"
        )


def held_out_llr(
    scores: np.ndarray,
    is_target: np.ndarray,
    speakers: tuple[np.ndarray, np.ndarray],
    num_folds: int,
    prior: float = DEFAULT_PRIOR,
    quality: QualityValues | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood ratios of trials by calibrations that have heard none of their speakers.

    The speakers are dealt into folds.  For each fold the fit sees trials without any of its speakers, and is applied to the
    trials within it; trials between folds are left out.

    Args:
        speakers: of the enrollment and the test side, each `(num_trials,)` int.
        num_folds: at least 2.

    Returns:
        positions of the trials `(num_held_out,)`, rising, and their log-likelihood ratios.

    Raises:
        DataError: a fold's fit has no target or no nontarget, as with too few speakers.
    """
    if num_folds < 2:
        raise ValueError(f"a fit that is tried on others needs at least 2 folds, got {num_folds}")
    fold = _folds(np.union1d(*speakers), num_folds)
    enroll, test = (fold[side] for side in speakers)
    llr = np.full(len(scores), math.nan)
    for held_out in range(num_folds):
        inside, outside = (enroll == held_out) & (test == held_out), (enroll != held_out) & (test != held_out)
        fitted = _fit(scores[outside], is_target[outside], prior, _chosen(quality, outside))
        llr[inside] = _mapped(*fitted, scores[inside], _chosen(quality, inside))
    positions = np.flatnonzero(~np.isnan(llr))
    return positions, llr[positions]


def _folds(speakers: np.ndarray, num_folds: int) -> np.ndarray:
    """Fold of every speaker number; dealt in a fixed random order, as neighbouring ids often come from one place."""
    fold = np.full(int(speakers.max()) + 1, -1)
    fold[np.random.default_rng(0).permutation(speakers)] = np.arange(len(speakers)) % num_folds
    return fold


def _chosen(quality: QualityValues | None, mask: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[mask] for name, values in (quality or {}).items()}


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write it as JSON (`*.json`), whole or not at all."""
    write_record(path, KIND, calibration)


def read_calibration(path: Path) -> Calibration:
    """The calibration at `path`; a folder stands for the `calibration.json` in it.

    Raises:
        ConfigError: no such file, another format or kind, or anything in it that a calibration does not have.
    """
    path = Path(path)
    return read_record(path / NAME if path.is_dir() else path, KIND, Calibration, "sv-calibrate makes one")
