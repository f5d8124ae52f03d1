"""Baum-Welch statistics: how often every Gaussian was met, and the sums and squares of what it was met with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np

from sv_toolkit.io.shards import cut_shards
from sv_toolkit.ivector.config import UbmConfig
from sv_toolkit.ivector.frames import Block, Frames, opened, over_shards
from sv_toolkit.ivector.gmm import DiagonalGmm, FullGmm, diagonal_posteriors, full_posteriors, normalized


@dataclass(frozen=True)
class Statistics:
    """Sums over frames, weighted by their posteriors; float64.

    Attributes:
        counts: `(num_components,)`, zeroth order.
        sums: `(num_components, dim)`, first order.
        squares: second order, `(num_components, dim)` or with the products of columns `(num_components, dim, dim)`.
        log_likelihood: of all frames under the mixture that aligned them; NaN where posteriors were given.
        num_frames: how many.
    """

    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    log_likelihood: float
    num_frames: int

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(
            self.counts + other.counts,
            self.sums + other.sums,
            self.squares + other.squares,
            self.log_likelihood + other.log_likelihood,
            self.num_frames + other.num_frames,
        )

    @property
    def mean_log_likelihood(self) -> float:
        """Per frame, in nats."""
        return self.log_likelihood / self.num_frames


Align = Callable[[Block], tuple[np.ndarray, np.ndarray]]  # posteriors of the frames of a block, and their log-likelihoods


def align_diagonal(gmm: DiagonalGmm, block: Block) -> tuple[np.ndarray, np.ndarray]:
    """Exact posteriors."""
    return normalized(gmm.log_likelihoods(block.frames))


def align_full(gmm: FullGmm, num_selected: int, min_posterior: float, block: Block) -> tuple[np.ndarray, np.ndarray]:
    """As `full_posteriors`."""
    return full_posteriors(block.frames, gmm, num_selected, min_posterior)


def align_pruned(gmm: DiagonalGmm, num_selected: int, min_posterior: float, block: Block) -> tuple[np.ndarray, np.ndarray]:
    """As `diagonal_posteriors`."""
    return diagonal_posteriors(block.frames, gmm, num_selected, min_posterior)


def align_given(block: Block) -> tuple[np.ndarray, np.ndarray]:
    """The posteriors that came with the frames, of a network for example."""
    assert block.posteriors is not None
    return block.posteriors, np.full(len(block.frames), np.nan)


def alignment(gmm: FullGmm, config: UbmConfig, is_given: bool) -> Align:
    """How a finished system aligns frames: by posteriors that came with them, or by its Gaussians."""
    if is_given:
        return align_given
    if config.covariance == "diagonal":
        return partial(align_pruned, gmm.diagonal, config.num_selected, config.min_posterior)
    return partial(align_full, gmm, config.num_selected, config.min_posterior)


def second_order(frames: np.ndarray, posteriors: np.ndarray) -> np.ndarray:
    """Sum of the posterior times the outer product of the frame, `(num_components, dim, dim)`."""
    result = np.empty((posteriors.shape[1], frames.shape[1], frames.shape[1]))
    for component, column in enumerate(posteriors.T):
        rows = np.flatnonzero(column)
        met = frames[rows]
        result[component] = (met * column[rows, None]).T @ met
    return result


def statistics_of(block: Block, align: Align, is_full: bool) -> Statistics:
    """The statistics of one block."""
    posteriors, log_likelihood = align(block)
    squares = second_order(block.frames, posteriors) if is_full else posteriors.T @ block.frames**2
    return Statistics(posteriors.sum(axis=0), posteriors.T @ block.frames, squares, float(log_likelihood.sum()), len(block.frames))


@dataclass(frozen=True)
class Source:
    """Where statistics are taken from: some utterances of a data directory, by so many processes.

    Attributes:
        frames: must have come from `opened`, so that workers find them, too.
        subsample: only every so many frames of an utterance.
    """

    frames: Frames
    utterances: list[str]
    num_jobs: int = 1
    subsample: int = 1

    @property
    def key(self) -> tuple[Any, ...]:
        """The arguments of `opened`."""
        given = self.frames.posteriors
        return self.frames.index.path, self.frames.config, None if given is None else given.path

    def accumulate(self, align: Align, is_full: bool = False) -> Statistics:
        """Statistics of all frames."""
        parts = over_shards(
            partial(_shard_statistics, self.key, self.subsample, align, is_full), cut_shards(self.utterances), self.num_jobs
        )
        return reduce(Statistics.__add__, parts)


def _shard_statistics(key: tuple[Any, ...], subsample: int, align: Align, is_full: bool, utterances: list[str]) -> Statistics:
    blocks = map(partial(_thinned, subsample), opened(*key).blocks(utterances))
    return reduce(Statistics.__add__, (statistics_of(block, align, is_full) for block in blocks))


def _thinned(subsample: int, block: Block) -> Block:
    given = None if block.posteriors is None else block.posteriors[::subsample]
    return block._replace(frames=block.frames[::subsample], posteriors=given)


def utterance_statistics(frames: Frames, utterances: list[str], align: Align) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of every utterance by itself.

    Returns:
        counts `(num_utterances, num_components)` and sums `(num_utterances, num_components, dim)`, in the given order.
    """
    counts, sums = [], []
    for block in frames.blocks(utterances):
        posteriors, _ = align(block)
        for start, stop in zip(block.starts, [*block.starts[1:], len(block.frames)]):
            counts.append(posteriors[start:stop].sum(axis=0))
            sums.append(posteriors[start:stop].T @ block.frames[start:stop])
    return np.stack(counts), np.stack(sums)
