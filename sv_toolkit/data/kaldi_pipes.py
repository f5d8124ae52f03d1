"""wav.scp for Kaldi's own programs: what only this toolkit does when it reads audio becomes commands of sox and flac."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePath

from sv_toolkit.data.forms import is_pipe, parse_segment, parse_speed
from sv_toolkit.errors import DataError, plain, shown
from sv_toolkit.io.audio_files import archived

Tables = dict[str, dict[str, str]]


def for_kaldi(tables: Mapping[str, Mapping[str, str]]) -> Tables:
    """`tables` without utt2speed: recordings are sped up and decoded by pipes, as Kaldi's scripts write them.

    Times in segments are those of the sped-up recording then.  WAV files and archives at their own speed stay as they are.

    Raises:
        DataError: a recording is used at several speeds, or a recording in an archive at another than its own.
    """
    written = {name: dict(table) for name, table in tables.items() if name != "utt2speed"}
    if "wav.scp" not in written:
        return written
    speeds = _speed_of_recordings(tables)
    written["wav.scp"] = {key: _command(key, value, speeds.get(key, 1.0)) for key, value in written["wav.scp"].items()}
    if "segments" in written:
        written["segments"] = {key: _shortened(value, speeds) for key, value in written["segments"].items()}
    return written


def _speed_of_recordings(tables: Mapping[str, Mapping[str, str]]) -> dict[str, float]:
    segments, said = tables.get("segments", {}), tables.get("utt2speed", {})
    speeds: dict[str, float] = {}
    for key in tables["utt2spk"]:
        recording = segments[key].split()[0] if key in segments else key
        speed = parse_speed(said.get(key, "1"))
        if speeds.setdefault(recording, speed) != speed:
            raise DataError(
                f"utterance {plain(key, 80)}: its recording {plain(recording, 80)} is used at several speeds, for which Kaldi needs several lines in wav.scp; split the data directory by speed"
            )
    return speeds


def _command(key: str, value: str, speed: float) -> str:
    """The value of wav.scp that gives Kaldi a WAV file at `speed`."""
    effect = f"-t wav - speed {speed:g} |"
    if is_pipe(value):
        return value if speed == 1 else f"{value.rstrip('|').rstrip()} | sox -t wav - {effect}"
    if archived(value) != (value, 0):
        if speed == 1:
            return value
        raise DataError(
            f"recording {plain(key, 80)}: lies in an archive ({shown(value)}), which no pipe can speed up; write it to a file first"
        )
    kind, path = PurePath(value).suffix.lower(), shlex.quote(value)
    if kind == ".flac":  # not every sox reads it
        return f"flac -c -d -s {path} |" + ("" if speed == 1 else f" sox -t wav - {effect}")
    if speed != 1:
        return f"sox {path} {effect}"
    return value if kind == ".wav" else f"sox {path} -t wav - |"


def _shortened(value: str, speeds: Mapping[str, float]) -> str:
    segment = parse_segment(value)
    speed = speeds.get(segment.recording_id, 1.0)
    return value if speed == 1 else f"{segment.recording_id} {segment.start / speed:.4f} {segment.end / speed:.4f}"
