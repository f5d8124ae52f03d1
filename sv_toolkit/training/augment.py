"""Noise for crops, mixed where the features live: powers of independent signals add in every mel band."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from sv_toolkit.data.feature_index import FeatureIndex, read_all
from sv_toolkit.errors import ConfigError, plain
from sv_toolkit.training.config import AugmentConfig
from sv_toolkit.training.examples import Examples


def mix_noise(speech: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Log-mel energies of speech plus noise at a signal-to-noise ratio.

    The spectrum of a sum has a cross term of zero mean; what is added here is its expectation, the powers.

    Args:
        speech, noise: `(num_frames, dim)` natural-log mel energies.
        snr: mean power of the speech over mean power of the scaled noise, dB.
    """
    gain = _mean_log_power(speech) - _mean_log_power(noise) - snr * math.log(10) / 10
    return np.logaddexp(speech, noise + np.float32(gain))


def _mean_log_power(frames: np.ndarray) -> float:
    peak = float(frames.max())
    return peak + math.log(float(np.exp(frames - peak).mean()))


@dataclass
class Augment:
    """What happens to crops on their way into a batch."""

    config: AugmentConfig
    noises: list[np.ndarray] = field(default_factory=list)

    def __call__(
        self, examples: Examples, utterances: list[str], crops: list[tuple[int, int]], rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Network inputs of the crops `[start, stop)` of `utterances`."""
        noisy = rng.random(len(utterances)) < (self.config.noise_probability if self.noises else 0.0)
        return [
            self._with_noise(examples, utterance, crop, rng) if add else examples.crop(utterance, *crop)
            for utterance, crop, add in zip(utterances, crops, noisy)
        ]

    def _with_noise(self, examples: Examples, utterance: str, crop: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        clean = examples.frames.cut(utterance, *crop)
        noise = self.noises[int(rng.integers(len(self.noises)))]
        start = int(rng.integers(len(noise)))
        noise = noise[(start + np.arange(len(clean))) % len(noise)]
        mixed = mix_noise(clean, noise, rng.uniform(*self.config.noise_snr))
        offset = examples.offset[utterance] + moved_offset(clean, mixed, examples.frames.config.cmvn)
        return (mixed - offset) * examples.gain[utterance]


def moved_offset(clean: np.ndarray, mixed: np.ndarray, cmvn: str) -> np.ndarray | float:
    """By how much the noise moves the mean that normalisation subtracts, judged by the crop."""
    if cmvn == "level":
        return float(mixed.mean() - clean.mean())
    if cmvn == "utterance":
        return mixed.mean(axis=0) - clean.mean(axis=0)
    return 0.0


def load_noises(index: FeatureIndex, dim: int, cmvn: str) -> list[np.ndarray]:
    """Log-mel matrices of the noise data directory.

    Raises:
        ConfigError: other features than the training data, or a normalisation that noise cannot be mixed under.
    """
    if index.dim != dim:
        raise ConfigError(
            f"{plain(index.path)}: noise features have {index.dim} columns, the training data has {dim}; extract them with the same options"
        )
    if cmvn == "sliding":
        raise ConfigError(
            "noise needs cmvn = 'none', 'level' or 'utterance': it is mixed before normalisation, a sliding one is applied earlier"
        )
    noises: list[np.ndarray] = []
    read_all(index, lambda _, features, __: noises.append(features), max_bad=0)
    return noises
