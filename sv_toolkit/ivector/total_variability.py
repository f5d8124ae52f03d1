"""The total variability model: every utterance shifts the Gaussians of the background model by a matrix times its i-vector.

Dehak et al. 2011, with the training of Kenny, Boulianne and Dumouchel 2005.  All statistics here are centred and
whitened: measured from the mean of their Gaussian, in units of its covariance.  In these, the frame x of Gaussian c is
x = offset_c + matrix_c w + e with w and e standard normal, and no covariance appears in any formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sv_toolkit.ivector.gmm import FullGmm

MIN_COUNT = 1e-6  # frames in all utterances below which a Gaussian tells nothing about its part of the matrix


@dataclass(frozen=True)
class TotalVariability:
    """The model; float64.

    Attributes:
        matrix: `(num_components, dim, ivector_dim)`.
        offsets: `(num_components, dim)`, by which the mean of all utterances differs from the background model; what the matrix can express of it.
    """

    matrix: np.ndarray
    offsets: np.ndarray

    @property
    def ivector_dim(self) -> int:
        """Dimension of the i-vectors."""
        return self.matrix.shape[2]


@dataclass(frozen=True)
class Posterior:
    """What is known of the i-vectors of some utterances.

    Attributes:
        means: `(num_utterances, ivector_dim)`, the i-vectors.
        precisions: `(num_utterances, ivector_dim, ivector_dim)`.
        log_marginals: `(num_utterances,)`, log-likelihood of the statistics minus that without any shift.
    """

    means: np.ndarray
    precisions: np.ndarray
    log_marginals: np.ndarray


@dataclass(frozen=True)
class Expectations:
    """Sums over utterances that the M-step needs.

    Attributes:
        counts: `(num_components,)`.
        second: sum of counts times E[w w'], `(num_components, ivector_dim, ivector_dim)`.
        cross: sum of statistics times E[w]', `(num_components, dim, ivector_dim)`.
        mean: sum of E[w], `(ivector_dim,)`, and `moment` of E[w w'].
        log_marginal: the log-likelihood that EM increases.
    """

    counts: np.ndarray
    second: np.ndarray
    cross: np.ndarray
    mean: np.ndarray
    moment: np.ndarray
    log_marginal: float
    num_utterances: int

    def __add__(self, other: Expectations) -> Expectations:
        return Expectations(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def whiten(counts: np.ndarray, sums: np.ndarray, gmm: FullGmm) -> np.ndarray:
    """Centred and whitened first-order statistics `(num_utterances, num_components, dim)`.

    Args:
        counts: `(num_utterances, num_components)`.
        sums: `(num_utterances, num_components, dim)` of frames as they are.
    """
    return np.einsum("cde,uce->ucd", gmm.whiteners, sums - counts[:, :, None] * gmm.means, optimize=True)


def initial(num_components: int, dim: int, ivector_dim: int, rng: np.random.Generator) -> TotalVariability:
    """A random matrix: shifts of about a tenth of a deviation for every dimension of the i-vector."""
    matrix = 0.1 * rng.standard_normal((num_components, dim, ivector_dim))
    return TotalVariability(matrix, np.zeros((num_components, dim)))


def gram(model: TotalVariability) -> np.ndarray:
    """The square of every Gaussian's part of the matrix, `(num_components, ivector_dim, ivector_dim)`; compute it once for many utterances."""
    return np.matmul(model.matrix.transpose(0, 2, 1), model.matrix)


def posterior(counts: np.ndarray, sums: np.ndarray, model: TotalVariability, squares: np.ndarray) -> Posterior:
    """The posterior of every i-vector: Kenny, Boulianne and Dumouchel 2005, proposition 1.

    Args:
        counts: `(num_utterances, num_components)`.
        sums: `(num_utterances, num_components, dim)`, whitened.
        squares: `gram(model)`.
    """
    num_utterances, size = len(counts), model.ivector_dim
    shifted = sums - counts[:, :, None] * model.offsets
    precisions = np.eye(size) + (counts @ squares.reshape(len(squares), -1)).reshape(-1, size, size)
    linear = shifted.reshape(num_utterances, -1) @ model.matrix.reshape(-1, size)
    factors = np.linalg.cholesky(precisions)
    half = np.linalg.solve(factors, linear[:, :, None])
    means = np.linalg.solve(factors.transpose(0, 2, 1), half)[:, :, 0]
    log_determinants = 2 * np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    of_offsets = np.einsum("ucd,cd->u", sums - 0.5 * counts[:, :, None] * model.offsets, model.offsets, optimize=True)
    return Posterior(means, precisions, 0.5 * (half[:, :, 0] ** 2).sum(axis=1) - 0.5 * log_determinants + of_offsets)


def expectations(counts: np.ndarray, sums: np.ndarray, model: TotalVariability, squares: np.ndarray) -> Expectations:
    """The E-step over some utterances; arguments as `posterior`."""
    found = posterior(counts, sums, model, squares)
    num_utterances, size = found.means.shape
    moments = np.linalg.inv(found.precisions) + found.means[:, :, None] * found.means[:, None, :]
    shifted = sums - counts[:, :, None] * model.offsets
    return Expectations(
        counts.sum(axis=0),
        (counts.T @ moments.reshape(num_utterances, -1)).reshape(-1, size, size),
        (shifted.reshape(num_utterances, -1).T @ found.means).reshape(*model.offsets.shape, size),
        found.means.sum(axis=0),
        moments.sum(axis=0),
        float(found.log_marginals.sum()),
        num_utterances,
    )


def maximization(expected: Expectations, model: TotalVariability, minimum_divergence: bool) -> TotalVariability:
    """The M-step: proposition 3 of Kenny, Boulianne and Dumouchel 2005.

    With `minimum_divergence` the prior of w is estimated, too (Kenny 2008, section 4), and then made standard normal again
    by moving its mean into the offsets and its covariance into the matrix.  Either way the marginal likelihood increases.
    """
    is_met = expected.counts > MIN_COUNT
    matrix = model.matrix.copy()
    matrix[is_met] = np.linalg.solve(expected.second[is_met], expected.cross[is_met].transpose(0, 2, 1)).transpose(0, 2, 1)
    if not minimum_divergence:
        return TotalVariability(matrix, model.offsets)
    mean = expected.mean / expected.num_utterances
    covariance = expected.moment / expected.num_utterances - np.outer(mean, mean)
    return TotalVariability(matrix @ np.linalg.cholesky(covariance), model.offsets + matrix @ mean)
