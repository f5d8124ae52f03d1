"""Recordings for tests: in every coding that is read, and how a test asks for them and looks at a refusal."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from sv_toolkit.errors import AudioError
from sv_toolkit.io.audio import AudioRequest, read_waveform

RATE = 16_000
CODINGS = [
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAV", "PCM_24"),
    ("wav", "WAV", "PCM_32"),
    ("wav", "WAV", "PCM_U8"),
    ("wav", "WAV", "FLOAT"),
    ("wav", "WAV", "DOUBLE"),
    ("wav", "WAV", "ULAW"),
    ("wav", "WAV", "ALAW"),
    ("wav", "WAV", "IMA_ADPCM"),
    ("wav", "WAVEX", "PCM_16"),
    ("rf64", "RF64", "PCM_16"),
    ("flac", "FLAC", "PCM_16"),
    ("flac", "FLAC", "PCM_24"),
    ("ogg", "OGG", "VORBIS"),
    ("ogg", "OGG", "OPUS"),
    ("aiff", "AIFF", "PCM_16"),
    ("au", "AU", "PCM_16"),
    ("sph", "NIST", "PCM_16"),
    ("sph", "NIST", "ULAW"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
]
NAMES = [f"{form}-{coding}" for _, form, coding in CODINGS]


def speech(num_samples, seed=0):
    """A tone that rises and falls over noise, so that all of the signal differs from all the rest."""
    time = np.arange(num_samples) / RATE
    noise = np.random.default_rng(seed).normal(0, 0.02, num_samples)
    return 0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time) * (1 + np.sin(9 * time)) / 2 + noise


def recording_maker(tmp_path):
    """What writes recordings into a folder; a fixture of the tests that use it."""

    def write(name="a.wav", samples=None, rate=RATE, **how):
        path = tmp_path / name
        soundfile.write(path, speech(RATE) if samples is None else samples, rate, **how)
        return path

    return write


def request(path, **how):
    return AudioRequest(str(path), "wav.scp:7", "spk1-u1", **how)


def read(path, **how):
    return read_waveform(request(path, **how)).samples


def refusal(path, **how):
    with pytest.raises(AudioError) as caught:
        read_waveform(request(path, **how))
    message = str(caught.value)
    assert message.startswith(f"wav.scp:7: {path}: ")
    assert message.isprintable()
    return message
