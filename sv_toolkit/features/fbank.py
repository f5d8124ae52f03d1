"""Log-mel filter bank as Kaldi computes it, vectorised: a waveform in, a matrix out.

Dithering, removal of the offset, preemphasis, window, power spectrum, triangular mel filters, logarithm.
Everything but the last two steps is linear, so preemphasis is done once per sample and not once per frame.
"""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

import numpy as np

from sv_toolkit.features.fbank_config import FbankConfig

__all__ = ["EPSILON", "SAMPLE_SCALE", "FbankConfig", "fbank", "log_energy"]

SAMPLE_SCALE = 32768.0  # Kaldi's features expect the range of 16-bit integers; on +-1 the floor below would clip quiet bins
EPSILON = float(np.finfo(np.float32).eps)  # Kaldi's floor of every energy before its logarithm
BLOCK = 128  # frames computed together; the work space of a block stays in the second-level cache
BAND = 16  # filters multiplied together: low ones look at few bins, and a multiple of the vector length is fastest


def fbank(samples: np.ndarray, config: FbankConfig, rng: np.random.Generator | None = None) -> np.ndarray:
    """Filter-bank features of one waveform.

    Args:
        samples: `(num_samples,)` in [-1, 1), at `config.sample_rate`.
        rng: source of the dither; needed where `config.dither` is not 0.  Kaldi draws new noise for every frame;
            here the waveform gets it once, so that overlapping frames share it.

    Returns:
        `(num_frames, config.dim)` float32; no rows where the waveform is shorter than a frame.
    """
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if samples.ndim != 1:
        raise ValueError(f"a waveform has one axis, got shape {samples.shape}")
    num_frames = config.num_frames(len(samples))
    features = np.empty((num_frames, config.dim), dtype=np.float32)
    if num_frames == 0:
        return features
    samples = _dithered(_mirrored(samples, num_frames, config), config, rng)
    offsets = _offsets(samples, num_frames, config)
    for start, stop in _blocks(num_frames):
        _compute_block(samples[start * config.shift_samples :], offsets[start:stop], features[start:stop], config)
    return features


def log_energy(samples: np.ndarray, config: FbankConfig) -> np.ndarray:
    """Logarithm of the energy of every frame, `(num_frames,)` float32: the column that `use_energy` with `raw_energy` adds.

    The frames are those of `fbank` with the same configuration.
    """
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    num_frames = config.num_frames(len(samples))
    energy = np.empty(num_frames, dtype=np.float32)
    if num_frames == 0:
        return energy
    samples = _mirrored(samples, num_frames, config)
    offsets = _offsets(samples, num_frames, config)
    for start, stop in _blocks(num_frames):
        energy[start:stop] = _raw_log_energy(samples[start * config.shift_samples :], offsets[start:stop], config)
    return energy


