"""Options of the filter bank, and what follows from them: numbers of samples and frames, window, mel filters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sv_toolkit.errors import ConfigError
from sv_toolkit.features.mel import Warp, mel_filters

WINDOW_TYPES = ("povey", "hamming", "hanning", "rectangular", "sine", "blackman")


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
        for name in ("frame_length", "frame_shift"):
            if not 0 < getattr(self, name) <= 10:
                raise ConfigError(f"{name} is in seconds, above 0 and at most 10, got {getattr(self, name)}")
        if self.shift_samples < 1 or self.length_samples < 2:
            raise ConfigError(
                f"frame_shift must be at least one sample and frame_length two, got {self.frame_shift} s and {self.frame_length} s at {self.sample_rate} Hz"
            )
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

    @property
    def energy_column(self) -> int | None:
        """The column that holds the energy of the frame; None where there is none."""
        return (self.num_mel_bins if self.htk_compat else 0) if self.use_energy else None

    def num_frames(self, num_samples: int) -> int:
        """Frames that a waveform of `num_samples` samples gives."""
        if not self.snip_edges:
            return (num_samples + self.shift_samples // 2) // self.shift_samples
        return 1 + (num_samples - self.length_samples) // self.shift_samples if num_samples >= self.length_samples else 0

    def window(self) -> np.ndarray:
        """The analysis window, `(length_samples,)` float64."""
        phase = 2 * np.pi * np.arange(self.length_samples) / (self.length_samples - 1)
        hanning = 0.5 - 0.5 * np.cos(phase)
        windows = {
            "povey": lambda: hanning**0.85,
            "hamming": lambda: 0.54 - 0.46 * np.cos(phase),
            "hanning": lambda: hanning,
            "rectangular": lambda: np.ones_like(phase),
            "sine": lambda: np.sin(phase / 2),
            "blackman": lambda: self.blackman_coeff - 0.5 * np.cos(phase) + (0.5 - self.blackman_coeff) * np.cos(2 * phase),
        }
        return windows[self.window_type]()

    def mel_filters(self) -> np.ndarray:
        """Weights `(transform_size // 2, num_mel_bins)` float64."""
        warp = None if self.vtln_warp == 1 else Warp(self.vtln_warp, self.vtln_low, self.vtln_high_edge)
        return mel_filters(self.num_mel_bins, self.transform_size, self.sample_rate, self.low_freq, self.high_edge, warp)

    @property
    def first_start(self) -> int:
        """Sample at which the first frame starts; negative where the ends are mirrored."""
        return 0 if self.snip_edges else self.shift_samples // 2 - self.length_samples // 2
