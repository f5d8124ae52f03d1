"""What every linear back end needs to know of labelled vectors; shards add up to the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sv_toolkit.errors import DataError

_BLOCK = 1 << 14  # rows converted to float64 at a time


@dataclass(frozen=True)
class SpeakerStats:
    """Counts and means of speakers and the scatter around these means: sufficient for LDA and PLDA.

    Scatters are kept around means, never as sums of squares, so that nothing cancels when the mean is large.
    `a + b` are the statistics of both sets together, also where a speaker is in both.

    Attributes:
        speakers: `(num_speakers,)` ids, sorted.
        counts: `(num_speakers,)` utterances of each, float64.
        means: `(num_speakers, dim)`.
        within_scatter: `(dim, dim)`, sum over utterances of the outer product of their offset from their speaker's mean.
    """

    speakers: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    within_scatter: np.ndarray

    @property
    def num_utterances(self) -> int:
        """Of all speakers."""
        return int(self.counts.sum())

    @property
    def num_speakers(self) -> int:
        """Different ids."""
        return len(self.counts)

    @property
    def dim(self) -> int:
        """Values of a vector."""
        return self.means.shape[1]

    @property
    def within_freedom(self) -> int:
        """Utterances less speakers: the highest rank that the within scatter can have."""
        return self.num_utterances - self.num_speakers

    @property
    def mean(self) -> np.ndarray:
        """`(dim,)`, over utterances."""
        return self.counts @ self.means / self.counts.sum()

    @property
    def between_scatter(self) -> np.ndarray:
        """`(dim, dim)`: the part of the total scatter that the speakers' means explain."""
        offsets = (self.means - self.mean) * np.sqrt(self.counts)[:, None]
        return offsets.T @ offsets

    @property
    def total_scatter(self) -> np.ndarray:
        """`(dim, dim)`, around the mean over utterances."""
        return self.within_scatter + self.between_scatter

    def __add__(self, other: SpeakerStats) -> SpeakerStats:
        if self.dim != other.dim:
            raise DataError(f"vectors of {self.dim} and of {other.dim} dimensions cannot be pooled")
        speakers = np.union1d(self.speakers, other.speakers)
        here, there = (_spread(stats, speakers) for stats in (self, other))
        counts = here[0] + there[0]
        gap = there[1] - here[1]
        means = here[1] + (there[0] / counts)[:, None] * gap
        offsets = gap * np.sqrt(here[0] * there[0] / counts)[:, None]  # zero for a speaker of one side
        return SpeakerStats(speakers, counts, means, self.within_scatter + other.within_scatter + offsets.T @ offsets)


def _spread(stats: SpeakerStats, speakers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts and means in the rows of `speakers`, zero for those that `stats` does not know."""
    rows = np.searchsorted(speakers, stats.speakers)
    counts, means = np.zeros(len(speakers)), np.zeros((len(speakers), stats.dim))
    counts[rows], means[rows] = stats.counts, stats.means
    return counts, means


def speaker_statistics(vectors: np.ndarray, speakers: Sequence[str] | np.ndarray | None = None) -> SpeakerStats:
    """The statistics of `vectors`; without `speakers` all are of one, and only the total means anything.

    Args:
        vectors: `(num_utterances, dim)`, float32 or float64, finite.
        speakers: `(num_utterances,)` ids.

    Raises:
        DataError: there are no vectors, or some are not finite.
        ValueError: the numbers of vectors and speakers differ.
    """
    vectors = np.asarray(vectors)
    require_finite(vectors)
    labels = np.zeros(len(vectors), dtype="U1") if speakers is None else np.asarray(speakers).astype(str)
    if labels.shape != (len(vectors),):
        raise ValueError(f"{len(vectors)} vectors but speakers of shape {labels.shape}")
    names, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(index, kind="stable")
    means = _sums(vectors, order, index, len(names)) / counts[:, None]
    scatter = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK]
        offsets = vectors[rows] - means[index[rows]]
        scatter += offsets.T @ offsets
    return SpeakerStats(names, counts.astype(np.float64), means, scatter)


def _sums(vectors: np.ndarray, order: np.ndarray, index: np.ndarray, num_speakers: int) -> np.ndarray:
    sums = np.zeros((num_speakers, vectors.shape[1]))
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK]
        present, first = np.unique(index[rows], return_index=True)
        sums[present] += np.add.reduceat(vectors[rows].astype(np.float64), first, axis=0)
    return sums


def require_finite(vectors: np.ndarray) -> None:
    """Raise DataError unless `vectors` is a matrix of at least one row, all of it finite."""
    if vectors.ndim != 2 or not vectors.size:
        raise DataError(f"vectors of one dimension are needed, at least one; got an array of shape {vectors.shape}")
    good = np.isfinite(vectors).all(axis=1)
    if not good.all():
        raise DataError(f"row {int(np.argmin(good))} of the vectors holds values that are not finite (NaN or Inf)")


def require_directions(vectors: np.ndarray) -> None:
    """Raise DataError where `require_finite` does, or where a vector is zero: a failed extraction, not a voice."""
    require_finite(vectors)
    good = vectors.any(axis=1)
    if not good.all():
        raise DataError(f"row {int(np.argmin(good))} of the vectors is zero (norm 0); extract it again or drop it")


def require_speakers(stats: SpeakerStats, what: str) -> None:
    """Raise DataError unless there are two speakers, one of them with two utterances."""
    if stats.num_speakers < 2:
        raise DataError(
            f"{what} needs utterances of at least 2 speakers, got {stats.num_speakers}; is every utterance labelled with the same?"
        )
    if not stats.within_freedom:
        raise DataError(
            f"{what} needs a speaker with at least 2 utterances: all {stats.num_speakers} have one, nothing varies within a speaker"
        )
