"""What happens to crops on their way into a batch: rooms, noise, masks; done where the features live, in log-mel.

Powers of independent signals add in every mel band, and a room smears power over time; both hold on average
over the phase, which the features do not have.  Drawn from a generator per crop, so that a resumed run and
any number of processes see the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from sv_toolkit.data.feature_index import FeatureIndex, read_all
from sv_toolkit.data.feature_making import refuse_unlike
from sv_toolkit.errors import ConfigError, plain
from sv_toolkit.training.config import AugmentConfig
from sv_toolkit.training.examples import Examples

LONGEST_RESPONSE = 60  # frames of an impulse response that are kept: 0.6 s at the usual shift


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


def reverberate(speech: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Log-mel energies of speech in a room: in every band the power is spread over the frames that follow.

    The magnitude-domain model of reverberation (Lebart et al. 2001): the power at frame t is the sum over tau of
    the response's power at tau times the speech's power at t - tau.

    Args:
        speech: `(num_frames, dim)` natural-log mel energies.
        response: `(num_response_frames, dim)` powers of an impulse response, as `response_powers` gives them.
    """
    peak = speech.max()
    power = np.exp(speech - peak)
    spread = np.zeros_like(power)
    for delay in range(min(len(response), len(power))):
        spread[delay:] += response[delay] * power[: len(power) - delay]
    return np.log(np.maximum(spread, np.float32(1e-30))) + peak


def response_powers(features: np.ndarray) -> np.ndarray:
    """Powers `(at most LONGEST_RESPONSE, dim)` of an impulse response from its log-mel features, from its loudest frame on.

    Their sum over time is 1 in every band: the room smears speech, but neither colours it nor makes it louder.  (The
    features of the response hold the pre-emphasis and the widths of the mel filters a second time; this takes them out.)
    """
    power = np.exp(features - features.max())
    power = power[int(power.sum(axis=1).argmax()) :][:LONGEST_RESPONSE]
    return power / power.sum(axis=0)


def mask(frames: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """SpecAugment (Park et al. 2019, section 2) without time warping: bands and stretches of frames set to 0, the mean."""
    masked = frames.copy()
    for _ in range(config.frequency_masks):
        width, dim = int(rng.integers(config.frequency_mask_bands + 1)), frames.shape[1]
        first = int(rng.integers(max(dim - width, 0) + 1))
        masked[:, first : first + width] = 0
    for _ in range(config.time_masks):
        width = min(int(rng.integers(config.time_mask_frames + 1)), len(frames) // 2)
        first = int(rng.integers(len(frames) - width + 1))
        masked[first : first + width] = 0
    return masked


@dataclass
class Augment:
    """Rooms, then noise, then masks, as the configuration asks for."""

    config: AugmentConfig
    noises: list[np.ndarray] = field(default_factory=list)
    responses: list[np.ndarray] = field(default_factory=list)

    def __call__(self, examples: Examples, utterance: str, crop: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Network input `(num_frames, dim)` of the crop `[start, stop)`."""
        in_room = bool(self.responses) and rng.random() < self.config.reverb_probability
        is_noisy = bool(self.noises) and rng.random() < self.config.noise_probability
        frames = (
            self._changed(examples, utterance, crop, in_room, is_noisy, rng) if in_room or is_noisy else examples.crop(utterance, *crop)
        )
        return mask(frames, self.config, rng) if self.config.time_masks or self.config.frequency_masks else frames

    def _changed(
        self, examples: Examples, utterance: str, crop: tuple[int, int], in_room: bool, is_noisy: bool, rng: np.random.Generator
    ) -> np.ndarray:
        clean = examples.frames.cut(utterance, *crop)
        changed = clean
        if in_room:
            response = self.responses[int(rng.integers(len(self.responses)))]
            before = max(crop[0] - len(response) + 1, 0)  # what was said just before still sounds
            changed = reverberate(examples.frames.cut(utterance, before, crop[1]), response)[crop[0] - before :]
        if is_noisy:
            noise = self.noises[int(rng.integers(len(self.noises)))]
            start = int(rng.integers(len(noise)))
            noise = noise[(start + np.arange(len(clean))) % len(noise)]
            changed = mix_noise(changed, noise, rng.uniform(*self.config.noise_snr))
        offset = examples.offset[utterance] + moved_offset(clean, changed, examples.frames.config.cmvn)
        return (changed - offset) * examples.gain[utterance]


def moved_offset(clean: np.ndarray, changed: np.ndarray, cmvn: str) -> np.ndarray | float:
    """By how much the change moves the mean that normalisation subtracts, judged by the crop."""
    if cmvn == "level":
        return float(changed.mean() - clean.mean())
    if cmvn == "utterance":
        return changed.mean(axis=0) - clean.mean(axis=0)
    return 0.0


def load_disturbances(index: FeatureIndex, training: FeatureIndex, cmvn: str) -> list[np.ndarray]:
    """Log-mel matrices of a data directory of noises or impulse responses, for the features of the training data.

    Raises:
        ModelError: they were not made as the training data.
        ConfigError: features in which powers do not add, or a normalisation that comes before augmentation.
    """
    made = training.made_by()
    refuse_unlike(index, training.dim, made, False, "the training data")
    if "mfcc" in made:
        raise ConfigError(f"{plain(training.path)}: features are mfcc; noise and rooms need the mel powers of sv-extract-fbank")
    if cmvn == "sliding":
        raise ConfigError(
            "noise and rooms need cmvn = 'none', 'level' or 'utterance': they come before normalisation, a sliding one is applied earlier"
        )
    found: list[np.ndarray] = []
    read_all(index, lambda _, features, __: found.append(features), max_bad=0)
    return found
