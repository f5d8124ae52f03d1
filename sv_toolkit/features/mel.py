"""Triangular filters on the mel scale, with Kaldi's definition of scale, edges and warping."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from sv_toolkit.errors import ConfigError


class Warp(NamedTuple):
    """Vocal tract length normalisation: `factor`, and the frequencies in hertz between which it holds."""

    factor: float
    low: float
    high: float


def mel_scale(hertz: np.ndarray | float) -> np.ndarray:
    """Mel of a frequency: 1127 ln(1 + f / 700)."""
    return 1127.0 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700.0)


def inverse_mel_scale(mel: np.ndarray | float) -> np.ndarray:
    """Frequency in hertz of a mel value."""
    return 700.0 * np.expm1(np.asarray(mel, dtype=np.float64) / 1127.0)


def triangles(bins: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Triangular weights with peaks of 1 between every second two of the rising `edges` `(num_filters + 2,)`.

    Args:
        bins: `(num_bins, 1)` in the unit of the edges, in which the sides are straight.

    Returns:
        `(num_bins, num_filters)`.
    """
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    return np.maximum(np.minimum((bins - left) / (center - left), (right - bins) / (right - center)), 0)


@functools.lru_cache(maxsize=16)
def mel_filters(num_filters: int, transform_size: int, sample_rate: int, low: float, high: float, warp: Warp | None = None) -> np.ndarray:
    """Weights of triangular filters between `low` and `high` hertz, straight lines in mel.

    Neighbouring filters overlap by half; the bin at half the sample rate belongs to none, as in Kaldi.

    Returns:
        `(transform_size // 2, num_filters)` float64, read-only.

    Raises:
        ConfigError: there are so many filters that one holds no bin of the transform.
    """
    if num_filters < 3:
        raise ConfigError(f"num_mel_bins must be at least 3, got {num_filters}")
    edges = np.linspace(mel_scale(low), mel_scale(high), num_filters + 2)
    if warp is not None:
        edges = mel_scale(warped(inverse_mel_scale(edges), low, high, warp))
    bins = mel_scale(np.arange(transform_size // 2) * sample_rate / transform_size)[:, None]
    weights = triangles(bins, edges)
    empty = np.flatnonzero(~weights.any(axis=0))
    if len(empty):
        raise ConfigError(
            f"num_mel_bins {num_filters} is too large: filter {empty[0]} holds no bin of a transform of {transform_size} samples"
        )
    weights.flags.writeable = False
    return weights


def warped(hertz: np.ndarray, low: float, high: float, warp: Warp) -> np.ndarray:
    """Frequencies divided by the factor in the middle, joined by straight lines to `low` and `high`, which stay.

    The bends are at `warp.low * max(1, factor)` and `warp.high * min(1, factor)`; outside [low, high] nothing moves.
    """
    low_bend, high_bend = warp.low * max(1.0, warp.factor), warp.high * min(1.0, warp.factor)
    corners = [low, low_bend, high_bend, high]
    moved = [low, low_bend / warp.factor, high_bend / warp.factor, high]
    return np.where((hertz >= low) & (hertz <= high), np.interp(hertz, corners, moved), hertz)
