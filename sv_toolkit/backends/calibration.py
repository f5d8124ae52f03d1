"""Calibration: from scores to log-likelihood ratios, and from these to decisions with the error rates they had.

A calibrated score is the natural logarithm of how many times likelier the two sides sound as one speaker than as two.
The threshold then follows from the application alone (prior and costs) and no longer from the scores.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.backends.logistic import is_separated, logit, sigmoid
from sv_toolkit.backends.records import read_record, write_record
from sv_toolkit.backends.score_map import QualityValues, ScoreMap
from sv_toolkit.errors import ConfigError, DataError, ModelError, plain
from sv_toolkit.metrics.detection import OperatingPoint, det_points

KIND, NAME = "calibration", "calibration.json"
# Between the priors of 0.01 and 0.05 that detection costs are reported at and the 0.5 of Cllr: on simulated scores that no
# affine map makes ideal, a fit here comes nearest to the lowest costs at all three, also from a few hundred targets.
DEFAULT_PRIOR = 0.05
CURVE_POINTS = 500
FEW_TARGETS, FEW_SPEAKERS = 30, 20

logger = logging.getLogger("sv_toolkit")


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


@dataclass(frozen=True, kw_only=True)
class Calibration(ScoreMap):
    """A map of scores to log-likelihood ratios, with the list it was fitted on and the error rates that this list had.

    Attributes:
        prior: of a target, that the fit was weighted by.
        list: the trials of the fit.
        curve: `(threshold, false_alarm_rate, miss_rate)` of that list, thresholds (log-likelihood ratios) rising.
        scoring: what made the scores ("cosine"); other scores need another calibration.
        model: digest of the embedding model, None where it is not known.
        seconds: shortest and longest utterance of the list, None where it is not known.
    """

    prior: float
    list: FitList
    curve: tuple[tuple[float, float, float], ...]
    scoring: str = "cosine"
    model: str | None = None
    seconds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seconds is not None and not 0 < self.seconds[0] <= self.seconds[1]:
            raise ConfigError(f"seconds must be the shortest and the longest utterance, got {list(self.seconds)}")
        if not 0 < self.prior < 1:
            raise ConfigError(f"prior must lie between 0 and 1, got {self.prior}")
        _refuse_crooked(np.array(self.curve, dtype=np.float64).reshape(-1, 3))

    @staticmethod
    def posterior(llr: np.ndarray, prior: float) -> np.ndarray:
        """Probability that the trial is a target, where targets come with the probability `prior`."""
        return sigmoid(np.asarray(llr, np.float64) + logit(prior))

    @staticmethod
    def threshold(prior: float, cost_miss: float = 1.0, cost_fa: float = 1.0) -> float:
        """The log-likelihood ratio from which accepting costs less than rejecting (Bayes)."""
        return OperatingPoint(prior, cost_miss, cost_fa).bayes_threshold

    @property
    def highest(self) -> float:
        """The largest log-likelihood ratio of the list: no claim of it was accepted by a higher threshold."""
        return self.curve[-1][0]

    def accepting_prior(self, share: float = 0.0, cost_miss: float = 1.0, cost_fa: float = 1.0) -> float:
        """The lowest prior by which this share of the list's true claims is accepted; by default, any claim at all."""
        thresholds, _, miss = np.array(self.curve).T
        reached = thresholds[miss <= 1 - share]
        return float(sigmoid(math.log(cost_fa / cost_miss) - (reached[-1] if len(reached) else thresholds[0])))

    def rates_at(self, llr: float) -> tuple[float, float]:
        """False-alarm rate and miss rate of the threshold `llr` on the list of the fit.

        Those of the next point of the curve, which is the next score of the list where the curve has them all: between
        two scores nothing changes.  A rate of 0 says that none of the list's `num_nontargets` (or `num_targets`) went
        wrong, no more.  The fit has seen this list, which flatters a little.
        """
        thresholds, false_alarm, miss = np.array(self.curve).T
        if llr > thresholds[-1]:
            return 0.0, 1.0
        point = int(np.searchsorted(thresholds, llr))
        return float(false_alarm[point]), float(miss[point])


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
    bent: bool = False,
    seconds: tuple[float, float] | None = None,
) -> Calibration:
    """The calibration that fits labelled scores best at `prior` (`logistic.fit_llr`).

    Positive affine maps of the scores leave its log-likelihood ratios as they are.  A bend takes one number more from the
    list; where an affine map fits already, that costs a little.

    Args:
        scores: `(num_trials,)`, finite.
        is_target: `(num_trials,)` bool.
        trials: what to record of the list.
        quality: name -> `(num_trials,)`, for example of `data.quality.log_durations`.
        bent: with two slopes (`score_map.Bend`).
        seconds: shortest and longest utterance of the list.

    Raises:
        DataError: what `fit_llr` refuses, or nontargets have the larger scores.
    """
    found = ScoreMap.fit(scores, is_target, prior, quality or {}, bent)
    llr = found.llr(scores, quality)
    curve = _curve(llr[is_target], llr[~is_target])
    return Calibration(**vars(found), prior=prior, list=trials, curve=curve, scoring=scoring, model=model, seconds=seconds)


