"""Scores to log-likelihood ratios by prior-weighted logistic regression: the one fit under calibration and fusion.

Brummer and du Preez (2006), Application-independent evaluation of speaker detection, section 6, with the weighting by an
effective prior of Brummer and de Villiers (2013), The BOSARIS toolkit, section 6.
"""

from __future__ import annotations

import math

import numpy as np

from sv_toolkit.errors import DataError

RIDGE = 1e-6  # times the rarer prior; only where one threshold tells the classes apart does it change what is found
MAX_STEPS = 200


def fit_llr(features: np.ndarray, is_target: np.ndarray, prior: float) -> tuple[np.ndarray, float]:
    """The affine map of `features` to natural log-likelihood ratios that has the lowest prior-weighted cross-entropy.

    Minimises `prior * mean over targets of log(1 + exp(-z)) + (1 - prior) * mean over nontargets of log(1 + exp(z))`
    with `z = llr + logit(prior)`.  The problem is convex; Newton's steps find its only minimum, the same at every call.
    A ridge of `RIDGE * min(prior, 1 - prior)` on the weights of the standardised features keeps them finite where the
    classes are separable, and moves an ordinary fit by less than 1e-4 of its value.

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
    design = np.column_stack([(features - mean) / deviation, np.ones(len(features))])
    solution = _newton(design, is_target, share, prior)
    weights = solution[:-1] / deviation
    return weights, float(solution[-1] - weights @ mean)


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


def _newton(design: np.ndarray, is_target: np.ndarray, share: np.ndarray, prior: float) -> np.ndarray:
    """The minimum over `(num_features + 1,)`, by Newton steps that are halved while they climb."""
    sign = np.where(is_target, 1.0, -1.0)
    ridge = np.append(np.full(design.shape[1] - 1, RIDGE * min(prior, 1 - prior)), 0.0)

    def objective(solution: np.ndarray) -> float:
        return float(share @ np.logaddexp(0.0, -sign * (design @ solution + logit(prior))) + 0.5 * ridge @ solution**2)

    solution = np.zeros(design.shape[1])
    for _ in range(MAX_STEPS):
        posterior = sigmoid(design @ solution + logit(prior))
        gradient = (share * (posterior - is_target)) @ design + ridge * solution
        # einsum adds in one order on any number of threads, a matrix product need not
        curvature = np.einsum("n,ni,nj->ij", share * posterior * (1 - posterior), design, design) + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        decrease = float(gradient @ step)
        if decrease < 1e-12 * min(prior, 1 - prior):
            return solution - step  # the error squares with every step: this one leaves rounding alone
        here, length = objective(solution), 1.0
        while objective(solution - length * step) > here - 1e-4 * length * decrease and length > 1e-10:
            length /= 2
        solution = solution - length * step
    raise DataError("the fit does not converge; two features may be the same")
