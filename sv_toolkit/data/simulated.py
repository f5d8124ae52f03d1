"""Recordings that are computed, and the data directory of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit.data.output import as_texts, refuse_other_output, write_new_files, write_output

SAMPLE_RATE = 16_000
PEAK = 0.5

Make = Callable[[], np.ndarray]


def write_recordings(
    data: Path, recordings: Mapping[str, Make], utt2spk: Mapping[str, str], job: dict[str, Any], counts: dict[str, int], overwrite: bool
) -> bool:
    """Write the recordings to the folder `data`_wav as FLAC and the data directory `data` of them; False if all of it lies there.

    Args:
        recordings: by id, what computes the samples `(num_samples,)`, of any level.

    Raises:
        OutputError: `data`, or a recording, holds something else and `overwrite` is not given; then no recording is changed.
    """
    folder = data.resolve().with_name(data.name + "_wav")
    files = {folder / f"{key}.flac": make for key, make in recordings.items()}
    texts = as_texts({"wav.scp": dict(zip(recordings, map(str, files))), "utt2spk": utt2spk})
    refuse_other_output(data, texts, job, overwrite)
    for path in sorted(files, key=lambda path: not path.exists()):  # those that may be refused first
        write_new_files({path: _as_flac(files[path]())}, overwrite)
    return write_output(data, texts, job, counts, overwrite)


def _as_flac(samples: np.ndarray) -> bytes:
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, PEAK * samples / np.abs(samples).max(), SAMPLE_RATE, "PCM_16", format="FLAC")
    return stream.getvalue()
