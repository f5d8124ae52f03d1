"""Fusion of the scores of several systems: a weighted sum, with weights from labels or from the scores alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from sv_toolkit.backends.calibration import DEFAULT_PRIOR, FitList
from sv_toolkit.backends.estimator import Estimator
from sv_toolkit.backends.logistic import fit_llr
from sv_toolkit.backends.records import read_record, write_record
from sv_toolkit.errors import ConfigError, DataError, examples

KIND = "fusion"


class ScoreFusion(Estimator):
    """An affine map of the scores of several systems: `scores @ weights_ + offset_`."""

    is_additive = False
    shapes: ClassVar[dict[str, tuple[str, ...]]] = {"weights": ("systems",), "offset": ()}
    weights_: np.ndarray
    offset_: np.ndarray

    def fuse(self, scores: np.ndarray) -> np.ndarray:
        """One score `(num_trials,)` from those of all systems, `(num_trials, num_systems)`."""
        return np.asarray(scores, np.float64) @ self.weights_ + self.offset_


@dataclass(frozen=True)
class LogisticFusionConfig:
    """Prior of a target that the fit is weighted by."""

    prior: float = DEFAULT_PRIOR

    def __post_init__(self) -> None:
        if not 0 < self.prior < 1:
            raise ConfigError(f"prior must lie between 0 and 1, got {self.prior}")


class LogisticFusion(ScoreFusion):
    """Linear fusion to a log-likelihood ratio, by the logistic regression of `logistic.fit_llr` (Brummer et al. 2007)."""

    def __init__(self, config: LogisticFusionConfig = LogisticFusionConfig()) -> None:  # noqa: B008
        self.config = config

    def fit(self, scores: np.ndarray, is_target: np.ndarray) -> LogisticFusion:  # type: ignore[override]
        """Learn from `(num_trials, num_systems)` scores of labelled trials; returns self.

        Raises:
            DataError: a class is missing, or a system gives all trials one score.
        """
        self.weights_, offset = fit_llr(scores, is_target, self.config.prior)
        self.offset_ = np.array(offset)
        return self


@dataclass(frozen=True)
class MeanVarianceFusionConfig:
    """It has no options."""


class MeanVarianceFusion(ScoreFusion):
    """The sum of scores in deviations from their mean over all trials: score fusion of Deep Speaker (Li et al. 2017), section 5.1.3.

    Needs no labels; the result is no log-likelihood ratio.
    """

    needs_speakers = False

    def __init__(self, config: MeanVarianceFusionConfig = MeanVarianceFusionConfig()) -> None:  # noqa: B008
        self.config = config

    def fit(self, scores: np.ndarray, is_target: np.ndarray | None = None) -> MeanVarianceFusion:  # type: ignore[override]
        """Learn means and deviations of `(num_trials, num_systems)` scores; labels are passed over; returns self.

        Raises:
            DataError: a system gives all trials one score.
        """
        scores = np.asarray(scores, np.float64)
        if not np.isfinite(scores).all():
            raise ValueError("scores must be finite")
        mean, deviation = scores.mean(axis=0), scores.std(axis=0)
        is_constant = ~(deviation > 1e-12 * np.abs(scores).max(axis=0))
        if is_constant.any():
            raise DataError(f"system {int(np.argmax(is_constant)) + 1} gives all trials the same score: there is nothing to fuse")
        self.weights_ = 1 / deviation
        self.offset_ = np.array(-(mean / deviation).sum())
        return self


@dataclass(frozen=True)
class Fusion:
    """A fitted fusion as it is kept.

    Attributes:
        method: "logistic" or "mean-variance".
        systems: a name for each system, in the order of the weights.
        weights, offset: of the affine map.
        prior: that a logistic fit was weighted by.
        list: the labelled trials of a logistic fit.
    """

    method: str
    systems: tuple[str, ...]
    weights: tuple[float, ...]
    offset: float
    prior: float | None = None
    list: FitList | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method is one of {', '.join(METHODS)}, got {self.method!r}")
        if len(self.systems) != len(self.weights) or not self.systems:
            raise ConfigError(f"{len(self.systems)} systems with {len(self.weights)} weights")

    def fuse(self, scores: np.ndarray) -> np.ndarray:
        """One score `(num_trials,)` from `(num_trials, num_systems)`, systems in the order of `systems`.

        Raises:
            DataError: another number of systems.
        """
        if scores.shape[1] != len(self.weights):
            raise DataError(f"this fusion is of {len(self.weights)} systems ({examples(list(self.systems))}), got {scores.shape[1]}")
        arrays = {"weights": np.array(self.weights), "offset": np.array(self.offset)}
        return METHODS[self.method]().load_arrays(arrays).fuse(scores)


METHODS: dict[str, type[LogisticFusion] | type[MeanVarianceFusion]] = {"logistic": LogisticFusion, "mean-variance": MeanVarianceFusion}


def fit_logistic(
    scores: np.ndarray, is_target: np.ndarray, systems: Sequence[str], trials: FitList, prior: float = DEFAULT_PRIOR
) -> Fusion:
    """The logistic fusion of `(num_trials, num_systems)` scores with `(num_trials,)` labels; raises as `LogisticFusion.fit`."""
    found = LogisticFusion(LogisticFusionConfig(prior)).fit(scores, is_target)
    return Fusion("logistic", tuple(systems), tuple(found.weights_.tolist()), float(found.offset_), prior, trials)


def fit_mean_variance(scores: np.ndarray, systems: Sequence[str]) -> Fusion:
    """The mean-variance fusion of `(num_trials, num_systems)` scores; raises as `MeanVarianceFusion.fit`."""
    found = MeanVarianceFusion().fit(scores)
    return Fusion("mean-variance", tuple(systems), tuple(found.weights_.tolist()), float(found.offset_))


def write_fusion(path: Path, fusion: Fusion) -> None:
    """Write it as JSON (`*.json`), whole or not at all."""
    write_record(path, KIND, fusion)


def read_fusion(path: Path) -> Fusion:
    """The fusion at `path`.

    Raises:
        ConfigError: no such file, another format or kind, or anything in it that a fusion does not have.
    """
    return read_record(path, KIND, Fusion, "sv-fuse makes one")
