"""Do the tables of a data directory say of its recordings what the recordings say themselves?  Rates, durations, frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit.data.described import described_tables
from sv_toolkit.data.forms import parse_values
from sv_toolkit.errors import DataError, Problem, plain
from sv_toolkit.features.registry import FEATURES
from sv_toolkit.io.audio_files import Header
from sv_toolkit.io.manifest import Manifest, read_manifest
from sv_toolkit.io.tables import Table, bounded, place

TOLERANCE = 0.05  # seconds that a table may be off: rounding, encoders' padding
LAST_FRAMES = 0.2  # seconds at the end of the audio that no whole frame may fit in
SHARE = 0.02  # of the duration, too; a lost speed or a mistaken rate is further off


def claim_problems(path: Path, tables: Mapping[str, Table], headers: Mapping[str, Header]) -> list[Problem]:
    """What the `tables` of the data directory `path` say otherwise than the `headers` by recording.

    Recordings whose header does not say how long they are prove nothing.
    """
    made = _features_made(path)
    recorded = {key: header.duration for key, header in headers.items() if np.isfinite(header.duration)}
    seconds = _seconds(tables, recorded)
    problems = duration_problems(tables["utt2dur"], seconds) if "utt2dur" in tables else []
    if "reco2dur" in tables:
        problems += duration_problems(tables["reco2dur"], _as_listed(tables, recorded))
    shift = _frame_shift(path, made)
    if "utt2num_frames" in tables and shift is not None:
        problems += frame_problems(tables["utt2num_frames"], seconds, shift, made is not None)
    is_converted = made is not None and _said(made, "audio", "resample")
    return problems if is_converted else problems + rate_problems(tables["wav.scp"], headers)


def _seconds(tables: Mapping[str, Table], recorded: Mapping[str, float]) -> dict[str, float]:
    """Seconds by utterance as they are when they are read: cut out and sped up."""
    speeds = _values(tables.get("utt2speed"))
    if "segments" not in tables:
        return {key: value / speeds.get(key, 1.0) for key, value in recorded.items()}
    segments = {key: cut for key, cut in _values(tables["segments"]).items() if cut.recording_id in recorded}
    ends = {key: min(cut.end, recorded[cut.recording_id]) for key, cut in segments.items()}
    return {key: (ends[key] - cut.start) / speeds.get(key, 1.0) for key, cut in segments.items()}


def _as_listed(tables: Mapping[str, Table], recorded: Mapping[str, float]) -> dict[str, float]:
    """Seconds by recording as reco2dur has them: of the file, or of what it is sped up to (so sv-perturb-speed and Kaldi write it)."""
    speeds, said = _values(tables.get("utt2speed")), _values(tables["reco2dur"])
    owners = {cut.recording_id: key for key, cut in _values(tables.get("segments")).items()}
    sped = {key: value / speeds.get(owners.get(key, key), 1.0) for key, value in recorded.items()}
    return {key: sped[key] if key in said and _agree(said[key], sped[key]) else value for key, value in recorded.items()}


def _values(table: Table | None) -> dict[str, Any]:
    return {} if table is None else parse_values(table)[0]


def _features_made(path: Path) -> Manifest | None:
    """How feats.scp was made; None where nothing here says so."""
    try:
        found = [read_manifest(path, kind) for kind in described_tables() if kind in FEATURES]
    except DataError:
        return None  # named by the check of manifests
    known = [manifest for manifest in found if manifest is not None]
    return known[0] if len(known) == 1 else None


def _said(made: Manifest, part: str, name: str) -> Any:
    options = made.job.get(part)
    return options.get(name) if isinstance(options, dict) else None


def _frame_shift(path: Path, made: Manifest | None) -> float | None:
    """Seconds from frame to frame, by the manifest or by Kaldi's file `frame_shift`."""
    try:
        text = _said(made, "config", "frame_shift") if made is not None else (path / "frame_shift").read_text()
        shift = float(text)
    except (OSError, ValueError, TypeError):
        return None
    return shift if 0 < shift < 1 else None


def rate_problems(wav: Table, headers: Mapping[str, Header]) -> list[Problem]:
    """Recordings of several sample rates, which extraction refuses."""
    rates: dict[int, list[str]] = {}
    for key, header in headers.items():
        rates.setdefault(header.sample_rate, []).append(key)
    if len(rates) < 2:
        return []
    counts = ", ".join(f"{rate} Hz ({len(keys)})" for rate, keys in sorted(rates.items()))
    rarest = min(rates.values(), key=len)[0]
    what = f"recordings of {len(rates)} sample rates: {counts}; {plain(rarest, 80)} is of the rarest"
    fix = "sv-extract-fbank --resample converts them; a lower rate lacks the upper bands, which tells speakers apart"
    return [Problem(wav.where(rarest), what, fix)]


def duration_problems(table: Table, seconds: Mapping[str, float]) -> list[Problem]:
    """Durations of `utt2dur` or `reco2dur` that are not those of the audio."""
    said: dict[str, float] = _values(table)
    name = table.path.name
    what = name + " says {1:g} s of {0}, its recording lasts {2:.3f} s"
    fix = f"delete {name}, or write it again" + ("; or is utt2speed missing?" if name == "utt2dur" else "")
    wrong = [key for key, value in said.items() if key in seconds and not _agree(value, seconds[key])]
    problems = [Problem(table.where(key), what.format(plain(key, 80), said[key], seconds[key]), fix) for key in wrong]
    return bounded(place(table.path), problems)


def frame_problems(table: Table, seconds: Mapping[str, float], shift: float, is_whole: bool) -> list[Problem]:
    """Numbers of frames that the audio cannot have given.

    Args:
        is_whole: every frame is there; other programs may have dropped the silent ones.
    """
    said: dict[str, int] = _values(table)
    spans = {key: value * shift for key, value in said.items() if key in seconds}
    wrong = [key for key, span in spans.items() if not _agree(span, seconds[key], LAST_FRAMES if is_whole else np.inf)]
    what = "{} has {} frames of {:g} s, its audio has {:.3f} s"
    fix = "features of other audio, or at another speed (is utt2speed missing?)? extract again"
    problems = [Problem(table.where(key), what.format(plain(key, 80), said[key], shift, seconds[key]), fix) for key in wrong]
    return bounded(place(table.path), problems)


def _agree(said: float, true: float, below: float = TOLERANCE) -> bool:
    return -(below + SHARE * true) <= said - true <= TOLERANCE + SHARE * true
