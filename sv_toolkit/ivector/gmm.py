"""Gaussian mixtures with diagonal and with full covariances: likelihoods and posteriors of frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class DiagonalGmm:
    """Weights `(num_components,)`, means and variances `(num_components, dim)`; float64."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    def log_likelihoods(self, frames: np.ndarray) -> np.ndarray:
        """Logarithm of weight times density, `(num_frames, num_components)`."""
        precisions = 1 / self.variances
        constant = np.log(self.weights) - 0.5 * (LOG_2PI + np.log(self.variances) + self.means**2 * precisions).sum(axis=1)
        return frames @ (self.means * precisions).T - 0.5 * (frames**2 @ precisions.T) + constant


@dataclass(frozen=True)
class FullGmm:
    """Weights `(num_components,)`, means `(num_components, dim)`, covariances `(num_components, dim, dim)`; float64."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @cached_property
    def whiteners(self) -> np.ndarray:
        """Inverses of the Cholesky factors of the covariances, `(num_components, dim, dim)`."""
        return np.linalg.inv(np.linalg.cholesky(self.covariances))

    @cached_property
    def constants(self) -> np.ndarray:
        """Logarithm of weight times density at the mean, `(num_components,)`."""
        half_log_determinants = np.log(np.diagonal(self.whiteners, axis1=1, axis2=2)).sum(axis=1)
        return np.log(self.weights) + half_log_determinants - 0.5 * self.means.shape[1] * LOG_2PI

    @cached_property
    def diagonal(self) -> DiagonalGmm:
        """The mixture of the diagonals, for the choice of Gaussians that are worth a look."""
        return DiagonalGmm(self.weights, self.means, np.diagonal(self.covariances, axis1=1, axis2=2).copy())

    def log_likelihoods(self, frames: np.ndarray, is_selected: np.ndarray | None = None) -> np.ndarray:
        """Logarithm of weight times density, `(num_frames, num_components)`.

        Args:
            is_selected: `(num_frames, num_components)` bool; the others become minus infinity.
        """
        result = np.full((len(frames), len(self.weights)), -np.inf)
        for component, (whitener, mean, constant) in enumerate(zip(self.whiteners, self.means, self.constants)):
            rows = slice(None) if is_selected is None else np.flatnonzero(is_selected[:, component])
            whitened = (frames[rows] - mean) @ whitener.T
            result[rows, component] = constant - 0.5 * np.einsum("ij,ij->i", whitened, whitened)
        return result


def normalized(log_likelihoods: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors `(num_frames, num_components)` and the log-likelihood of every frame `(num_frames,)`."""
    highest = log_likelihoods.max(axis=1, keepdims=True)
    posteriors = np.exp(log_likelihoods - highest)
    total = posteriors.sum(axis=1, keepdims=True)
    return posteriors / total, (highest + np.log(total))[:, 0]


def select(log_likelihoods: np.ndarray, num_selected: int) -> np.ndarray | None:
    """The `num_selected` best Gaussians of every frame, `(num_frames, num_components)` bool; None where that is all of them."""
    num_components = log_likelihoods.shape[1]
    if num_selected >= num_components:
        return None
    best = np.argpartition(log_likelihoods, num_components - num_selected, axis=1)[:, num_components - num_selected :]
    is_selected = np.zeros(log_likelihoods.shape, dtype=bool)
    np.put_along_axis(is_selected, best, True, axis=1)
    return is_selected


def pruned(posteriors: np.ndarray, min_posterior: float) -> np.ndarray:
    """Posteriors below `min_posterior` set to 0 and the rest scaled to add up to 1; the largest of a frame always stays."""
    if min_posterior == 0:
        return posteriors
    least = np.minimum(min_posterior, posteriors.max(axis=1, keepdims=True))
    kept = np.where(posteriors >= least, posteriors, 0.0)
    return kept / kept.sum(axis=1, keepdims=True)


def diagonal_posteriors(frames: np.ndarray, gmm: DiagonalGmm, num_selected: int, min_posterior: float) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of the best Gaussians of every frame, pruned as `full_posteriors` does; arguments and results as there."""
    log_likelihoods = gmm.log_likelihoods(frames)
    is_selected = select(log_likelihoods, num_selected)
    if is_selected is not None:
        log_likelihoods[~is_selected] = -np.inf
    posteriors, log_likelihood = normalized(log_likelihoods)
    return pruned(posteriors, min_posterior), log_likelihood


def full_posteriors(frames: np.ndarray, gmm: FullGmm, num_selected: int, min_posterior: float) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors by full covariances of the Gaussians that the diagonals select, pruned as Kaldi's gmm-gselect and fgmm-global-gselect-to-post do.

    Args:
        frames: `(num_frames, dim)` float64.

    Returns:
        `(num_frames, num_components)`, and the log-likelihood of every frame `(num_frames,)` under the selected Gaussians.
    """
    is_selected = select(gmm.diagonal.log_likelihoods(frames), num_selected) if num_selected < len(gmm.weights) else None
    posteriors, log_likelihood = normalized(gmm.log_likelihoods(frames, is_selected))
    return pruned(posteriors, min_posterior), log_likelihood
