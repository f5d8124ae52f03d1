"""The universal background model by EM: diagonal Gaussians, doubled until there are enough, then full covariances unless diagonal ones are asked for.

Reynolds, Quatieri and Dunn 2000; the doubling is that of Linde, Buzo and Gray 1980.
"""

from __future__ import annotations

import logging
from functools import partial

import numpy as np

from sv_toolkit.errors import ConfigError, DataError
from sv_toolkit.ivector.config import UbmConfig
from sv_toolkit.ivector.gmm import DiagonalGmm, FullGmm
from sv_toolkit.ivector.statistics import Source, Statistics, align_diagonal, align_full, align_given

logger = logging.getLogger("sv_toolkit")
MIN_WEIGHT = 1e-8  # of a Gaussian that was met by nothing: its logarithm stays finite
SPLIT = 0.2  # deviations by which the halves of a Gaussian move apart


def global_gaussian(statistics: Statistics) -> DiagonalGmm:
    """One Gaussian with mean and variance of all frames, from statistics under any mixture.

    Raises:
        DataError: a column is constant.
    """
    total = statistics.counts.sum()
    mean = statistics.sums.sum(axis=0) / total
    squares = statistics.squares.sum(axis=0)
    variance = (np.diagonal(squares) if squares.ndim == 2 else squares) / total - mean**2
    if (variance <= 1e-10 * (1 + mean**2)).any():
        raise DataError(f"column {int(variance.argmin())} of the frames (deltas included) is constant: no Gaussian fits it")
    return DiagonalGmm(np.ones(1), mean[None], variance[None])


def _new_weights(statistics: Statistics) -> np.ndarray:
    weights = np.maximum(statistics.counts / statistics.counts.sum(), MIN_WEIGHT)
    return weights / weights.sum()


def diagonal_step(statistics: Statistics, previous: DiagonalGmm, floor: np.ndarray) -> DiagonalGmm:
    """The M-step.

    Args:
        floor: `(dim,)`, lower bound of the variances.

    Returns:
        Gaussians that were met by less than one frame keep mean and variance.
    """
    is_met = statistics.counts >= 1
    counts = np.where(is_met, statistics.counts, 1.0)[:, None]
    means = np.where(is_met[:, None], statistics.sums / counts, previous.means)
    variances = np.where(is_met[:, None], statistics.squares / counts - means**2, previous.variances)
    return DiagonalGmm(_new_weights(statistics), means, np.maximum(variances, floor))


def full_step(statistics: Statistics, previous: FullGmm, floor: np.ndarray) -> FullGmm:
    """The M-step with full covariances.

    Args:
        floor: `(dim,)`; no direction, measured in these variances, may have less than 1.

    Returns:
        Gaussians that were met by fewer frames than there are dimensions keep mean and covariance.
    """
    is_met = statistics.counts >= len(floor)
    counts = np.where(is_met, statistics.counts, 1.0)
    means = np.where(is_met[:, None], statistics.sums / counts[:, None], previous.means)
    scatter = statistics.squares / counts[:, None, None] - means[:, :, None] * means[:, None, :]
    covariances = np.where(is_met[:, None, None], floored(scatter, floor), previous.covariances)
    return FullGmm(_new_weights(statistics), means, covariances)


