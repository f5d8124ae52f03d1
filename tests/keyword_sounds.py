"""Two words that are easy to hear, speech that is neither, and the options of a small detector, for tests."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.features.fbank_config import FbankConfig
from sv_toolkit.io.tables import write_table
from sv_toolkit.keyword.config import DetectorConfig, KeywordConfig, TrainingConfig

RATE = 8000
FBANK = FbankConfig(sample_rate=RATE, num_mel_bins=12)
SMALL = KeywordConfig(
    FBANK,
    DetectorConfig(left=12, right=4, hidden=24, states=2, smoothing=5, window=35, separation=40),
    TrainingConfig(rounds=2, steps=60, batch=128, learning_rate=0.01, speeds=(1.05,)),
)
TOML = """
[fbank]
{fbank}num_mel_bins = 12
[detector]
left = 12
right = 4
hidden = 24
states = 2
smoothing = 5
window = 35
{detector}[training]
rounds = 2
steps = 60
batch = 128
learning_rate = 0.01
speeds = []
"""
LENGTH = 0.36  # seconds of a word


def word_sound(word, rng):
    """The word "up" rises, "down" falls, "flat" stays; each with its own pitch and level."""
    time = np.arange(round(LENGTH * RATE)) / RATE
    start, stop = {"up": (500, 2500), "down": (2500, 500), "flat": (1400, 1400)}[word]
    frequency = (start + (stop - start) * time / LENGTH) * rng.uniform(0.9, 1.1)
    return rng.uniform(0.05, 0.3) * np.sin(2 * np.pi * np.cumsum(frequency) / RATE) * np.hanning(len(time))


def clip(word, rng, seconds=1.0):
    """A recording of `seconds` with the word somewhere inside, and where it begins."""
    samples = rng.normal(0, 0.002, round(seconds * RATE))
    sound = word_sound(word, rng)
    begin = int(rng.integers(len(samples) - len(sound)))
    samples[begin : begin + len(sound)] += sound
    return samples.astype(np.float32), begin / RATE


def write_recordings(folder, sounds, **tables):
    """A data directory of waveforms by utterance id; the speaker is what stands before the hyphen."""
    soundfile = pytest.importorskip("soundfile")
    folder.mkdir(parents=True)
    for key, samples in sounds.items():
        soundfile.write(folder / f"{key}.wav", samples, RATE, subtype="PCM_16")
    write_table(folder / "wav.scp", {key: str(folder / f"{key}.wav") for key in sounds})
    write_table(folder / "utt2spk", {key: key.split("-")[0] for key in sounds})
    for name, table in tables.items():
        write_table(folder / name, table)
    return folder
