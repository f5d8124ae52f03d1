"""A miniature data directory of features in which speakers can be told apart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.tables import write_table

DIM = 6


def _make_data(folder, rng, num_speakers=6, num_utterances=4, frames=(30, 60), prefix="s"):
    """Features scattered around a mean of each speaker; every seventh frame is marked as silence."""
    folder.mkdir()
    features, vad, utt2spk = {}, {}, {}
    for s in range(num_speakers):
        center = 3 * rng.standard_normal(DIM)
        for u in range(num_utterances):
            utterance = f"{prefix}{s:02d}-u{u}"
            features[utterance] = (center + rng.standard_normal((int(rng.integers(*frames)), DIM))).astype(np.float32)
            vad[utterance] = (np.arange(len(features[utterance])) % 7 != 0).astype(np.float32)
            utt2spk[utterance] = f"{prefix}{s:02d}"
    write_ark_scp(folder, "feats", features)
    write_ark_scp(folder, "vad", vad)
    write_table(folder / "utt2spk", utt2spk)
    return folder


@pytest.fixture
def say_how():
    """Write the manifest that says how the features of a data directory, or its decisions, were made."""

    def say(folder, name, /, **config):
        (folder / f"{name}.manifest.json").write_text(json.dumps({"format": 1, "job": {"config": config}, "counts": {}, "files": {}}))

    return say


@pytest.fixture
def make_data():
    return _make_data


@pytest.fixture
def data(tmp_path, rng):
    return _make_data(tmp_path / "data", rng)


@pytest.fixture
def valid(tmp_path, rng):
    return _make_data(tmp_path / "valid", rng, num_speakers=3, prefix="v")


@pytest.fixture
def load():
    """A function that gives the training material of a data directory, its frames in memory unless `room` is smaller."""
    import torch

    from sv_toolkit.data.feature_index import FeatureIndex
    from sv_toolkit.features.prepare import InputConfig
    from sv_toolkit.training.examples import Examples, select_usable
    from sv_toolkit.training.frames import ArchiveFrames, hold_frames
    from sv_toolkit.training.index import index_part

    def examples(folder, config=None, shortest=5, least=2, room=1e9):
        config = config or InputConfig()
        index = FeatureIndex(folder, need_vad=config.use_vad)
        table = index_part(index, range(index.num_utterances), config.use_vad)
        usable = select_usable(index, table, shortest, least)
        frames = hold_frames(ArchiveFrames(index, table, config, usable.utterances), room, torch.device("cpu"), 0)
        return Examples(frames, usable, table, config, index.ids, {})

    return examples


TABLES = {
    "network": {"name": "lstm", "hidden_size": 8, "projection_size": 4, "num_layers": 2, "embedding_dim": 4, "dropout": 0.3},
    "input": {"cmvn": "none"},
    "batch": {"num_speakers": 4, "num_utterances": 3, "min_frames": 10, "max_frames": 20},
    "optimizer": {"name": "adamw", "learning_rate": 0.01},
    "schedule": {"name": "cosine", "warmup_steps": 3},
    "trainer": {"steps": 12, "log_interval": 5, "valid_interval": 4},
}


@pytest.fixture
def tables():
    return {name: dict(table) for name, table in TABLES.items()}