def floored(covariances: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Covariances whose eigenvalues, with every column scaled by `floor ** -0.5`, are 1 at least; `(n, dim, dim)`."""
    scale = np.sqrt(floor)
    values, vectors = np.linalg.eigh(covariances / scale[:, None] / scale)
    raised = (vectors * np.maximum(values, 1.0)[:, None, :]) @ vectors.transpose(0, 2, 1)
    return raised * scale[:, None] * scale


def split(gmm: DiagonalGmm, num_components: int, rng: np.random.Generator) -> DiagonalGmm:
    """The heaviest Gaussians become two, apart in a random direction, until there are `num_components` (twice as many at most)."""
    num_new = min(num_components - len(gmm.weights), len(gmm.weights))
    heaviest = np.argsort(-gmm.weights, kind="stable")[:num_new]
    shift = np.zeros_like(gmm.means)
    directions = rng.choice([-1.0, 1.0], size=(num_new, gmm.means.shape[1]))
    shift[heaviest] = SPLIT * directions * np.sqrt(gmm.variances[heaviest])
    weights = gmm.weights.copy()
    weights[heaviest] /= 2
    return DiagonalGmm(
        np.concatenate([weights, weights[heaviest]]),
        np.concatenate([gmm.means + shift, (gmm.means - shift)[heaviest]]),
        np.concatenate([gmm.variances, gmm.variances[heaviest]]),
    )


def as_full(gmm: DiagonalGmm) -> FullGmm:
    """The same mixture with its variances on the diagonal of covariances."""
    return FullGmm(gmm.weights, gmm.means, gmm.variances[:, :, None] * np.eye(gmm.means.shape[1]))


def train_diagonal(source: Source, config: UbmConfig) -> tuple[DiagonalGmm, np.ndarray]:
    """Diagonal Gaussians, and the floor `(dim,)` of their variances.

    Raises:
        DataError: a column is constant, or there are fewer frames than Gaussians.
    """
    rng = np.random.default_rng(config.seed)
    start = DiagonalGmm(np.ones(1), np.zeros((1, source.frames.dim)), np.ones((1, source.frames.dim)))
    statistics = source.accumulate(partial(align_diagonal, start))
    if statistics.num_frames < 10 * config.num_components:
        raise DataError(
            f"{statistics.num_frames} frames are too few for {config.num_components} Gaussians; choose a smaller num_components"
        )
    gmm = global_gaussian(statistics)
    floor = config.variance_floor * gmm.variances[0]
    while len(gmm.weights) < config.num_components:
        gmm = split(gmm, config.num_components, rng)
        is_last = len(gmm.weights) == config.num_components
        for _ in range(config.diagonal_iterations if is_last else config.split_iterations):
            statistics = source.accumulate(partial(align_diagonal, gmm))
            gmm = diagonal_step(statistics, gmm, floor)
        logger.info("%d diagonal Gaussians: log-likelihood %.4f per frame", len(gmm.weights), statistics.mean_log_likelihood)
    return gmm, floor


def train_ubm(source: Source, config: UbmConfig) -> FullGmm:
    """The background model.

    Raises:
        DataError: as `train_diagonal`.
    """
    diagonal, floor = train_diagonal(source, config)
    gmm = as_full(diagonal)
    if config.covariance == "diagonal":
        return gmm
    for iteration in range(config.full_iterations):
        statistics = source.accumulate(partial(align_full, gmm, config.num_selected, config.min_posterior), is_full=True)
        gmm = full_step(statistics, gmm, floor)
        logger.info("full covariances, iteration %d: log-likelihood %.4f per frame", iteration + 1, statistics.mean_log_likelihood)
    return gmm


def ubm_of_posteriors(source: Source, config: UbmConfig) -> FullGmm:
    """Gaussians of the classes that posteriors were given for: one M-step (Lei et al. 2014, section 3).

    Raises:
        ConfigError: another number of classes than `config.num_components`.
    """
    is_full = config.covariance == "full"
    statistics = source.accumulate(align_given, is_full)
    num_classes = len(statistics.counts)
    if num_classes != config.num_components:
        raise ConfigError(
            f"the posteriors have {num_classes} columns, num_components is {config.num_components}; give --num-components {num_classes}"
        )
    whole = global_gaussian(statistics)
    start = DiagonalGmm(
        np.full(num_classes, 1 / num_classes), np.repeat(whole.means, num_classes, 0), np.repeat(whole.variances, num_classes, 0)
    )
    floor = config.variance_floor * whole.variances[0]
    return full_step(statistics, as_full(start), floor) if is_full else as_full(diagonal_step(statistics, start, floor))
