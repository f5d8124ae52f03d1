"""The contract of back ends: fit returns self, what was learned is a dict of named float64 arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from sv_toolkit.backends.statistics import SpeakerStats, require_directions, require_speakers, speaker_statistics
from sv_toolkit.errors import ModelError, examples, plain

E = TypeVar("E", bound="Estimator")


class Estimator:
    """A back end that learns from vectors of labelled utterances.

    `fit(vectors, speakers)` is `fit_statistics(statistics(vectors, speakers))`; statistics of shards can be added first.

    Attributes:
        needs_speakers: False where `fit` may be called without speakers.
        is_additive: False where `fit` has to see the vectors and there is no `fit_statistics`.
        shapes: name of each learned array -> names of its sizes; equal names are equal sizes.  The array `mean` is
            the attribute `mean_`.
    """

    needs_speakers: bool = True
    is_additive: bool = True
    shapes: ClassVar[dict[str, tuple[str, ...]]] = {}
    config: Any

    @staticmethod
    def statistics(vectors: np.ndarray, speakers: Sequence[str] | np.ndarray | None = None) -> SpeakerStats:
        """What `fit_statistics` takes.

        Raises:
            DataError: a vector is zero or not finite.
        """
        require_directions(np.asarray(vectors))
        return speaker_statistics(vectors, speakers)

    def fit(self: E, vectors: np.ndarray, speakers: Sequence[str] | np.ndarray | None = None) -> E:
        """Learn from `(num_utterances, dim)` vectors of the `(num_utterances,)` speakers; returns self.

        Raises:
            DataError: a vector is zero or not finite, or there is too little to learn from.
        """
        if self.needs_speakers and speakers is None:
            raise ValueError(f"{type(self).__name__} needs speakers")
        return self.fit_statistics(self.statistics(vectors, speakers))

    def fit_statistics(self: E, stats: SpeakerStats) -> E:
        """Learn from statistics, which may be the sum of those of shards; returns self."""
        if self.needs_speakers:
            require_speakers(stats, type(self).__name__)
        self._estimate(stats)
        return self

    def _estimate(self, stats: SpeakerStats) -> None:
        raise NotImplementedError

    def arrays(self) -> dict[str, np.ndarray]:
        """What was learned, by name, float64."""
        if not self.is_fitted:
            raise ValueError(f"{type(self).__name__} has not been fitted")
        return {name: getattr(self, f"{name}_") for name in self.shapes}

    def load_arrays(self: E, arrays: Mapping[str, np.ndarray]) -> E:
        """Take over what `arrays()` gave; returns self.

        Raises:
            ModelError: an array is missing, unknown, of the wrong type or shape, or not finite.
        """
        sizes: dict[str, int] = {}
        require_names(arrays, self.shapes, type(self).__name__)
        for name, shape in self.shapes.items():
            _check_array(arrays[name], name, shape, sizes)
        for name in self.shapes:
            setattr(self, f"{name}_", np.array(arrays[name]))
        return self

    @property
    def is_fitted(self) -> bool:
        """True after `fit` or `load_arrays`."""
        return all(hasattr(self, f"{name}_") for name in self.shapes)


def require_names(arrays: Mapping[str, np.ndarray], wanted: Mapping[str, Any], owner: str) -> None:
    """Raise ModelError unless the names of `arrays` are those of `wanted`."""
    missing, unexpected = sorted(wanted.keys() - arrays.keys()), sorted(arrays.keys() - wanted.keys())
    if missing or unexpected:
        raise ModelError(
            f"{owner}: {len(missing)} missing arrays ({examples(missing)}), {len(unexpected)} unexpected ({examples(unexpected)})"
        )


def _check_array(array: np.ndarray, name: str, shape: tuple[str, ...], sizes: dict[str, int]) -> None:
    if array.dtype != np.float64:
        raise ModelError(f"{plain(name)} has numbers of type {array.dtype}, float64 is needed")
    if array.ndim != len(shape) or any(sizes.setdefault(size, n) != n for size, n in zip(shape, array.shape)):
        wanted = " x ".join(f"{size} ({sizes[size]})" if size in sizes else size for size in shape)
        raise ModelError(f"{plain(name)} has shape {array.shape}, {wanted} is needed")
    if not np.isfinite(array).all():
        raise ModelError(f"{plain(name)} holds values that are not finite")
