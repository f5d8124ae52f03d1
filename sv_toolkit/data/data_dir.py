"""A Kaldi data directory as typed records, and how one is written.

`wav.scp` says where the audio of a recording is, `segments` cuts recordings into utterances (without it every
recording is one utterance), `utt2spk` says who speaks.  Everything else is optional.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sv_toolkit.data.consistency import index_problems, recording_problems, speed_problems, wav_problems
from sv_toolkit.data.forms import (
    BASE_TABLES,
    REQUIRED,
    Segment,
    directory_problems,
    foreign_tables,
    ids_of,
    is_pipe,
    load,
    parse_values,
    refuse,
)
from sv_toolkit.data.skipped import read_skipped, write_skipped
from sv_toolkit.errors import DataError
from sv_toolkit.io.files import make_directory
from sv_toolkit.io.tables import Table, place, write_table

__all__ = [
    "DataDir",
    "Segment",
    "Utterance",
    "copy_tables",
    "invert",
    "is_pipe",
    "read_skipped",
    "restrict",
    "write_data_dir",
    "write_skipped",
]


@dataclass(frozen=True)
class Utterance:
    """What is needed to read the audio of one utterance, and where it was said.

    `start` and `end` are seconds within the recording, None for all of it; `channel` counts from 0, None
    where nothing was said about it; the waveform is sped up by the factor `speed` when it is read.
    """

    utterance_id: str
    speaker_id: str
    recording_id: str
    wav: str
    wav_where: str
    start: float | None = None
    end: float | None = None
    channel: int | None = None
    speed: float = 1.0


@dataclass(frozen=True)
class DataDir:
    """The tables of one data directory; utterances and speakers are sorted by bytes."""

    path: Path
    utt2spk: Table
    wav: Table
    segments: dict[str, Segment]
    _tables: dict[str, Table | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, path: Path, require: Iterable[str] = REQUIRED, allow_pipes: bool = False) -> DataDir:
        """Read the directory and make sure that the required tables belong together.

        Args:
            require: tables that must be there; utt2spk always must.  With wav.scp among them every utterance must
                have audio, and commands in wav.scp are refused unless `allow_pipes`.

        Raises:
            DataError: names the first problem; `sv-validate-data` shows them all.
        """
        path = Path(path)
        refuse(directory_problems(path))
        required = list(dict.fromkeys([*require, "utt2spk"]))
        missing = [name for name in required if not os.path.lexists(path / name)]
        if missing:
            raise DataError(
                f"{place(path / missing[0])}: no such file; required are {', '.join(required)}; sv-make-data makes them of recordings"
            )
        utt2spk = load(path / "utt2spk")
        wav = _load_if_there(path / "wav.scp") or Table(path / "wav.scp")
        segments = _load_if_there(path / "segments")
        known = {"utt2spk": utt2spk, "wav.scp": wav or None, "segments": segments}
        data = cls(path, utt2spk, wav, _values(segments), known)
        if "wav.scp" in required:
            refuse(wav_problems(wav, allow_pipes) + recording_problems(utt2spk, wav, segments))
        for name in required:
            data.table(name)
        return data

    def table(self, name: str) -> Table | None:
        """The table in the file `name`, or None where there is none; read once.

        Raises:
            DataError: the file is damaged, or an archive index holds a command to run.
        """
        if name not in self._tables:
            path = self.path / name
            table = _load_if_there(path)
            if table is not None and name in ("feats.scp", "vad.scp"):
                refuse(index_problems(table))
            self._tables[name] = table
        return self._tables[name]

    @cached_property
    def spk2utt(self) -> dict[str, list[str]]:
        """Speaker -> utterances, both sorted by bytes; always derived from utt2spk."""
        return invert(self.utt2spk)

    def utterances(self) -> list[Utterance]:
        """All utterances, sorted by bytes.

        Raises:
            DataError: a channel or a speed factor is not a number; an utterance has no audio.
        """
        refuse(recording_problems(self.utt2spk, self.wav, self.table("segments")))
        if not self.segments:
            refuse(speed_problems(self.utt2spk, self.wav, self.table("utt2speed")))
        channels = _values(self.table("reco2file_and_channel"))
        speeds = _values(self.table("utt2speed"))
        return [self._utterance(key, channels, speeds) for key in sorted(self.utt2spk)]

    def _utterance(self, key: str, channels: Mapping[str, int], speeds: Mapping[str, float]) -> Utterance:
        segment = self.segments.get(key)
        recording = segment.recording_id if segment else key
        start, end = (segment.start, segment.end) if segment else (None, None)
        wav, where = self.wav[recording], self.wav.where(recording)
        return Utterance(key, self.utt2spk[key], recording, wav, where, start, end, channels.get(recording), speeds.get(key, 1.0))

    def skipped(self) -> dict[str, str]:
        """Utterance -> why a command left it out."""
        return {line[0]: line[2] for line in read_skipped(self.path)}


def _load_if_there(path: Path) -> Table | None:
    """The table, None where there is none; a link to nothing is damage: without it utterances would be others."""
    return load(path) if os.path.lexists(path) else None


def _values(table: Table | None) -> dict[str, Any]:
    values, problems = parse_values(table) if table is not None else ({}, [])
    refuse(problems)
    return values


def invert(utt2spk: Mapping[str, str]) -> dict[str, list[str]]:
    """utt2spk as spk2utt: speaker -> utterances, sorted by bytes."""
    spk2utt: dict[str, list[str]] = {}
    for utterance in sorted(utt2spk):
        spk2utt.setdefault(utt2spk[utterance], []).append(utterance)
    return dict(sorted(spk2utt.items()))


def write_data_dir(path: Path, tables: Mapping[str, Mapping[str, str]]) -> None:
    """Write tables by file name, each whole or absent, and the spk2utt that follows from utt2spk."""
    make_directory(Path(path))
    for name, entries in sorted(tables.items()):
        if name != "spk2utt":
            write_table(Path(path) / name, entries)
    if "utt2spk" in tables:
        write_table(Path(path) / "spk2utt", {key: " ".join(value) for key, value in invert(tables["utt2spk"]).items()})


def restrict(source: DataDir, keep: Iterable[str], names: Iterable[str] = BASE_TABLES) -> dict[str, dict[str, str]]:
    """The tables of `source` cut down to the utterances `keep`, their speakers and their recordings."""
    utterances = source.utt2spk.keys() & set(keep)
    speakers = {source.utt2spk[key] for key in utterances}
    recordings = {source.segments[key].recording_id if key in source.segments else key for key in utterances}
    wanted = {"recording": recordings, "speaker": speakers, "utterance": utterances}
    tables = {}
    for name in names:
        table = source.table(name)
        if table is not None:
            ids = wanted[ids_of(name)]
            tables[name] = {key: value for key, value in table.items() if key in ids}
    return {name: table for name, table in tables.items() if table}


def copy_tables(source: DataDir, out: Path, keep: Iterable[str], extra_names: Iterable[str] = ()) -> None:
    """Write the tables that describe recordings and speakers to `out`, cut down to the utterances `keep`.

    Args:
        extra_names: further tables by utterance, for example feats.scp.
    """
    names = [*BASE_TABLES, *foreign_tables(source.path), *extra_names]
    tables = restrict(source, keep, names)
    for name in names:
        if name not in tables and Path(out).resolve() != source.path.resolve():
            (Path(out) / name).unlink(missing_ok=True)  # of an earlier run: it would change what an utterance is
    write_data_dir(out, tables)
