"""A small data directory: 4 speakers with 4 utterances each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sv_toolkit.data.data_dir import write_data_dir

UTTERANCES = [f"spk{speaker}-u{number}" for speaker in range(1, 5) for number in range(1, 5)]
Make = Callable[..., Path]


def good_tables() -> dict[str, dict[str, str]]:
    return {"wav.scp": {key: f"wav/{key}.wav" for key in UTTERANCES}, "utt2spk": {key: key.split("-")[0] for key in UTTERANCES}}


@pytest.fixture
def make_data(tmp_path: Path) -> Make:
    """Writes the good directory; further tables are written too, or taken away where they are None."""

    def make(name: str = "data", tables: Mapping[str, Mapping[str, str] | None] | None = None) -> Path:
        chosen = {**good_tables(), **(tables or {})}
        write_data_dir(tmp_path / name, {key: table for key, table in chosen.items() if table is not None})
        return tmp_path / name

    return make


@pytest.fixture
def segmented() -> dict[str, dict[str, str]]:
    """One recording of 10 seconds per speaker, cut into four."""
    return {
        "wav.scp": {f"rec{speaker}": f"wav/rec{speaker}.wav" for speaker in range(1, 5)},
        "segments": {key: f"rec{key[3]} {int(key[-1]) - 1}.5 {key[-1]}.25" for key in UTTERANCES},
    }
