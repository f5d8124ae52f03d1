"""A miniature data directory of three sounds with their alignments."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.tables import write_table
from sv_toolkit.phonetic.config import PhoneConfig

PLACES = {"SIL": [0, 0, 0, 0], "AA": [6, 1, 4, 2], "S": [3, 6, 1, 6]}


def _make_data(folder, seed, num_utterances=12):
    """Frames of silence, AA and S in turn; every sound takes ten frames."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    features, lines = {}, []
    for number in range(num_utterances):
        utterance, order = f"s{number % 3}-u{number:02d}", ["SIL", *rng.permutation(["AA", "S"]), "SIL", "AA", "SIL"]
        features[utterance] = np.concatenate([PLACES[phone] + rng.standard_normal((10, 4)) for phone in order]).astype(np.float32)
        lines += [(utterance, start, phone) for start, phone in enumerate(order) if phone != "SIL"]
    write_ark_scp(folder, "feats", features)
    write_table(folder / "utt2spk", {key: key.split("-")[0] for key in features})
    (folder / "phones.ctm").write_text("".join(f"{key} 1 {0.1 * start:.3f} 0.1 {phone}\n" for key, start, phone in sorted(lines)))
    return folder


@pytest.fixture
def make_data():
    return _make_data


@pytest.fixture
def data(tmp_path):
    return _make_data(tmp_path / "data", 0)


@pytest.fixture
def small():
    return PhoneConfig(left=2, right=2, hidden_size=16, num_layers=1, epochs=10, batch_size=32, learning_rate=0.02)
