"""Mel spectrograms as librosa defines them, for models of other programs: frames around their instants, zeros beyond the ends.

Unlike Kaldi's filter bank: samples in [-1, 1), periodic windows, no preemphasis, filters that are straight lines in hertz, and
as steps before it a gain and the removal of long pauses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np

from sv_toolkit.config import OneOf, Options, Within
from sv_toolkit.errors import ConfigError
from sv_toolkit.features.mel import inverse_mel_scale, mel_scale, triangles

SCALES, NORMS, WINDOWS, LOGS = ("slaney", "htk"), ("area", "none"), ("hann", "hamming"), ("none", "ln", "db")
FLOOR = 1e-10  # of a power before its logarithm
BLOCK = 512  # frames computed together
LINEAR_STEP, LOG_START, LOG_STEP = 200 / 3, 1000.0, np.log(6.4) / 27  # Slaney's scale: hertz per mel below 1 kHz, nats above


@dataclass(frozen=True)
class MelSpectrogramConfig(Options):
    """Options; times in seconds, frequencies in hertz.

    Attributes:
        low_freq, high_freq: edges of the first and the last filter; `high_freq` 0: half the sample rate.
        window_type: hann or hamming, periodic.
        mel_scale: "slaney", linear below 1 kHz and logarithmic above (Slaney 1998), or "htk", 2595 log10(1 + f / 700).
        mel_norm: "area" divides each filter by half its width, so that all have the same area; or "none", peaks of 1.
        use_power: filters sum the power spectrum, otherwise the magnitude spectrum.
        log: "none"; "ln", the natural logarithm; "db", ten times the decimal one.
        range_db: with "db": values further below the largest of the utterance are raised to this distance; 0: none.
        tail: frames after the last one whose instant lies in the waveform; two of 10 ms reach all that 25 ms see of its end.
        level_db: the gain that brings the waveform to this level, in dB of full scale (root mean square); 0: none.
        level_increase_only: louder waveforms stay as they are.
        trim_pauses: WebRTC's detector (mode 3) on 30 ms blocks, smoothed over 8 blocks; parts more than three blocks from
            speech are cut out of the waveform, as Resemblyzer does.
    """

    sample_rate: Annotated[int, Within(100, 1_000_000)] = 16000
    frame_length: Annotated[float, Within(0, 10, open_low=True)] = 0.025
    frame_shift: Annotated[float, Within(0, 10, open_low=True)] = 0.010
    num_mel_bins: Annotated[int, Within(3, 1000)] = 40
    low_freq: Annotated[float, Within(0)] = 0.0
    high_freq: Annotated[float, Within(0)] = 0.0
    window_type: Annotated[str, OneOf(WINDOWS)] = "hann"
    mel_scale: Annotated[str, OneOf(SCALES)] = "slaney"
    mel_norm: Annotated[str, OneOf(NORMS)] = "area"
    use_power: bool = True
    log: Annotated[str, OneOf(LOGS)] = "ln"
    range_db: Annotated[float, Within(0)] = 0.0
    tail: Annotated[int, Within(0, 100)] = 0
    level_db: Annotated[float, Within(-200, 0)] = 0.0
    level_increase_only: bool = True
    trim_pauses: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shift_samples < 1 or self.length_samples < 2:
            raise ConfigError("frame_shift must be at least one sample and frame_length two")
        if not self.low_freq < self.high_edge <= self.sample_rate / 2:
            raise ConfigError(f"need low_freq < high_freq <= {self.sample_rate / 2:g} Hz, got {self.low_freq:g} and {self.high_edge:g}")
        if self.range_db and self.log != "db":
            raise ConfigError(f'range_db needs log "db", got {self.log!r}')
        if self.trim_pauses and self.sample_rate not in (8000, 16000, 32000, 48000):
            raise ConfigError(f"trim_pauses needs a sample_rate of 8000, 16000, 32000 or 48000 Hz, got {self.sample_rate}")

    snip_edges = False  # what voice activity and training ask of any features
    remove_dc_offset = False
    dither = 0.0
    energy_column = None

    @property
    def use_log_fbank(self) -> bool:
        """Whether the columns are logarithms."""
        return self.log != "none"

    @property
    def dim(self) -> int:
        """Columns of the result."""
        return self.num_mel_bins

    @property
    def length_samples(self) -> int:
        """Samples in a frame, and the length of the Fourier transform."""
        return int(self.sample_rate * self.frame_length + 1e-6)

    @property
    def shift_samples(self) -> int:
        """Samples from the start of a frame to the start of the next."""
        return int(self.sample_rate * self.frame_shift + 1e-6)

    @property
    def high_edge(self) -> float:
        """`high_freq` in hertz above zero."""
        return self.high_freq or self.sample_rate / 2

    def num_frames(self, num_samples: int) -> int:
        """Frames that a waveform of `num_samples` samples gives (after pauses were cut out)."""
        return num_samples // self.shift_samples + 1 + self.tail if num_samples else 0


def mel_spectrogram(samples: np.ndarray, config: MelSpectrogramConfig, rng: object = None) -> np.ndarray:
    """Features of one waveform.

    Args:
        samples: `(num_samples,)` in [-1, 1), at `config.sample_rate`.
        rng: not used: there is no dither.

    Returns:
        `(num_frames, config.dim)` float32; no rows where nothing is left of the waveform.
    """
    samples = leveled(np.asarray(samples, dtype=np.float32), config)
    if config.trim_pauses:
        samples = without_pauses(samples, config.sample_rate)
    num_frames, half = config.num_frames(len(samples)), config.length_samples // 2
    features = np.empty((num_frames, config.dim), dtype=np.float32)
    stop = max(num_frames - 1, 0) * config.shift_samples + config.length_samples
    padded = np.pad(samples, (half, max(0, stop - half - len(samples))))
    filters, window = mel_weights(config), periodic_window(config)
    if num_frames:
        frames = np.lib.stride_tricks.sliding_window_view(padded, config.length_samples)[:: config.shift_samples]
        for start in range(0, num_frames, BLOCK):
            spectrum = np.abs(np.fft.rfft(frames[start : min(start + BLOCK, num_frames)] * window, axis=1))
            features[start : start + BLOCK] = (spectrum**2 if config.use_power else spectrum) @ filters
    return compressed(features, config)


def compressed(mel: np.ndarray, config: MelSpectrogramConfig) -> np.ndarray:
    """The logarithm that `config` asks for."""
    if config.log == "none" or len(mel) == 0:
        return mel
    if config.log == "ln":
        return np.log(np.maximum(mel, np.float32(FLOOR)))
    decibels = np.float32(10 if config.use_power else 20) * np.log10(np.maximum(mel, np.float32(FLOOR)))
    return np.maximum(decibels, decibels.max() - np.float32(config.range_db)) if config.range_db else decibels


def leveled(samples: np.ndarray, config: MelSpectrogramConfig) -> np.ndarray:
    """The waveform with the gain that `level_db` asks for; silence stays silence."""
    power = float(np.mean(samples.astype(np.float64) ** 2)) if config.level_db and len(samples) else 0.0
    if power == 0:
        return samples
    gain = config.level_db - 10 * np.log10(power)
    return samples if gain < 0 and config.level_increase_only else samples * np.float32(10 ** (gain / 20))


def without_pauses(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The parts of a waveform that hold speech or are near it; the rest below a block at its end is cut off."""
    from sv_toolkit.features.vad import block_decisions, dilated

    size = 30 * sample_rate // 1000
    blocks = samples[: len(samples) // size * size].reshape(-1, size)
    flags = block_decisions(np.clip(np.round(blocks * 32767), -32768, 32767).astype("<i2"), sample_rate, 30, 3)
    running = np.concatenate([[0], np.cumsum(np.pad(flags.astype(int), (3, 4)))])
    is_kept = dilated(running[8:] - running[:-8] > 4, 3) if len(flags) else flags
    return blocks[is_kept].reshape(-1)


def periodic_window(config: MelSpectrogramConfig) -> np.ndarray:
    """The analysis window `(length_samples,)` float64."""
    cosine = np.cos(2 * np.pi * np.arange(config.length_samples) / config.length_samples)
    return 0.5 - 0.5 * cosine if config.window_type == "hann" else 0.54 - 0.46 * cosine


@lru_cache(maxsize=16)
def mel_weights(config: MelSpectrogramConfig) -> np.ndarray:
    """Triangular filters `(length_samples // 2 + 1, num_mel_bins)` float64, straight lines in hertz, read-only."""
    to_mel, to_hertz = (slaney_mel, slaney_hertz) if config.mel_scale == "slaney" else (mel_scale, inverse_mel_scale)
    edges = to_hertz(np.linspace(to_mel(config.low_freq), to_mel(config.high_edge), config.num_mel_bins + 2))
    bins = (np.arange(config.length_samples // 2 + 1) * config.sample_rate / config.length_samples)[:, None]
    weights = triangles(bins, edges)
    if config.mel_norm == "area":
        weights *= 2 / (edges[2:] - edges[:-2])
    weights.flags.writeable = False
    return weights


def slaney_mel(hertz: np.ndarray | float) -> np.ndarray:
    """Slaney's mel of a frequency (Auditory Toolbox, 1998)."""
    hertz = np.asarray(hertz, dtype=np.float64)
    above = LOG_START / LINEAR_STEP + np.log(np.maximum(hertz, LOG_START) / LOG_START) / LOG_STEP
    return np.where(hertz < LOG_START, hertz / LINEAR_STEP, above)


def slaney_hertz(mel: np.ndarray | float) -> np.ndarray:
    """Frequency in hertz of Slaney's mel."""
    mel = np.asarray(mel, dtype=np.float64)
    above = LOG_START * np.exp(LOG_STEP * (np.maximum(mel, LOG_START / LINEAR_STEP) - LOG_START / LINEAR_STEP))
    return np.where(mel < LOG_START / LINEAR_STEP, mel * LINEAR_STEP, above)
