"""Maps of embeddings to embeddings: centering, whitening, LDA, length normalisation, and several of them in a row.

Everything is float64; `transform` takes and gives `(num_utterances, dim)`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sv_toolkit.backends.covariance import oracle_shrinkage, positive_eigh, shrink, signed
from sv_toolkit.backends.estimator import Estimator, require_names
from sv_toolkit.backends.statistics import SpeakerStats, require_directions
from sv_toolkit.errors import ConfigError, DataError

logger = logging.getLogger("sv_toolkit")


def require_dim(vectors: np.ndarray, dim: int) -> np.ndarray:
    """`vectors`, unless they do not have `dim` values.

    Raises:
        DataError: says both dimensions.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise DataError(f"the back end takes vectors of {dim} dimensions, got an array of shape {vectors.shape}")
    return vectors


def require_weight(shrinkage: float | None) -> None:
    """Raise ConfigError unless `shrinkage` is a weight, or None."""
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise ConfigError(f"a shrinkage lies in [0, 1], got {shrinkage}")


class Transform(Estimator):
    """An estimator that maps vectors."""

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """`(num_utterances, dim)` to `(num_utterances, new_dim)` float64."""
        raise NotImplementedError


class AffineTransform(Transform):
    """`(x - mean) @ projection.T`."""

    shapes: ClassVar[dict[str, tuple[str, ...]]] = {"mean": ("dim",), "projection": ("new dim", "dim")}
    mean_: np.ndarray
    projection_: np.ndarray

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Center and project."""
        return (require_dim(vectors, len(self.mean_)) - self.mean_) @ self.projection_.T


@dataclass(frozen=True)
class CenterConfig:
    """Centering has no options."""


class Center(Transform):
    """Subtract the mean over the training utterances."""

    needs_speakers = False
    shapes: ClassVar[dict[str, tuple[str, ...]]] = {"mean": ("dim",)}
    mean_: np.ndarray

    def __init__(self, config: CenterConfig = CenterConfig()) -> None:  # noqa: B008
        self.config = config

    def _estimate(self, stats: SpeakerStats) -> None:
        self.mean_ = stats.mean

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Subtract the mean."""
        return require_dim(vectors, len(self.mean_)) - self.mean_


@dataclass(frozen=True)
class WhitenConfig:
    """How to make the total covariance the identity.

    Attributes:
        kind: "zca" turns as little as possible (symmetric), "pca" puts the directions of most variance first.
        shrinkage: weight of the scaled identity in the covariance, in [0, 1]; None: chosen from the data
            (`oracle_shrinkage`).
    """

    kind: str = "zca"
    shrinkage: float | None = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("zca", "pca"):
            raise ConfigError(f"whitening is 'zca' or 'pca', got {self.kind!r}")
        require_weight(self.shrinkage)


def _way_out(covariance: np.ndarray, shrinkage: float | None, which: str) -> str:
    """What helps where a covariance has not the full rank; a shrinkage that was given, or chosen, cannot fill one of zeros."""
    if not covariance.any():
        return f"{which} are equal: is one listed under several ids?"
    return "take more utterances" + (", or a shrinkage above 0" if shrinkage == 0 else "")


class Whiten(AffineTransform):
    """Center, and make the total covariance of the training utterances the identity."""

    needs_speakers = False

    def __init__(self, config: WhitenConfig = WhitenConfig()) -> None:  # noqa: B008
        self.config = config

    def _estimate(self, stats: SpeakerStats) -> None:
        covariance = shrunk(stats.total_scatter / stats.num_utterances, stats.num_utterances, self.config.shrinkage, "total")
        values, vectors = positive_eigh(covariance)
        if len(values) < stats.dim:
            raise DataError(
                f"whitening {stats.dim} dimensions: the covariance of {stats.num_utterances} utterances has rank {len(values)}; "
                f"{_way_out(covariance, self.config.shrinkage, 'all vectors')}"
            )
        scaled = vectors / np.sqrt(values)
        self.mean_, self.projection_ = stats.mean, scaled @ vectors.T if self.config.kind == "zca" else scaled.T


@dataclass(frozen=True)
class LdaConfig:
    """Options of linear discriminant analysis.

    Attributes:
        dim: directions to keep; None: as many as the speakers differ in, no more than the utterances less the speakers,
            and no more than 100.
        shrinkage: weight of the scaled identity in the within-speaker covariance, in [0, 1]; None: chosen from the
            data, close to 0 where there are many utterances per dimension (`oracle_shrinkage`).
    """

    dim: int | None = None
    shrinkage: float | None = None

    def __post_init__(self) -> None:
        if self.dim is not None and self.dim < 1:
            raise ConfigError(f"LDA keeps at least 1 dimension, got {self.dim}")
        require_weight(self.shrinkage)


DEFAULT_LDA_DIM = 100


