"""Covariance matrices: shrinkage, eigenvalues that are there, and two of them made diagonal at once."""

from __future__ import annotations

import numpy as np

RANK_TOLERANCE = 1e-10  # an eigenvalue below this part of the largest is rounding noise


def shrink(covariance: np.ndarray, weight: float) -> np.ndarray:
    """`(1 - weight) S + weight (trace S / dim) I`, of the same trace."""
    dim = len(covariance)
    return (1 - weight) * covariance + weight * np.trace(covariance) / dim * np.eye(dim)


def oracle_shrinkage(covariance: np.ndarray, freedom: int) -> float:
    """Weight for `shrink` that comes near the smallest mean squared error for Gaussian data.

    The oracle approximating shrinkage of Chen, Wiesel, Eldar and Hero (2010), eq. 23; falls as 1 / freedom.

    Args:
        covariance: `(dim, dim)` of a sample.
        freedom: degrees of freedom of that sample.
    """
    dim = len(covariance)
    square_of_trace, trace_of_square = np.trace(covariance) ** 2, float(np.sum(covariance**2))
    below = (freedom + 1 - 2 / dim) * (trace_of_square - square_of_trace / dim)
    above = (1 - 2 / dim) * trace_of_square + square_of_trace
    return float(min(above / below, 1.0)) if below > 0 else 1.0


def symmetric(matrix: np.ndarray) -> np.ndarray:
    """The symmetric part, for matrices that only rounding has made unsymmetric."""
    return (matrix + matrix.T) / 2


def signed(rows: np.ndarray) -> np.ndarray:
    """Rows turned so that the value of largest magnitude is positive: eigenvectors have no sign of their own."""
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    return rows * np.where(largest < 0, -1.0, 1.0)


def positive_eigh(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues that are more than rounding noise, the largest first, and their eigenvectors as columns."""
    values, vectors = np.linalg.eigh(symmetric(covariance))
    keep = values > RANK_TOLERANCE * max(values[-1], 0.0)
    values, vectors = values[keep][::-1], vectors[:, keep][:, ::-1]
    return values, signed(vectors.T).T


def diagonalize_both(within: np.ndarray, between: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The coordinates in which `within` is the identity and `between` diagonal.

    Args:
        within: `(dim, dim)` positive definite.
        between: `(dim, dim)` positive semidefinite.

    Returns:
        transform `(dim, dim)`: `transform @ within @ transform.T = I`; its inverse; and psi `(dim,)`, the diagonal of
        `transform @ between @ transform.T`, the largest first, never below 0.

    Raises:
        numpy.linalg.LinAlgError: `within` is not positive definite.
    """
    root = np.linalg.cholesky(symmetric(within))
    half = np.linalg.solve(root, symmetric(between))
    values, vectors = np.linalg.eigh(symmetric(np.linalg.solve(root, half.T)))
    vectors = signed(vectors[:, ::-1].T)
    return np.linalg.solve(root.T, vectors.T).T, root @ vectors.T, np.maximum(values[::-1], 0.0)
