"""A data directory of recordings for commands."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.io.tables import write_table


@pytest.fixture
def recordings(tmp_path, rng):
    """24 utterances of half a second, harmonics that fade in and out; three shards."""
    soundfile = pytest.importorskip("soundfile")
    folder, audio = tmp_path / "data", tmp_path / "audio"
    folder.mkdir()
    audio.mkdir()
    time = np.arange(8000) / 16000
    wav = {}
    for i in range(24):
        harmonics = np.sin(np.outer(2 * np.pi * rng.uniform(100, 200) * np.arange(1, 12), time)).sum(axis=0)
        file = audio / f"s{i % 3}-u{i:02d}.wav"
        soundfile.write(file, 0.05 * harmonics * np.sin(2 * np.pi * time) ** 2, 16000, subtype="PCM_16")
        wav[file.stem] = str(file)
    write_table(folder / "wav.scp", wav)
    write_table(folder / "utt2spk", {key: key[:2] for key in wav})
    return folder
