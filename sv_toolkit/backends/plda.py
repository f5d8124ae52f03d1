"""Probabilistic linear discriminant analysis by expectation maximisation: who varies how, between and within speakers.

Both models are `x = y + e`, one `y` per speaker and one `e ~ N(0, W)` per utterance, with a full covariance `W`.
Two-covariance PLDA has `y ~ N(mean, B)`; simplified PLDA keeps `y = mean + F h`, `h ~ N(0, I)`, in a subspace.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np

from sv_toolkit.backends.covariance import diagonalize_both, positive_eigh, signed, symmetric
from sv_toolkit.backends.estimator import Estimator
from sv_toolkit.backends.plda_scoring import DiagonalPlda
from sv_toolkit.backends.statistics import SpeakerStats
from sv_toolkit.errors import ConfigError, DataError, ModelError

logger = logging.getLogger("sv_toolkit")

SMALLEST_PSI = 1e-2  # at the start: EM cannot leave an exact zero, and reaches one from here
P = TypeVar("P", bound="Plda")
LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class TwoCovarianceConfig:
    """Options of two-covariance PLDA.

    Attributes:
        num_iterations: of EM, from the estimates of `moments`.
        estimate_mean: False keeps the mean over the speakers' means, as Kaldi does.
    """

    num_iterations: int = 10
    estimate_mean: bool = True

    def __post_init__(self) -> None:
        require_iterations(self.num_iterations)


@dataclass(frozen=True)
class SimplifiedConfig:
    """Options of simplified PLDA.

    Attributes:
        num_iterations: of EM.
        speaker_dim: columns of F; None: `min(dim, num_speakers - 1)`.
    """

    num_iterations: int = 10
    speaker_dim: int | None = None

    def __post_init__(self) -> None:
        require_iterations(self.num_iterations)
        if self.speaker_dim is not None and self.speaker_dim < 1:
            raise ConfigError(f"the speaker subspace has at least 1 dimension, got {self.speaker_dim}")


def require_iterations(num_iterations: int) -> None:
    """Raise ConfigError for a negative number of iterations."""
    if num_iterations < 0:
        raise ConfigError(f"the number of EM iterations cannot be negative, got {num_iterations}")


class Plda(Estimator):
    """What both models share.

    Attributes:
        log_likelihoods: natural logarithm of the density of the training utterances, per utterance: at the start and
            after each iteration.  It never falls.
    """

    mean_: np.ndarray
    within_covariance_: np.ndarray
    log_likelihoods: list[float]

    def covariances(self) -> tuple[np.ndarray, np.ndarray]:
        """Within- and between-speaker covariance, `(dim, dim)` each."""
        raise NotImplementedError

    @property
    def diagonal(self) -> DiagonalPlda:
        """The fitted model in the form that scores."""
        return DiagonalPlda.from_covariances(self.mean_, *self.covariances())

    def load_arrays(self: P, arrays: Mapping[str, np.ndarray]) -> P:
        """Take over what `arrays()` gave; returns self.

        Raises:
            ModelError: as every estimator does, or the within-speaker covariance is none.
        """
        super().load_arrays(arrays)
        try:
            np.linalg.cholesky(symmetric(self.within_covariance_))
        except np.linalg.LinAlgError:
            raise ModelError("within_covariance is not positive definite") from None
        return self

    def _estimate(self, stats: SpeakerStats) -> None:
        require_full_rank(stats)
        self.log_likelihoods = []


class TwoCovariancePlda(Plda):
    """Two-covariance PLDA: Ioffe (2006); Bruemmer and de Villiers (2010), The speaker partitioning problem, section 2."""

    shapes: ClassVar[dict[str, tuple[str, ...]]] = {
        "mean": ("dim",),
        "within_covariance": ("dim", "dim"),
        "between_covariance": ("dim", "dim"),
    }
    between_covariance_: np.ndarray

    def __init__(self, config: TwoCovarianceConfig = TwoCovarianceConfig()) -> None:  # noqa: B008
        self.config = config

    def covariances(self) -> tuple[np.ndarray, np.ndarray]:
        """`W` and `B`."""
        return self.within_covariance_, self.between_covariance_

    def _estimate(self, stats: SpeakerStats) -> None:
        super()._estimate(stats)
        current = moments(stats)
        for iteration in range(self.config.num_iterations + 1):
            updated, log_likelihood = em_step(stats, current, self.config.estimate_mean)
            self.log_likelihoods.append(log_likelihood / stats.num_utterances)
            current = updated if iteration < self.config.num_iterations else current
        self.mean_, self.within_covariance_, self.between_covariance_ = current
        report(self)


class SimplifiedPlda(Plda):
    """PLDA with a speaker subspace: Kenny (2010), Garcia-Romero and Espy-Wilson (2011), section 2.2."""

    shapes: ClassVar[dict[str, tuple[str, ...]]] = {
        "mean": ("dim",),
        "within_covariance": ("dim", "dim"),
        "loading": ("dim", "speaker dim"),
    }
    loading_: np.ndarray

    def __init__(self, config: SimplifiedConfig = SimplifiedConfig()) -> None:  # noqa: B008
        self.config = config

    def covariances(self) -> tuple[np.ndarray, np.ndarray]:
        """`W` and `F F'`."""
        return self.within_covariance_, self.loading_ @ self.loading_.T

    def _estimate(self, stats: SpeakerStats) -> None:
        super()._estimate(stats)
        current = self._start(stats)
        for iteration in range(self.config.num_iterations + 1):
            updated, log_likelihood = subspace_em_step(stats, current)
            self.log_likelihoods.append(log_likelihood / stats.num_utterances)
            current = updated if iteration < self.config.num_iterations else current
        self.mean_, self.within_covariance_, self.loading_ = current.mean, current.within, canonical(current)
        report(self)

    def _start(self, stats: SpeakerStats) -> Subspace:
        most = min(stats.dim, stats.num_speakers - 1)
        speaker_dim = most if self.config.speaker_dim is None else self.config.speaker_dim
        if speaker_dim > most:
            raise DataError(
                f"a speaker subspace of {speaker_dim} dimensions: {stats.num_speakers} speakers of {stats.dim} dimensions span {most}"
            )
        mean, within, between = moments(stats)
        _, inverse, psi = diagonalize_both(within, between)
        return Subspace(mean, within, inverse[:, :speaker_dim] * np.sqrt(psi[:speaker_dim]))


class Covariances(NamedTuple):
    """Parameters of two-covariance PLDA: `(dim,)`, `(dim, dim)`, `(dim, dim)`."""

    mean: np.ndarray
    within: np.ndarray
    between: np.ndarray


class Subspace(NamedTuple):
    """Parameters of simplified PLDA: `(dim,)`, `(dim, dim)`, `(dim, speaker_dim)`."""

    mean: np.ndarray
    within: np.ndarray
    loading: np.ndarray


def require_full_rank(stats: SpeakerStats) -> None:
    """Raise DataError where the density has no highest value: it grows without end as W shrinks in an empty direction."""
    rank = len(positive_eigh(stats.within_scatter)[0])
    if not rank:
        raise DataError(
            f"PLDA of {stats.dim} dimensions: the vectors of each of {stats.num_speakers} speakers are all the same; "
            "length normalisation does that to one dimension: take more speakers, or leave LDA or length normalisation out"
        )
    if rank < stats.dim:
        raise DataError(
            f"PLDA of {stats.dim} dimensions: the within-speaker covariance of {stats.num_utterances} utterances of "
            f"{stats.num_speakers} speakers has rank {rank}; reduce to at most {rank} dimensions by LDA, or take more utterances per speaker"
        )


def moments(stats: SpeakerStats) -> Covariances:
    """Estimates without iteration.

    `W` is the pooled within-speaker covariance, `B` the covariance of the speakers' means less the part of `W` in it.
    Where that leaves a direction without variance between speakers, it gets the `SMALLEST_PSI`-th of that within.  Where
    it does not, and all speakers have equally many utterances, this is the maximum of the likelihood.
    """
    mean = stats.means.mean(axis=0)
    offsets = stats.means - mean
    within = stats.within_scatter / stats.within_freedom
    of_means = offsets.T @ offsets / stats.num_speakers
    share = np.mean(1 / stats.counts)
    _, inverse, psi = diagonalize_both(within, of_means)
    return Covariances(mean, within, symmetric((inverse * np.maximum(psi - share, SMALLEST_PSI)) @ inverse.T))


def em_step(stats: SpeakerStats, model: Covariances, estimate_mean: bool = True) -> tuple[Covariances, float]:
    """One iteration of EM in the coordinates where the model is diagonal, and the log-likelihood before it.

    There every speaker's posterior is `N(n psi / (1 + n psi) z, psi / (1 + n psi))`, `z` being the mean of the `n` utterances.
    """
    transform, inverse, psi = diagonalize_both(model.within, model.between)
    means = (stats.means - model.mean) @ transform.T
    scatter = transform @ stats.within_scatter @ transform.T
    counts = stats.counts[:, None]
    variance = psi / (1 + counts * psi)
    voices = counts * variance * means
    shift = voices.mean(axis=0) if estimate_mean else np.zeros(stats.dim)
    between = (np.diag(variance.sum(axis=0)) + voices.T @ voices) / stats.num_speakers - np.outer(shift, shift)
    rest = (means - voices) * np.sqrt(counts)
    within = (scatter + np.diag((counts * variance).sum(axis=0)) + rest.T @ rest) / stats.num_utterances
    log_likelihood = -0.5 * (
        stats.num_utterances * (stats.dim * LOG_2PI - 2 * np.linalg.slogdet(transform)[1])
        + np.trace(scatter)
        + np.sum(np.log1p(counts * psi) + counts * means**2 / (1 + counts * psi))
    )
    back = [symmetric(inverse @ covariance @ inverse.T) for covariance in (within, between)]
    return Covariances(model.mean + inverse @ shift, back[0], back[1]), float(log_likelihood)


def subspace_em_step(stats: SpeakerStats, model: Subspace) -> tuple[Subspace, float]:
    """One iteration of EM with minimum divergence, and the log-likelihood before it.

    The subspace is turned first so that `F' W^-1 F` is diagonal; every posterior covariance is then diagonal too.  Mean and
    F are regressed together, then the prior of `h` is moved to where the posteriors lie (Kenny 2010; Bruemmer 2009,
    EM for JFA): both only raise the likelihood.
    """
    precision_loading = np.linalg.solve(model.within, model.loading)
    strength, turn = np.linalg.eigh(symmetric(model.loading.T @ precision_loading))
    strength = np.maximum(strength, 0.0)
    offsets, counts = stats.means - model.mean, stats.counts[:, None]
    evidence = counts * (offsets @ precision_loading @ turn)
    variance = 1 / (1 + counts * strength)
    factors = variance * evidence
    log_likelihood = -0.5 * (
        stats.num_utterances * (stats.dim * LOG_2PI + np.linalg.slogdet(model.within)[1])
        + np.sum(np.linalg.inv(model.within) * (stats.within_scatter + (counts * offsets).T @ offsets))
        - np.sum(np.log(variance) + factors * evidence)
    )
    return _subspace_update(stats, factors, variance), float(log_likelihood)


def _subspace_update(stats: SpeakerStats, factors: np.ndarray, variance: np.ndarray) -> Subspace:
    """The M step; `factors` and `variance` `(num_speakers, speaker_dim)` are the posteriors of `h`."""
    counts = stats.counts[:, None]
    augmented = np.column_stack([factors, np.ones(len(factors))])
    second = (counts * augmented).T @ augmented
    np.fill_diagonal(second[:-1, :-1], second.diagonal()[:-1] + (counts * variance).sum(axis=0))
    cross = (counts * stats.means).T @ augmented
    regressed = np.linalg.solve(second, cross.T).T
    rest = stats.means - augmented @ regressed.T
    loading, mean = regressed[:, :-1], regressed[:, -1]
    within = stats.within_scatter + (counts * rest).T @ rest + (loading * (counts * variance).sum(axis=0)) @ loading.T
    center = factors.mean(axis=0)
    prior = np.diag(variance.mean(axis=0)) + (factors - center).T @ (factors - center) / len(factors)
    return Subspace(mean + loading @ center, symmetric(within / stats.num_utterances), loading @ np.linalg.cholesky(symmetric(prior)))


def canonical(model: Subspace) -> np.ndarray:
    """F with orthogonal columns, the longest first, each with its largest value positive: turning `h` changes nothing else."""
    left, lengths, _ = np.linalg.svd(model.loading, full_matrices=False)
    return signed((left * lengths).T).T


def report(model: Plda) -> None:
    """One line on how far EM went."""
    first, last = model.log_likelihoods[0], model.log_likelihoods[-1]
    logger.info(
        "%s: log-likelihood per utterance %.4f after %d iterations, %.4f before",
        type(model).__name__,
        last,
        len(model.log_likelihoods) - 1,
        first,
    )
