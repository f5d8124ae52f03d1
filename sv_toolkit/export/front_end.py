"""The waveform's features as ONNX operators: filter banks and cepstra as in `features.fbank` and `features.mfcc`.

All that lies between a frame without offset and its spectrum (preemphasis, window, Fourier transform) is linear: one
matrix, made in double precision, of which only the bins that a filter looks at are kept.  On real recordings the result is
nearer to the definition in double precision than that of the fast transform.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sv_toolkit.export.graph import Value
from sv_toolkit.features.fbank import EPSILON, SAMPLE_SCALE, FbankConfig
from sv_toolkit.features.mfcc import MfccConfig


@dataclass(frozen=True)
class Frames:
    """A waveform cut into frames.

    Attributes:
        samples: `(num_frames, length_samples)` in the range of 16-bit integers, the offset removed where it is to be; one
            frame of silence where the waveform is too short for any.
        num_frames: as many as the waveform has: none of a short one.
    """

    samples: Value
    num_frames: Value


def frames_of(waveform: Value, config: FbankConfig) -> Frames:
    """The frames of `waveform` `(num_samples,)` in [-1, 1)."""
    graph, num_samples = waveform.graph, waveform.size(0)
    shift, length = config.shift_samples, config.length_samples
    if config.snip_edges:
        num_frames = ((num_samples - length + shift) / shift).op("Max", 0)  # ONNX cuts quotients off towards zero
    else:
        num_frames = (num_samples + shift // 2) / shift
    starts = graph.arange(num_frames.op("Max", 1)) * shift + config.first_start
    places = starts.expand_dims(1) + np.arange(length)
    padded = graph.concat([waveform * SAMPLE_SCALE, graph.zeros((num_samples * -1 + length).op("Max", 0))], axis=0)
    samples = padded.take(places if config.snip_edges else _mirrored(places, num_samples.op("Max", 1)))
    return Frames(samples - samples.mean(1, keepdims=True) if config.remove_dc_offset else samples, num_frames)


def _mirrored(places: Value, num_samples: Value) -> Value:
    """Places inside the waveform for those before its start and beyond its end, as often as needed."""
    around = places % (num_samples * 2)
    return around.op("Min", num_samples * 2 - 1 - around)


def features_of(frames: Frames, config: FbankConfig) -> Value:
    """Features `(num_frames, config.dim)`, without dither."""
    if isinstance(config, MfccConfig):
        return _cepstra(frames, config)
    bank = _filter_bank(frames, config)
    if not config.use_energy:
        return bank
    energy = _energy_column(frames, config)
    return bank.graph.concat([bank, energy] if config.htk_compat else [energy, bank], axis=1)


def _cepstra(frames: Frames, config: MfccConfig) -> Value:
    cepstra = _filter_bank(frames, config.filter_bank) @ config.cosine_transform
    first, rest = cepstra.graph.split(cepstra, [1, config.num_ceps - 1], axis=1)
    if config.use_energy:
        first = _energy_column(frames, config)
    elif config.htk_compat:
        first = first * np.sqrt(2)
    return cepstra.graph.concat([rest, first] if config.htk_compat else [first, rest], axis=1)


def _filter_bank(frames: Frames, config: FbankConfig) -> Value:
    filters = config.mel_filters()
    used = np.flatnonzero(filters.any(axis=1))
    spectrum = frames.samples @ np.concatenate(_transform(config, used), axis=1)
    real, imaginary = spectrum.graph.split(spectrum, [len(used)] * 2, axis=1)
    power = real * real + imaginary * imaginary
    mel = (power if config.use_power else power.op("Sqrt")) @ filters[used]
    return mel.op("Max", EPSILON).op("Log") if config.use_log_fbank else mel


def _transform(config: FbankConfig, bins: np.ndarray) -> list[np.ndarray]:
    """Preemphasis, window and the real and imaginary parts of the transform, each `(length_samples, num_bins)`."""
    phase = 2 * np.pi / config.transform_size * np.outer(np.arange(config.length_samples), bins)
    shaping = _preemphasis(config) * config.window()
    return [shaping @ np.cos(phase), shaping @ -np.sin(phase)]


def _preemphasis(config: FbankConfig) -> np.ndarray:
    """Multiplies a frame `(1, length)` from the right: x[n] - c x[n-1], and x[0] (1 - c) at its start, as in Kaldi."""
    matrix = np.eye(config.length_samples) - config.preemphasis_coefficient * np.eye(config.length_samples, k=1)
    matrix[0, 0] -= config.preemphasis_coefficient
    return matrix


def _energy_column(frames: Frames, config: FbankConfig) -> Value:
    """`(num_frames, 1)` logarithm of the energy before or after preemphasis and window."""
    samples = frames.samples if config.raw_energy else frames.samples @ (_preemphasis(config) * config.window())
    return _log_of_squares(samples, config)


def log_energy(frames: Frames, config: FbankConfig) -> Value:
    """Logarithm of the energy of the frames `(num_frames,)`, as `features.fbank.log_energy`."""
    return _log_of_squares(frames.samples, config).reshape(-1)


def _log_of_squares(samples: Value, config: FbankConfig) -> Value:
    return (samples * samples).sum(1, keepdims=True).op("Max", max(EPSILON, config.energy_floor)).op("Log")
