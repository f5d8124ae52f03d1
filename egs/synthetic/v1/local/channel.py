"""What lies between a mouth and a file, new for every utterance: a microphone, a room's noise, a level, silence."""

from __future__ import annotations

import numpy as np

NUM_RIPPLES = 4
GOOD_LENGTH = 4000  # samples: the Fourier transform is fast for its multiples, which have small prime factors


def random_curve(frequencies: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random gain over the mel-like axis log(1 + f / 700), as a factor; `decibels` is its typical size."""
    grid = np.linspace(0, 1, 65)
    curve = np.zeros(len(grid))
    for ripple in range(1, NUM_RIPPLES + 1):
        curve += rng.normal(0, decibels / ripple**0.5) * np.cos(np.pi * ripple * grid)
    axis = np.log1p(frequencies / 700) / np.log1p(frequencies[-1] / 700)
    return np.interp(axis, grid, 10 ** (curve / 20))


def recorded(speech: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """`speech` as one recording of it might be: `(num_samples,)` float64, longer by the silence around it."""
    return placed(speech, sample_rate, rng)[0]


def placed(
    speech: np.ndarray, sample_rate: int, rng: np.random.Generator, quietest: float = 15, loudest: float = 40
) -> tuple[np.ndarray, int]:
    """`recorded` with a signal-to-noise ratio in the given range of decibels, and the sample at which the speech begins."""
    before, after = (int(seconds * sample_rate) for seconds in rng.uniform(0.1, 0.5, size=2))
    num_samples = before + len(speech) + after
    padded = -(-num_samples // GOOD_LENGTH) * GOOD_LENGTH
    frequencies = np.fft.rfftfreq(padded, 1 / sample_rate)
    speech_spectrum = np.fft.rfft(np.pad(speech, (before, after)), padded) * random_curve(frequencies, 2, rng)
    noise_spectrum = rng.normal(size=(2, len(frequencies))).T.copy().view(complex)[:, 0] * random_curve(frequencies, 6, rng)
    samples, noise = (np.fft.irfft(spectrum, padded)[:num_samples] for spectrum in (speech_spectrum, noise_spectrum))
    signal_to_noise = rng.uniform(quietest, loudest)  # decibels, over the whole utterance
    samples += noise * np.sqrt(np.mean(samples**2) / np.mean(noise**2)) * 10 ** (-signal_to_noise / 20)
    peak = 10 ** (rng.uniform(-30, -6) / 20)
    return samples * (peak / np.max(np.abs(samples))), before


def reverberant(speech: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """`speech` in a room: the direct sound, and a tail of noise that decays by 60 dB in 0.1 to 0.6 s, 3 to 20 dB weaker."""
    reverberation_time, direct_to_tail = rng.uniform(0.1, 0.6), rng.uniform(3, 20)
    time = np.arange(int(reverberation_time * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / reverberation_time)
    tail *= 10 ** (-direct_to_tail / 20) / np.linalg.norm(tail)
    tail[0] += 1
    padded = -(-(len(speech) + len(tail)) // GOOD_LENGTH) * GOOD_LENGTH
    return np.fft.irfft(np.fft.rfft(speech, padded) * np.fft.rfft(tail, padded), padded)[: len(speech)]