class Lda(AffineTransform):
    """Center, and keep the directions with most variance between speakers for their variance within.

    Fisher (1936), Rao (1948); Bishop (2006), Pattern recognition and machine learning, section 4.1.6.  Directions are
    scaled to within-speaker variance 1 and ordered by how much they separate.
    """

    def __init__(self, config: LdaConfig = LdaConfig()) -> None:  # noqa: B008
        self.config = config

    def _estimate(self, stats: SpeakerStats) -> None:
        within = shrunk(stats.within_scatter / stats.within_freedom, stats.within_freedom, self.config.shrinkage, "within-speaker")
        values, vectors = positive_eigh(within)
        if len(values) < stats.dim:
            raise DataError(
                f"LDA of {stats.dim} dimensions: the within-speaker covariance of {stats.num_utterances} utterances of "
                f"{stats.num_speakers} speakers has rank {len(values)}; {_way_out(within, self.config.shrinkage, 'the vectors of each speaker')}"
            )
        sphering = (vectors / np.sqrt(values)).T
        ratios, directions = positive_eigh(sphering @ (stats.between_scatter / stats.num_utterances) @ sphering.T)
        dim = self._num_directions(stats, len(ratios))
        self.mean_, self.projection_ = stats.mean, signed(directions.T[:dim] @ sphering)

    def _num_directions(self, stats: SpeakerStats, rank: int) -> int:
        if self.config.dim is None:
            return min(rank, stats.within_freedom, DEFAULT_LDA_DIM)
        if self.config.dim > rank:
            raise DataError(
                f"LDA to {self.config.dim} dimensions: {stats.num_speakers} speakers of {stats.dim} dimensions differ in {rank}; "
                f"take at most {rank}, or more speakers"
            )
        return self.config.dim


@dataclass(frozen=True)
class LengthNormConfig:
    """The length that vectors are given: "unit" for 1, "sqrt-dim" for the square root of the dimension, as Kaldi does."""

    length: str = "unit"

    def __post_init__(self) -> None:
        if self.length not in ("unit", "sqrt-dim"):
            raise ConfigError(f"the length is 'unit' or 'sqrt-dim', got {self.length!r}")


class LengthNorm(Transform):
    """Give all vectors the same length: Garcia-Romero and Espy-Wilson (2011)."""

    needs_speakers = False

    def __init__(self, config: LengthNormConfig = LengthNormConfig()) -> None:  # noqa: B008
        self.config = config

    def fit(self, vectors: np.ndarray, speakers: Sequence[str] | np.ndarray | None = None) -> LengthNorm:
        """Learn nothing, after the same checks as every other; returns self."""
        require_directions(np.asarray(vectors))
        return self

    def _estimate(self, stats: SpeakerStats) -> None:
        pass

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Scale every row.

        Raises:
            DataError: a row is zero or not finite.
        """
        vectors = np.asarray(vectors)
        require_directions(vectors)
        largest = np.abs(vectors).max(axis=1, keepdims=True)  # squares of what is divided by it neither under- nor overflow
        scaled = vectors.astype(np.float64) / largest
        length = 1.0 if self.config.length == "unit" else np.sqrt(vectors.shape[1])
        return scaled * (length / np.linalg.norm(scaled, axis=1, keepdims=True))


class Pipeline(Transform):
    """Transforms in a row; each is fitted on what those before it make of the vectors."""

    is_additive = False  # length normalisation is not linear: a step has to see the vectors that those before it make

    def __init__(self, steps: Sequence[Transform]) -> None:
        self.steps = list(steps)
        self.needs_speakers = any(step.needs_speakers for step in self.steps)

    def fit(self, vectors: np.ndarray, speakers: Sequence[str] | np.ndarray | None = None) -> Pipeline:
        """Fit the steps in their order; returns self."""
        self.fit_transform(vectors, speakers)
        return self

    def fit_transform(self, vectors: np.ndarray, speakers: Sequence[str] | np.ndarray | None = None) -> np.ndarray:
        """Fit the steps and give what they make of `vectors`."""
        require_directions(np.asarray(vectors))
        for step in self.steps:
            vectors = step.fit(vectors, speakers).transform(vectors)
        return np.asarray(vectors, np.float64)

    def fit_statistics(self, stats: SpeakerStats) -> Pipeline:
        """Not possible: length normalisation is not linear, so every step has to see the vectors."""
        raise ValueError("a pipeline is fitted on vectors: each step learns from what the step before makes of them")

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """All steps in their order."""
        for step in self.steps:
            vectors = step.transform(vectors)
        return np.asarray(vectors, np.float64)

    @property
    def is_fitted(self) -> bool:
        """True if every step is."""
        return all(step.is_fitted for step in self.steps)

    def arrays(self) -> dict[str, np.ndarray]:
        """Those of the steps as `0.mean`, `1.projection`, ..."""
        return {f"{number}.{name}": array for number, step in enumerate(self.steps) for name, array in step.arrays().items()}

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> Pipeline:
        """Take over what `arrays()` gave; returns self."""
        require_names(arrays, {f"{number}.{name}": None for number, step in enumerate(self.steps) for name in step.shapes}, "the pipeline")
        for number, step in enumerate(self.steps):
            step.load_arrays({name: arrays[f"{number}.{name}"] for name in step.shapes})
        return self


def shrunk(covariance: np.ndarray, freedom: int, shrinkage: float | None, name: str) -> np.ndarray:
    """`covariance` with as much of the scaled identity as asked for, or as the data ask for."""
    weight = oracle_shrinkage(covariance, freedom) if shrinkage is None else shrinkage
    if shrinkage is None and weight > 0.1:
        logger.info("the %s covariance of %d dimensions has %d degrees of freedom: shrunk by %.2f", name, len(covariance), freedom, weight)
    return shrink(covariance, weight)
