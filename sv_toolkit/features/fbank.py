"""Log-mel filter bank as Kaldi computes it, vectorised: a waveform in, a matrix out.

Dithering, removal of the offset, preemphasis, window, power spectrum, triangular mel filters, logarithm.
Everything but the last two steps is linear, so preemphasis is done once per sample and not once per frame.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sv_toolkit.errors import ConfigError
from sv_toolkit.features.mel import Warp, mel_filters

WINDOW_TYPES = ("povey", "hamming", "hanning", "rectangular", "sine", "blackman")
SAMPLE_SCALE = 32768.0  # Kaldi's features expect the range of 16-bit integers; on +-1 the floor below would clip quiet bins
EPSILON = float(np.finfo(np.float32).eps)  # Kaldi's floor of every energy before its logarithm
BLOCK = 128  # frames computed together; the work space of a block stays in the second-level cache


@dataclass(frozen=True)
class FbankConfig:
    """Options of the filter bank by Kaldi's names; times in seconds, frequencies in hertz.

    Attributes:
        high_freq: upper edge of the last filter; zero or negative: counted down from half the sample rate.
        window_type: povey (hann to the power 0.85), hamming, hanning, rectangular, sine or blackman.
        dither: standard deviation of the Gaussian noise added to the waveform, in units of 16-bit samples.
        round_to_power_of_two: pad frames with zeros to the next power of two before the transform.
        snip_edges: only frames that lie wholly inside the waveform; otherwise one frame per shift, the ends mirrored.
        use_energy: one more column, the logarithm of the frame's energy; first, or last with `htk_compat`.
        raw_energy: that energy before preemphasis and window, otherwise after.
        energy_floor: lower bound of that energy (not its logarithm); 0: none.
        use_power: filters sum the power spectrum, otherwise the magnitude spectrum.
        vtln_warp: factor that stretches the frequency axis between `vtln_low` and `vtln_high`
            (zero or negative: counted down from half the sample rate); 1: none.
    """

    sample_rate: int = 16000
    frame_length: float = 0.025
    frame_shift: float = 0.010
    num_mel_bins: int = 40
    low_freq: float = 20.0
    high_freq: float = 0.0
    preemphasis_coefficient: float = 0.97
    window_type: str = "povey"
    blackman_coeff: float = 0.42
    dither: float = 0.0
    remove_dc_offset: bool = True
    round_to_power_of_two: bool = True
    snip_edges: bool = True
    use_energy: bool = False
    raw_energy: bool = True
    energy_floor: float = 0.0
    htk_compat: bool = False
    use_log_fbank: bool = True
    use_power: bool = True
    vtln_warp: float = 1.0
    vtln_low: float = 100.0
    vtln_high: float = -500.0

    def __post_init__(self) -> None:
        if not 100 <= self.sample_rate <= 1_000_000:
            raise ConfigError(f"sample_rate must lie in [100, 1000000] Hz, got {self.sample_rate}")
        if self.shift_samples < 1 or self.length_samples < 2:
            raise ConfigError(
                f"frame_shift must be at least one sample and frame_length two, got {self.frame_shift} s and {self.frame_length} s at {self.sample_rate} Hz"
            )
        if self.frame_length > 10:
            raise ConfigError(f"frame_length is in seconds and at most 10, got {self.frame_length}")
        if self.window_type not in WINDOW_TYPES:
            raise ConfigError(f"window_type must be one of {', '.join(WINDOW_TYPES)}, got {self.window_type!r}")
        if not 0 <= self.preemphasis_coefficient <= 1:
            raise ConfigError(f"preemphasis_coefficient must lie in [0, 1], got {self.preemphasis_coefficient}")
        for name in ("dither", "energy_floor"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")
        self._check_frequencies()
        self.mel_filters()  # refuses filters that would be empty

    def _check_frequencies(self) -> None:
        nyquist = self.sample_rate / 2
        if not 0 <= self.low_freq < self.high_edge <= nyquist:
            raise ConfigError(
                f"low_freq and high_freq must satisfy 0 <= low < high <= {nyquist:g} Hz (half the sample rate), got {self.low_freq:g} and {self.high_edge:g}"
            )
        if self.vtln_warp <= 0:
            raise ConfigError(f"vtln_warp must be positive, got {self.vtln_warp}")
        if self.vtln_warp != 1 and not self.low_freq < self.vtln_low < self.vtln_high_edge < self.high_edge:
            raise ConfigError(
                f"vtln_low and vtln_high must satisfy low_freq < vtln_low < vtln_high < high_freq, got {self.vtln_low:g} and {self.vtln_high_edge:g}"
            )

    @property
    def length_samples(self) -> int:
        """Samples in a frame."""
        return int(self.sample_rate * self.frame_length + 1e-6)  # 0.025 s at 44.1 kHz is 1102.5: cut, as Kaldi does

    @property
    def shift_samples(self) -> int:
        """Samples from the start of a frame to the start of the next."""
        return int(self.sample_rate * self.frame_shift + 1e-6)

    @property
    def transform_size(self) -> int:
        """Length of the Fourier transform."""
        return 1 << (self.length_samples - 1).bit_length() if self.round_to_power_of_two else self.length_samples

    @property
    def high_edge(self) -> float:
        """`high_freq` in hertz above zero."""
        return self.high_freq if self.high_freq > 0 else self.sample_rate / 2 + self.high_freq

    @property
    def vtln_high_edge(self) -> float:
        """`vtln_high` in hertz above zero."""
        return self.vtln_high if self.vtln_high > 0 else self.sample_rate / 2 + self.vtln_high

    @property
    def dim(self) -> int:
        """Columns of the result."""
        return self.num_mel_bins + self.use_energy

    def num_frames(self, num_samples: int) -> int:
        """Frames that a waveform of `num_samples` samples gives."""
        if not self.snip_edges:
            return (num_samples + self.shift_samples // 2) // self.shift_samples
        return 1 + (num_samples - self.length_samples) // self.shift_samples if num_samples >= self.length_samples else 0

    def mel_filters(self) -> np.ndarray:
        """Weights `(transform_size // 2, num_mel_bins)` float64."""
        warp = None if self.vtln_warp == 1 else Warp(self.vtln_warp, self.vtln_low, self.vtln_high_edge)
        return mel_filters(self.num_mel_bins, self.transform_size, self.sample_rate, self.low_freq, self.high_edge, warp)

    @property
    def first_start(self) -> int:
        """Sample at which the first frame starts; negative where the ends are mirrored."""
        return 0 if self.snip_edges else self.shift_samples // 2 - self.length_samples // 2


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
    tables, space = _tables(config), _work_space(config)
    for start, stop in _blocks(num_frames):
        _compute_block(samples[start * config.shift_samples :], features[start:stop], config, tables, space)
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
    samples, space = _mirrored(samples, num_frames, config), _work_space(config)
    for start, stop in _blocks(num_frames):
        raw = _scaled(samples[start * config.shift_samples :], stop - start, config, space)
        energy[start:stop] = _raw_log_energy(raw, config, space)
    return energy


def _blocks(num_frames: int) -> list[tuple[int, int]]:
    """Runs of at most BLOCK frames, about equal in length: a short last one would cost as much as a full one."""
    size = -(-num_frames // -(-num_frames // BLOCK))
    return [(start, min(start + size, num_frames)) for start in range(0, num_frames, size)]


class _Tables(NamedTuple):
    window: np.ndarray  # (length,)
    filters: np.ndarray  # (num_used_bins, num_mel_bins)
    used_bins: slice


class _WorkSpace(NamedTuple):
    """Scratch arrays for one block; the `_frames` are overlapping views of the arrays before them."""

    scaled: np.ndarray
    scaled_frames: np.ndarray
    emphasized: np.ndarray
    emphasized_frames: np.ndarray
    padded: np.ndarray  # (BLOCK, transform_size); the columns beyond the frame stay zero
    squares: np.ndarray
    power: np.ndarray


def _compute_block(samples: np.ndarray, out: np.ndarray, config: FbankConfig, tables: _Tables, space: _WorkSpace) -> None:
    """Features of the first `len(out)` frames of `samples` into `out`."""
    num_frames = len(out)
    raw = _scaled(samples, num_frames, config, space)
    mel = out
    if config.use_energy:
        column = config.num_mel_bins if config.htk_compat else 0
        mel = out[:, : config.num_mel_bins] if config.htk_compat else out[:, 1:]
        if config.raw_energy:
            out[:, column] = _raw_log_energy(raw, config, space)
    frames = _windowed(raw, config, tables, space)
    if config.use_energy and not config.raw_energy:
        out[:, column] = _floored_log_energy(frames, config)
    power = _power_spectrum(space.padded[:num_frames], config, space)
    np.matmul(power[:, tables.used_bins], tables.filters, out=mel)
    if config.use_log_fbank:
        np.maximum(mel, np.float32(EPSILON), out=mel)
        np.log(mel, out=mel)


def _scaled(samples: np.ndarray, num_frames: int, config: FbankConfig, space: _WorkSpace) -> np.ndarray:
    """The first frames of `samples` `(num_frames, length)`, in the range of 16-bit integers."""
    num_samples = (num_frames - 1) * config.shift_samples + config.length_samples
    np.multiply(samples[:num_samples], np.float32(SAMPLE_SCALE), out=space.scaled[:num_samples])
    return space.scaled_frames[:num_frames]


def _windowed(raw: np.ndarray, config: FbankConfig, tables: _Tables, space: _WorkSpace) -> np.ndarray:
    """Frames without offset, preemphasized and windowed.

    With the offset m of a frame, (x[n] - m) - c (x[n-1] - m) = (x[n] - c x[n-1]) - (1 - c) m: the first bracket is common
    to all frames.  Only the first sample of a frame differs: Kaldi takes its own value for the one before it.
    """
    coefficient = np.float32(config.preemphasis_coefficient)
    last = (len(raw) - 1) * config.shift_samples + config.length_samples
    np.multiply(space.scaled[: last - 1], -coefficient, out=space.emphasized[1:last])
    space.emphasized[1:last] += space.scaled[1:last]
    emphasized, frames = space.emphasized_frames[: len(raw)], space.padded[: len(raw), : config.length_samples]
    offset = _offset(raw, config)
    np.subtract(emphasized, (1 - coefficient) * offset, out=frames)
    np.multiply(raw[:, 0] - offset[:, 0], 1 - coefficient, out=frames[:, 0])
    frames *= tables.window
    return frames


def _offset(raw: np.ndarray, config: FbankConfig) -> np.ndarray:
    """Mean of every frame `(num_frames, 1)`, or zeros where it is to stay."""
    if not config.remove_dc_offset:
        return np.zeros((len(raw), 1), dtype=np.float32)
    return np.add.reduce(raw, axis=1, keepdims=True) * np.float32(1 / config.length_samples)


def _power_spectrum(frames: np.ndarray, config: FbankConfig, space: _WorkSpace) -> np.ndarray:
    """`(num_frames, transform_size // 2 + 1)` squared (or, without `use_power`, plain) magnitudes.

    Divided by the length of the transform: asked for this normalisation, numpy works in single precision; without it in double.
    """
    spectrum = np.fft.rfft(frames, axis=1, norm="forward")
    parts = spectrum.view(spectrum.real.dtype)  # real and imaginary parts in turn
    squares, power = space.squares[: len(frames)], space.power[: len(frames)]
    np.multiply(parts, parts, out=squares, casting="same_kind")  # numpy 1.26 transforms in double precision
    np.add(squares[:, ::2], squares[:, 1::2], out=power)
    return power if config.use_power else np.sqrt(power, out=power)


def _raw_log_energy(raw: np.ndarray, config: FbankConfig, space: _WorkSpace) -> np.ndarray:
    frames = space.padded[: len(raw), : config.length_samples]
    return _floored_log_energy(np.subtract(raw, _offset(raw, config), out=frames), config)


def _floored_log_energy(frames: np.ndarray, config: FbankConfig) -> np.ndarray:
    energy = np.einsum("ij,ij->i", frames, frames)
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


@functools.lru_cache(maxsize=8)
def _tables(config: FbankConfig) -> _Tables:
    filters = config.mel_filters()
    used = np.flatnonzero(filters.any(axis=1))
    used_bins = slice(int(used[0]), int(used[-1]) + 1)
    scale = config.transform_size ** (2 if config.use_power else 1)  # undoes the normalisation in `_power_spectrum`
    return _Tables(window(config).astype(np.float32), (filters[used_bins] * scale).astype(np.float32), used_bins)


_local = threading.local()


def _work_space(config: FbankConfig) -> _WorkSpace:
    """Scratch arrays of this thread: for short utterances, getting fresh memory costs more than the transform."""
    if getattr(_local, "config", None) != config:
        num_samples, size = (BLOCK - 1) * config.shift_samples + config.length_samples, config.transform_size
        scaled, emphasized = np.zeros((2, num_samples), dtype=np.float32)
        padded, squares, power = (np.zeros((BLOCK, width), dtype=np.float32) for width in (size, 2 * (size // 2 + 1), size // 2 + 1))
        _local.space = _WorkSpace(scaled, _framed(scaled, config), emphasized, _framed(emphasized, config), padded, squares, power)
        _local.config = config
    return _local.space


def _framed(samples: np.ndarray, config: FbankConfig) -> np.ndarray:
    """All overlapping frames `(BLOCK, length)` of a block, as a view."""
    return np.lib.stride_tricks.sliding_window_view(samples, config.length_samples)[:: config.shift_samples]


def window(config: FbankConfig) -> np.ndarray:
    """The window, `(length_samples,)` float64."""
    phase = 2 * np.pi * np.arange(config.length_samples) / (config.length_samples - 1)
    hanning = 0.5 - 0.5 * np.cos(phase)
    windows = {
        "povey": lambda: hanning**0.85,
        "hamming": lambda: 0.54 - 0.46 * np.cos(phase),
        "hanning": lambda: hanning,
        "rectangular": lambda: np.ones_like(phase),
        "sine": lambda: np.sin(phase / 2),
        "blackman": lambda: config.blackman_coeff - 0.5 * np.cos(phase) + (0.5 - config.blackman_coeff) * np.cos(2 * phase),
    }
    return windows[config.window_type]()
