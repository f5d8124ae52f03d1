"""Mel-frequency cepstral coefficients as Kaldi computes them: the cosine transform of the log-mel filter bank."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from sv_toolkit.errors import ConfigError
from sv_toolkit.features.fbank import FbankConfig, fbank

__all__ = ["MfccConfig", "mfcc"]


@dataclass(frozen=True)
class MfccConfig(FbankConfig):
    """Options of the cepstra by Kaldi's names: those of the filter bank, with other defaults for two of them, and two more.

    Attributes:
        num_ceps: coefficients kept, the zeroth among them.
        cepstral_lifter: Q of the scaling 1 + Q/2 sin(pi n / Q) that evens out the spread of the coefficients; 0: none.
        use_energy: the log energy of the frame takes the place of the zeroth coefficient.
        htk_compat: the zeroth coefficient (times the square root of 2) or the energy is the last column.
    """

    num_mel_bins: int = 23
    use_energy: bool = True
    num_ceps: int = 13
    cepstral_lifter: float = 22.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.num_ceps <= self.num_mel_bins:
            raise ConfigError(f"num_ceps must lie in [1, num_mel_bins], got {self.num_ceps} with {self.num_mel_bins} mel bins")
        if self.cepstral_lifter < 0:
            raise ConfigError(f"cepstral_lifter must not be negative, got {self.cepstral_lifter}")
        if not self.use_log_fbank:
            raise ConfigError("cepstra are made of the logarithm of the filter bank: use_log_fbank must stay true")

    @property
    def dim(self) -> int:
        """Columns of the result."""
        return self.num_ceps

    @property
    def energy_column(self) -> int:  # narrower than the filter bank's: there always is one
        """The column that follows the level of the recording: the energy, or the zeroth coefficient."""
        return self.num_ceps - 1 if self.htk_compat else 0

    @cached_property
    def filter_bank(self) -> FbankConfig:
        """The filter bank that is transformed; an energy column stands first."""
        options = {field.name: getattr(self, field.name) for field in fields(FbankConfig)}
        return FbankConfig(**{**options, "htk_compat": False})

    @cached_property
    def cosine_transform(self) -> np.ndarray:
        """The orthonormal cosine transform with the lifter in it, `(num_mel_bins, num_ceps)` float64."""
        center, order = np.arange(self.num_mel_bins) + 0.5, np.arange(self.num_ceps)
        transform = np.sqrt(2 / self.num_mel_bins) * np.cos(np.pi / self.num_mel_bins * np.outer(center, order))
        transform[:, 0] = np.sqrt(1 / self.num_mel_bins)
        return transform * lifter(self.num_ceps, self.cepstral_lifter)


def lifter(num_ceps: int, q: float) -> np.ndarray:
    """The factors `(num_ceps,)` 1 + Q/2 sin(pi n / Q), or ones where `q` is 0."""
    return 1 + q / 2 * np.sin(np.pi * np.arange(num_ceps) / q) if q else np.ones(num_ceps)


def mfcc(samples: np.ndarray, config: MfccConfig, rng: np.random.Generator | None = None) -> np.ndarray:
    """Cepstra of one waveform.

    Args:
        samples: `(num_samples,)` in [-1, 1), at `config.sample_rate`.
        rng: source of the dither, as for `fbank`.

    Returns:
        `(num_frames, config.num_ceps)` float32; no rows where the waveform is shorter than a frame.
    """
    bank = fbank(samples, config.filter_bank, rng)
    cepstra = bank[:, int(config.use_energy) :].astype(np.float64) @ config.cosine_transform
    if config.use_energy:
        cepstra[:, 0] = bank[:, 0]
    if config.htk_compat:
        cepstra = np.roll(cepstra, -1, axis=1)
        cepstra[:, -1] *= 1.0 if config.use_energy else np.sqrt(2)
    return cepstra.astype(np.float32)
