"""A miniature data directory of cepstra-like features in which speakers can be told apart."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.tables import write_table
from sv_toolkit.ivector.config import FrameConfig, IvectorConfig, TotalVariabilityConfig, UbmConfig

DIM = 3


def _make_data(folder, rng, num_speakers=6, num_utterances=5, prefix="s"):
    """Frames of two sounds that every speaker says in a place of their own; every seventh frame is marked as silence."""
    folder.mkdir()
    features, vad, utt2spk = {}, {}, {}
    for s in range(num_speakers):
        places = np.array([[0, 0, 0], [4, -4, 2]]) + rng.standard_normal((2, DIM))
        for u in range(num_utterances):
            utterance = f"{prefix}{s:02d}-u{u}"
            num_frames = int(rng.integers(40, 80))
            sounds = rng.integers(2, size=num_frames)
            features[utterance] = (places[sounds] + 0.7 * rng.standard_normal((num_frames, DIM))).astype(np.float32)
            vad[utterance] = (np.arange(num_frames) % 7 != 0).astype(np.float32)
            utt2spk[utterance] = f"{prefix}{s:02d}"
    write_ark_scp(folder, "feats", features)
    write_ark_scp(folder, "vad", vad)
    write_table(folder / "utt2spk", utt2spk)
    return folder


@pytest.fixture
def make_data():
    return _make_data


@pytest.fixture
def data(tmp_path, rng):
    return _make_data(tmp_path / "data", rng)


@pytest.fixture
def small():
    """A system of four Gaussians and three dimensions without deltas."""
    return IvectorConfig(
        FrameConfig(delta_order=0, cmvn="none"),
        UbmConfig(num_components=4, split_iterations=2, diagonal_iterations=3, full_iterations=2, num_selected=3),
        TotalVariabilityConfig(ivector_dim=3, num_iterations=4),
    )
