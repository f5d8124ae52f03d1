"""A small data directory of recordings: buzzing voices between stretches of faint noise."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.io.tables import write_table

RATE = 16000


def _voice(rng, seconds, rate=RATE):
    """Noise, a buzz of one and a half seconds at a pitch of its own, noise."""
    num_samples = int(seconds * rate)
    samples = 1e-4 * rng.standard_normal(num_samples)
    time = np.arange(int(1.5 * rate)) / rate
    phase = rng.uniform(90, 220) * time + 3 * np.sin(2 * np.pi * 4 * time)
    start = (num_samples - len(time)) // 2
    samples[start : start + len(time)] += 0.1 * sum(np.sin(2 * np.pi * k * phase) / k for k in range(1, 25))
    return samples.astype(np.float32)


@pytest.fixture
def voice():
    return _voice


@pytest.fixture(scope="session")
def voices():
    """Samples by utterance."""
    rng = np.random.default_rng(3)
    return {f"s{s}-u{u}": _voice(rng, rng.uniform(2, 3)) for s in range(3) for u in range(4)}


@pytest.fixture
def data(tmp_path, voices):
    """Twelve utterances of three speakers."""
    soundfile = pytest.importorskip("soundfile")
    folder, audio = tmp_path / "data", tmp_path / "audio"
    folder.mkdir()
    audio.mkdir()
    for utterance, samples in voices.items():
        soundfile.write(audio / f"{utterance}.wav", samples, RATE, subtype="PCM_16")
    write_table(folder / "wav.scp", {utterance: f"{audio}/{utterance}.wav" for utterance in voices})
    write_table(folder / "utt2spk", {utterance: utterance[:2] for utterance in voices})
    return folder


@pytest.fixture
def contents():
    """What a directory holds: names and bytes, its own name taken out of scp files."""

    def read(folder):
        return {
            str(path.relative_to(folder)): path.read_bytes().replace(f"{folder}/".encode(), b"@/")
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return read
