"""Scores to log-likelihood ratios by prior-weighted logistic regression: the one fit under calibration and fusion.

Brummer and du Preez (2006), Application-independent evaluation of speaker detection, section 6, with the weighting by an
effective prior of Brummer and de Villiers (2013), The BOSARIS toolkit, section 6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sv_toolkit.errors import DataError

RIDGE = 1e-6  # times the rarer prior; where a threshold tells the classes apart, it alone keeps the weights finite
SMALLER, MAX_RIDGES = 1e-2, 12  # the ridge shrinks by this factor, so many times at most
NEGLIGIBLE = 1e-8  # how far above its minimum the ridge may leave the cross-entropy, as a part of it
MAX_STEPS = 200


def fit_llr(features: np.ndarray, is_target: np.ndarray, prior: float) -> tuple[np.ndarray, float]:
    """The affine map of `features` to natural log-likelihood ratios that has the lowest prior-weighted cross-entropy.

    Minimises `prior * mean over targets of log(1 + exp(-z)) + (1 - prior) * mean over nontargets of log(1 + exp(z))`
    with `z = llr + logit(prior)`.  The problem is convex; Newton's steps find its only minimum, the same at every call.
    A ridge on the weights of the standardised features is `RIDGE * min(prior, 1 - prior)` at first and shrinks until the
    cross-entropy is within 1e-8 of its minimum: scores with a long tail have large standardised weights, which the first
    one would hold back.  Where the classes are separable the minimum is at infinity: the first ridge that leaves less than
    the loss of one trial stays, so that the weights are finite; `is_separated` tells.

    Args:
        features: `(num_trials, num_features)`, finite.
        is_target: `(num_trials,)` bool, both kinds present.
        prior: of a target, in (0, 1); where along the scores the fit is good.

    Returns:
        weights `(num_features,)` and offset: `llr = features @ weights + offset`.

    Raises:
        DataError: a class is missing, or a feature is the same in all trials.
        ValueError: the shapes do not fit, or a value is not finite.
    """
    features, is_target = np.asarray(features, np.float64), np.asarray(is_target, bool)
    share = _shares(features, is_target, prior)
    mean = share @ features
    deviation = np.sqrt(share @ (features - mean) ** 2)
    is_constant = ~(deviation > 1e-12 * np.abs(features).max(axis=0))
    if is_constant.any():
        which = "" if len(is_constant) == 1 else f" of input {int(np.argmax(is_constant)) + 1} of {len(is_constant)}"
        raise DataError(f"all values{which} are the same ({features[0, np.argmax(is_constant)]:g}): there is nothing to fit")
    # around the targets: far from them, a long tail of nontargets would leave slope and offset hard to tell apart
    middle = np.quantile(features[is_target], 0.5, axis=0, method="inverted_cdf")
    design = np.column_stack([(features - middle) / deviation, np.ones(len(features))])
    solution = _minimum(design, is_target, share, prior)
    weights = solution[:-1] / deviation
    return weights, float(solution[-1] - weights @ middle)


def is_separated(values: np.ndarray, is_target: np.ndarray) -> bool:
    """True if a threshold tells all targets from all nontargets, of `(num_trials,)` values: the size of a fit's ratios is then a guess."""
    return bool(values[is_target].min() > values[~is_target].max())


def logit(probability: float) -> float:
    """Log odds, natural logarithm."""
    return math.log(probability) - math.log1p(-probability)


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Probability of log odds, without overflow."""
    small = np.exp(-np.abs(values))
    return np.where(np.asarray(values) >= 0, 1.0, small) / (1.0 + small)


def _shares(features: np.ndarray, is_target: np.ndarray, prior: float) -> np.ndarray:
    """What each trial counts: the targets `prior` together, the nontargets the rest."""
    if features.ndim != 2 or is_target.shape != features.shape[:1]:
        raise ValueError(f"features {features.shape} and labels {is_target.shape} do not fit")
    if not 0 < prior < 1:
        raise ValueError(f"a prior lies between 0 and 1, got {prior}")
    num_targets = int(is_target.sum())
    if num_targets in (0, len(is_target)):
        raise DataError(f"{num_targets} of {len(is_target)} trials are targets; a fit needs both kinds")
    if not np.isfinite(features).all():
        raise ValueError("scores must be finite")
    return np.where(is_target, prior / num_targets, (1 - prior) / (len(is_target) - num_targets))


@dataclass(frozen=True)
class _Objective:
    """The weighted cross-entropy of an affine map of `design` `(num_trials, num_features + 1)`, plus a ridge on all but its last weight."""

    design: np.ndarray
    is_target: np.ndarray
    share: np.ndarray
    prior: float

    def value(self, solution: np.ndarray, ridge: float = 0.0) -> float:
        odds = self.design @ solution + logit(self.prior)
        entropy = float(self.share @ np.logaddexp(0.0, np.where(self.is_target, -odds, odds)))
        return entropy + ridge / 2 * float(solution[:-1] @ solution[:-1])

    def step(self, solution: np.ndarray, ridge: float = 0.0) -> tuple[np.ndarray, float]:
        """Newton's step (to be subtracted), and by how much it would lower a parabola, twice."""
        posterior = sigmoid(self.design @ solution + logit(self.prior))
        ridges = np.append(np.full(len(solution) - 1, ridge), 0.0)
        gradient = (self.share * (posterior - self.is_target)) @ self.design + ridges * solution
        # einsum adds in one order on any number of threads, a matrix product need not
        curvature = np.einsum("n,ni,nj->ij", self.share * posterior * (1 - posterior), self.design, self.design) + np.diag(ridges)
        scale = 1 / np.sqrt(np.diag(curvature).clip(1e-300))
        step = scale * np.linalg.lstsq(curvature * np.outer(scale, scale), scale * gradient, rcond=1e-14)[0]
        return step, float(gradient @ step)


def _minimum(design: np.ndarray, is_target: np.ndarray, share: np.ndarray, prior: float) -> np.ndarray:
    """The minimum over `(num_features + 1,)`, by ever smaller ridges, each from where the one before it ended."""
    objective = _Objective(design, is_target, share, prior)
    solution, ridge = np.zeros(design.shape[1]), RIDGE * min(prior, 1 - prior)
    for _ in range(MAX_RIDGES):
        solution = _newton(objective, ridge, solution)
        value = objective.value(solution)
        if objective.step(solution)[1] <= NEGLIGIBLE * value or (value < share.min() and is_separated(design @ solution, is_target)):
            break
        ridge *= SMALLER
    return solution


def _newton(objective: _Objective, ridge: float, solution: np.ndarray) -> np.ndarray:
    """The minimum under one `ridge` from `solution` on, by Newton's steps that are halved while they climb."""
    for _ in range(MAX_STEPS):
        here, length = objective.value(solution, ridge), 1.0
        if here < 1e-6 * objective.share.min():
            return solution  # classes far apart: curvature vanishes next, and with it the meaning of a step
        step, decrease = objective.step(solution, ridge)
        if decrease < 1e-12 * max(here, objective.share.min()):  # below the loss of one trial, all are told apart
            return solution - step  # the error squares with every step: this one leaves rounding alone
        while objective.value(solution - length * step, ridge) > here - 1e-4 * length * decrease and length > 1e-10:
            length /= 2
        solution = solution - length * step
    raise DataError("the fit does not converge; two features may be the same")
