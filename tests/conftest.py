"""Shared fixtures; torch on one thread, so that tests give the same bits everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# A property that holds late still holds: the time of an example says how busy the machine is.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20171028)


@pytest.fixture
def corpora() -> Path:
    """Real recordings beside the checkout; the test is skipped, by name, where they are missing."""
    folder = SHARED / "corpora"
    if not folder.is_dir():
        pytest.skip("real recordings (../shared/corpora) are not here")
    return folder


@pytest.fixture
def voice_model(tmp_path):
    """A function that writes a model folder of random weights which says how its features were made; energy VAD, 16 kHz."""
    from sv_toolkit.config import as_table
    from sv_toolkit.features.fbank import FbankConfig
    from sv_toolkit.features.prepare import InputConfig
    from sv_toolkit.features.vad import EnergyVadConfig, VadConfig

    def write(name="model", seed=0, config=None, vad=None, input_config=None, windows=(40, 20, 10), kind="fbank"):
        import torch

        from sv_toolkit.models.store import Description, WindowConfig, make_network, save_model

        config = config or FbankConfig(num_mel_bins=20)
        vad = vad or VadConfig(kind="energy", keep="span", energy=EnergyVadConfig(energy_threshold_below_max=6.9))
        network = {"hidden_size": 8, "projection_size": 0, "num_layers": 1, "embedding_dim": 5, "pooling": "mean", "dropout": 0.0}
        features = {kind: {"config": as_table(config)}, "vad": {"config": as_table(vad)}}
        description = Description("lstm", network, config.dim, input_config or InputConfig(), WindowConfig(*windows), features)
        torch.manual_seed(seed)
        save_model(tmp_path / name, make_network(description).state_dict(), description)
        return tmp_path / name

    return write


@pytest.fixture
def write_voice(tmp_path):
    """A function that writes a recording of gliding harmonics, silent at both ends, and returns its path."""

    def write(name, pitch=120.0, duration=1.5, rate=16_000, gain=0.05):
        import soundfile

        seconds = np.arange(int(duration * rate)) / rate
        phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.1 * np.sin(3 * seconds + pitch))) / rate
        sound = sum(np.sin(k * phase) / (1 + (k - pitch / 40) ** 2 / 9) for k in range(1, 12)) * np.abs(np.sin(2 * np.pi * seconds))
        sound *= (seconds > 0.1) & (seconds < duration - 0.1)
        noise = np.random.default_rng(int(pitch * 10)).normal(0, 1e-4, len(sound))
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, gain * sound + noise, rate, subtype="PCM_16")
        return path

    return write
