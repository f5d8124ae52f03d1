"""Log-likelihood ratios of a PLDA model, in the coordinates where it is diagonal (Kaldi's parameters).

Model: `x = y + e`, the speaker's `y ~ N(mean, B)`, the utterance's `e ~ N(0, W)`.  After `u = transform (x - mean)` the
within-speaker covariance is the identity and the between-speaker covariance is `diag(psi)`: Ioffe (2006), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sv_toolkit.backends.covariance import diagonalize_both
from sv_toolkit.backends.pairs import pair_products
from sv_toolkit.errors import ConfigError, DataError

LENGTHS = ("none", "model", "sqrt-dim")


@dataclass(frozen=True)
class DiagonalPlda:
    """A PLDA model as Kaldi keeps it.

    Attributes:
        mean: `(dim,)`.
        transform: `(dim, dim)`.
        psi: `(dim,)`, variance between speakers where that within is 1; not negative.
    """

    mean: np.ndarray
    transform: np.ndarray
    psi: np.ndarray

    @classmethod
    def from_covariances(cls, mean: np.ndarray, within: np.ndarray, between: np.ndarray) -> DiagonalPlda:
        """The model with these `(dim, dim)` covariances within (positive definite) and between speakers."""
        transform, _, psi = diagonalize_both(within, between)
        return cls(np.asarray(mean, np.float64), transform, psi)

    @property
    def dim(self) -> int:
        """Values of a vector."""
        return len(self.psi)

    def covariances(self) -> tuple[np.ndarray, np.ndarray]:
        """Within- and between-speaker covariance, `(dim, dim)` each."""
        inverse = np.linalg.inv(self.transform)
        return inverse @ inverse.T, (inverse * self.psi) @ inverse.T

    def project(self, vectors: np.ndarray, num_utterances: np.ndarray | int = 1, length: str = "none") -> np.ndarray:
        """`transform (x - mean)` of means over utterances, if asked for scaled to a length.

        Args:
            vectors: `(num_vectors, dim)`.
            num_utterances: over how many utterances each was averaged: `(num_vectors,)`, or one number.
            length: "none"; "model": what the model expects, so that `u' (diag(psi) + I / n)^-1 u = dim` (Kaldi's
                `--normalize-length`); "sqrt-dim": the square root of the dimension (its `--simple-length-normalization`).

        Raises:
            DataError: a dimension differs, or a vector that is to be scaled equals the mean.
        """
        if length not in LENGTHS:
            raise ConfigError(f"the length is one of {', '.join(LENGTHS)}, got {length!r}")
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise DataError(f"the PLDA model takes vectors of {self.dim} dimensions, got an array of shape {vectors.shape}")
        projected = (vectors - self.mean) @ self.transform.T
        if length == "none":
            return projected
        counts = np.broadcast_to(np.asarray(num_utterances, np.float64), len(vectors))[:, None]
        expected = self.psi + 1 / counts if length == "model" else np.ones(1)
        square = np.sum(projected**2 / expected, axis=1, keepdims=True)
        if not square.all():
            raise DataError(f"row {int(np.argmin(square))} of the vectors equals the mean of the PLDA model: it has no direction to scale")
        return projected * np.sqrt(self.dim / square)

    def llr(
        self, enroll: np.ndarray, num_utterances: np.ndarray, test: np.ndarray, enroll_index: np.ndarray, test_index: np.ndarray
    ) -> np.ndarray:
        """Log-likelihood ratio of every trial: one speaker said it all, against two.

        The speaker of `n` utterances with the mean `u` is known to be `N(n psi / (1 + n psi) u, psi / (1 + n psi))`, so that
        with `v = 1 + psi / (1 + n psi)`

            llr = log N(t; n psi / (1 + n psi) u, v) - log N(t; 0, 1 + psi)

        (Ioffe 2006, between eqs. 4 and 5).  This is the ratio of the joint densities of all utterances; it takes them as
        independent given the speaker, which those of one session are not.

        Args:
            enroll: `(num_enroll, dim)`, projected means over the enrollment utterances.
            num_utterances: `(num_enroll,)`, how many these were.
            test: `(num_test, dim)`, projected.
            enroll_index: `(num_trials,)` rows of `enroll`.
            test_index: `(num_trials,)` rows of `test`.

        Returns:
            `(num_trials,)` float64, natural logarithm.
        """
        counts, group = np.unique(np.asarray(num_utterances, np.float64), return_inverse=True)
        gain = counts[:, None] * self.psi / (1 + counts[:, None] * self.psi)  # (num_counts, dim)
        variance = 1 + self.psi / (1 + counts[:, None] * self.psi)
        expected = gain[group] * enroll
        offset = 0.5 * (np.log1p(self.psi) - np.log(variance)).sum(axis=1)[group]
        offset -= 0.5 * np.einsum("ij,ij->i", expected**2, 1 / variance[group])
        scores = pair_products(expected / variance[group], np.asarray(test, np.float64), enroll_index, test_index)
        scores += offset[enroll_index]
        _add_test_terms(scores, test**2, 0.5 * (1 / (1 + self.psi) - 1 / variance), group, enroll_index, test_index)
        return scores


def _add_test_terms(
    scores: np.ndarray, squares: np.ndarray, weights: np.ndarray, group: np.ndarray, enroll_index: np.ndarray, test_index: np.ndarray
) -> None:
    """Add to every score the term that depends on the test vector and on the number of enrollment utterances alone."""
    if len(weights) == 1:
        scores += (squares @ weights[0])[test_index]
        return
    group_of = group[enroll_index]
    order = np.argsort(group_of, kind="stable")
    bounds = np.searchsorted(group_of[order], np.arange(len(weights) + 1))
    for weight, start, stop in zip(weights, bounds, bounds[1:]):
        trials = order[start:stop]
        scores[trials] += (squares @ weight)[test_index[trials]]