def _curve(target: np.ndarray, nontarget: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    thresholds, miss, false_alarm = det_points(target, nontarget, CURVE_POINTS + 1)
    points = zip(thresholds[:-1].tolist(), false_alarm[:-1].tolist(), miss[:-1].tolist())  # the last is infinity: reject all
    return tuple(points)


def warn_of_weak_evidence(scores: np.ndarray, is_target: np.ndarray, num_speakers: int | None, where: Path) -> None:
    """Say where the list cannot carry the fit: few targets or speakers (None: not known), or no error at the best threshold."""
    if is_separated(scores, is_target):
        logger.info("%s: one threshold tells all targets from all nontargets: the size of the ratios is a guess", plain(where))
    if is_target.sum() < FEW_TARGETS:
        logger.warning("%s: few target trials: a calibration on %d is rough", plain(where), is_target.sum())
    if num_speakers is not None and num_speakers < FEW_SPEAKERS:
        logger.info("%s: few speakers: a calibration on %d fits them better than others", plain(where), num_speakers)


def unreachable(found: Calibration, threshold: float, cost_miss: float = 1.0, cost_fa: float = 1.0) -> str | None:
    """A sentence where no claim of the list reaches this threshold, with the priors that its data support; None where some do."""
    if threshold <= found.highest:
        return None
    any_, half = (found.accepting_prior(share, cost_miss, cost_fa) for share in (0.0, 0.5))
    return (
        f"no claim of the list {plain(found.list.name)} reaches the threshold of {threshold:.2f}: its largest log-likelihood ratio is "
        f"{found.highest:.2f}; such scores support a prior from {_above(any_)} on, and accept half of the true claims at {_above(half)}"
    )


def _above(prior: float) -> str:
    """A prior in a few digits, rounded up: the threshold of one that is rounded down lies above what was to be accepted."""
    digits = max(2, 1 - math.floor(math.log10(min(prior, 1 - prior))))
    return f"{min(math.ceil(prior * 10**digits) / 10**digits, 1 - 10**-digits):g}"


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
    bent: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood ratios of trials by calibrations that have heard none of their speakers.

    The speakers are assigned to folds.  For each fold the fit sees trials without any of its speakers, and is applied to the
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
        found = ScoreMap.fit(scores[outside], is_target[outside], prior, _chosen(quality, outside), bent)
        llr[inside] = found.llr(scores[inside], _chosen(quality, inside))
    positions = np.flatnonzero(~np.isnan(llr))
    return positions, llr[positions]


def _folds(speakers: np.ndarray, num_folds: int) -> np.ndarray:
    """Fold of every speaker number; assigned in a fixed random order, as neighbouring ids often come from one place."""
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