def _blocks(num_frames: int) -> list[tuple[int, int]]:
    """Runs of at most BLOCK frames, about equal in length: a short last one would cost as much as a full one."""
    size = -(-num_frames // -(-num_frames // BLOCK))
    return [(start, min(start + size, num_frames)) for start in range(0, num_frames, size)]


class _Band(NamedTuple):
    """Some neighbouring filters and the only columns of the spectrum that they look at."""

    filters: slice
    columns: slice
    weights: np.ndarray


class _WorkSpace(NamedTuple):
    """Constants of a configuration, and scratch arrays for one block."""

    window: np.ndarray  # (length,), scaled to the range of 16-bit integers
    bands: list[_Band]
    emphasized: np.ndarray
    emphasized_frames: np.ndarray  # (BLOCK, length), overlapping views of the array above
    padded: np.ndarray  # (BLOCK, transform_size); the columns beyond the frame stay zero
    squares: np.ndarray  # (BLOCK, 2 * num_bins)


def _compute_block(samples: np.ndarray, offsets: np.ndarray, out: np.ndarray, config: FbankConfig) -> None:
    """Features of the first `len(out)` frames of `samples` into `out`."""
    mel = out
    if config.use_energy:
        column = config.num_mel_bins if config.htk_compat else 0
        mel = out[:, : config.num_mel_bins] if config.htk_compat else out[:, 1:]
        if config.raw_energy:
            out[:, column] = _raw_log_energy(samples, offsets, config)
    frames = _windowed(samples, offsets, config)
    if config.use_energy and not config.raw_energy:
        out[:, column] = _floored_log(np.einsum("ij,ij->i", frames, frames), config)
    spectrum = _spectrum(_work_space(config).padded[: len(out)], config)
    for band in _work_space(config).bands:
        np.matmul(spectrum[:, band.columns], band.weights, out=mel[:, band.filters])
    if config.use_log_fbank:
        np.maximum(mel, np.float32(EPSILON), out=mel)
        np.log(mel, out=mel)


def _windowed(samples: np.ndarray, offsets: np.ndarray, config: FbankConfig) -> np.ndarray:
    """The first frames `(len(offsets), length)` without offset, preemphasized, windowed, in the range of 16-bit integers.

    With the offset m of a frame, (x[n] - m) - c (x[n-1] - m) = (x[n] - c x[n-1]) - (1 - c) m: the first bracket is common
    to all frames.  Only the first sample of a frame differs: Kaldi takes its own value for the one before it.
    """
    space, num_frames = _work_space(config), len(offsets)
    rest = np.float32(1 - config.preemphasis_coefficient)
    last = (num_frames - 1) * config.shift_samples + config.length_samples
    np.multiply(samples[: last - 1], np.float32(-config.preemphasis_coefficient), out=space.emphasized[1:last])
    space.emphasized[1:last] += samples[1:last]
    frames = space.padded[:num_frames, : config.length_samples]
    np.subtract(space.emphasized_frames[:num_frames], rest * offsets, out=frames)
    firsts = samples[: last - config.length_samples + 1 : config.shift_samples]
    np.multiply(firsts - offsets[:, 0], rest, out=frames[:, 0])
    frames *= space.window
    return frames


def _offsets(samples: np.ndarray, num_frames: int, config: FbankConfig) -> np.ndarray:
    """Mean of every frame `(num_frames, 1)`, or zeros where it is to stay."""
    if not config.remove_dc_offset:
        return np.zeros((num_frames, 1), dtype=np.float32)
    step = math.gcd(config.length_samples, config.shift_samples)  # all frames are made of the same steps: add these up once
    length, shift = config.length_samples // step, config.shift_samples // step
    steps = samples[: ((num_frames - 1) * shift + length) * step].reshape(-1, step)
    running = np.zeros(len(steps) + 1)
    np.cumsum(np.add.reduce(steps, axis=1), out=running[1:])
    sums = running[length::shift] - running[:-length:shift]
    return (sums / config.length_samples).astype(np.float32)[:, None]


def _spectrum(frames: np.ndarray, config: FbankConfig) -> np.ndarray:
    """What the filters add up: squares of real and imaginary parts in turn, or (without `use_power`) magnitudes.

    The transform is divided by its length: asked for this normalisation, numpy works in single precision, without it in
    double.  The filters make up for it.
    """
    spectrum = np.fft.rfft(frames, axis=1, norm="forward")
    parts = spectrum.view(spectrum.real.dtype)
    squares = _work_space(config).squares[: len(frames)]
    np.multiply(parts, parts, out=squares, casting="same_kind")  # numpy 1.26 transforms in double precision whatever one asks
    return squares if config.use_power else np.sqrt(squares[:, ::2] + squares[:, 1::2])


def _raw_log_energy(samples: np.ndarray, offsets: np.ndarray, config: FbankConfig) -> np.ndarray:
    frames = _work_space(config).padded[: len(offsets), : config.length_samples]
    num_samples = (len(offsets) - 1) * config.shift_samples + config.length_samples
    np.subtract(_framed(samples[:num_samples], config), offsets, out=frames)
    return _floored_log(np.einsum("ij,ij->i", frames, frames) * np.float32(SAMPLE_SCALE**2), config)


def _floored_log(energy: np.ndarray, config: FbankConfig) -> np.ndarray:
    return np.log(np.maximum(energy, np.float32(max(EPSILON, config.energy_floor))))


def _mirrored(samples: np.ndarray, num_frames: int, config: FbankConfig) -> np.ndarray:
    """The waveform with its ends mirrored as far as the outermost frames reach; the first frame then starts at 0."""
    if config.snip_edges:
        return samples
    before = max(0, -config.first_start)
    stop = config.first_start + (num_frames - 1) * config.shift_samples + config.length_samples
    padded = np.pad(samples, (before, max(0, stop - len(samples))), mode="symmetric")
    return padded[config.first_start + before :]


def _dithered(samples: np.ndarray, config: FbankConfig, rng: np.random.Generator | None) -> np.ndarray:
    if config.dither == 0:
        return samples
    if rng is None:
        raise ValueError("dither needs a random generator")
    noise = rng.standard_normal(len(samples), dtype=np.float32)
    noise *= np.float32(config.dither / SAMPLE_SCALE)
    noise += samples
    return noise


def _band(weights: np.ndarray, first: int, use_power: bool) -> _Band:
    filters = slice(first, min(first + BAND, weights.shape[1]))
    used = np.flatnonzero(weights[:, filters].any(axis=1))
    columns, repeats = slice(int(used[0]), int(used[-1]) + 1), 2 if use_power else 1  # the square of a bin is in two columns
    part = np.repeat(weights[columns, filters], repeats, axis=0)
    return _Band(filters, slice(repeats * columns.start, repeats * columns.stop), part)


_local = threading.local()


def _work_space(config: FbankConfig) -> _WorkSpace:
    """Those of this thread: for short utterances, getting fresh memory would cost more than the transform."""
    if getattr(_local, "config", None) is not config:
        scale = config.transform_size ** (2 if config.use_power else 1)  # undoes the normalisation in `_spectrum`
        weights = (config.mel_filters() * scale).astype(np.float32)
        bands = [_band(weights, first, config.use_power) for first in range(0, config.num_mel_bins, BAND)]
        window = (config.window() * SAMPLE_SCALE).astype(np.float32)
        num_samples, size = (BLOCK - 1) * config.shift_samples + config.length_samples, config.transform_size
        emphasized = np.zeros(num_samples, dtype=np.float32)
        padded, squares = (np.zeros((BLOCK, width), dtype=np.float32) for width in (size, 2 * (size // 2 + 1)))
        _local.space = _WorkSpace(window, bands, emphasized, _framed(emphasized, config), padded, squares)
        _local.config = config
    return _local.space


def _framed(samples: np.ndarray, config: FbankConfig) -> np.ndarray:
    """All overlapping frames `(num_frames, length)` of `samples`, as a view."""
    return np.lib.stride_tricks.sliding_window_view(samples, config.length_samples)[:: config.shift_samples]
