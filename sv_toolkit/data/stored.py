"""Do the files that a data directory points at hold what its tables say?  Audio headers, archives, checksums."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sv_toolkit.data.claims import claim_problems
from sv_toolkit.data.consistency import index_problems
from sv_toolkit.data.described import refuse_stale, refuse_stale_decisions
from sv_toolkit.data.feature_index import LARGEST
from sv_toolkit.data.forms import is_pipe, parse_values
from sv_toolkit.errors import ArchiveError, AudioError, DataError, Problem, plain, shown
from sv_toolkit.io.audio_files import Header, read_header
from sv_toolkit.io.manifest import damaged_files, read_manifest
from sv_toolkit.io.tables import Table, bounded, place

if TYPE_CHECKING:
    from sv_toolkit.io.archives import ScpReader

OVERSHOOT = 0.01  # seconds a segment may end after its recording: times in segments are rounded
_AGAIN = "extract again"


def stored_problems(path: Path, tables: dict[str, Table], check_keys: bool = False) -> list[Problem]:
    """What is wrong with the files behind the readable `tables` of the data directory `path`.

    Args:
        check_keys: records that their archive keeps under another key are wrong.
    """
    problems = manifest_problems(path)
    if "wav.scp" in tables:
        found, headers = audio_problems(tables["wav.scp"], tables.get("segments"), tables.get("reco2file_and_channel"))
        problems += found + claim_problems(path, tables, headers)
    if "feats.scp" in tables and not index_problems(tables["feats.scp"]):
        problems += feature_problems(path, tables, check_keys)
    return problems


def manifest_problems(path: Path) -> list[Problem]:
    """Files that are missing or differ from the checksum recorded when they were written."""
    problems = []
    for file in sorted(path.glob("*.manifest.json")):
        try:
            manifest = read_manifest(path, file.name.removesuffix(".manifest.json"))
        except DataError as error:
            problems.append(Problem(place(file), str(error)))
            continue
        findings = damaged_files(path, manifest, thorough=True) if manifest else []
        problems += [Problem(place(file), finding, "run the command that made it again with --overwrite") for finding in findings]
    return problems


def audio_problems(wav: Table, segments: Table | None, channels: Table | None) -> tuple[list[Problem], dict[str, Header]]:
    """Recordings whose header cannot be read, that have several channels and none chosen, or end before a segment does.

    Returns:
        The problems, and the headers that could be read, by recording.
    """
    faults, headers = _check_headers(wav, channels)
    problems = [Problem(wav.where(key), f"recording {plain(key, 80)}: {fault}", fix) for key, (fault, fix) in faults.items()]
    late = _late_segments(segments, headers) if segments is not None else {}
    fix = "correct the times; sv-fix-data --read-data drops such segments"
    late_problems = [Problem(segments.where(key), f"segment {plain(key, 80)} {fault}", fix) for key, fault in late.items() if segments]
    return bounded(place(wav.path), problems) + bounded(place(wav.path.with_name("segments")), late_problems), headers


def useless_audio(wav: Table, segments: Table | None, channels: Table | None) -> dict[str, str]:
    """Reasons by recording or segment why there is no audio for it; a missing choice of channel is no such reason."""
    faults, headers = _check_headers(wav, channels)
    late = _late_segments(segments, headers) if segments is not None else {}
    return {key: fault for key, (fault, _) in faults.items() if key not in headers} | late


def _check_headers(wav: Table, channels: Table | None) -> tuple[dict[str, tuple[str, str]], dict[str, Header]]:
    """Faults (and their fixes) by recording, and the headers of those that can be read."""
    faults, headers = {}, {}
    for key, value in wav.items():
        if is_pipe(value):
            continue
        try:
            header = read_header(value)
        except AudioError as error:
            faults[key] = (f"{shown(value)}: {error}", "correct the path, or replace the file; sv-fix-data --read-data drops it")
            continue
        headers[key] = header
        if header.num_channels > 1 and (channels is None or key not in channels):
            what = f"has {header.num_channels} channels and reco2file_and_channel does not say which"
            faults[key] = (what, "add it there, or choose with --channel when extracting")
    return faults, headers


def _late_segments(segments: Table, headers: dict[str, Header]) -> dict[str, str]:
    """Faults of segments that end after their recording."""
    faults = {}
    for key, segment in parse_values(segments)[0].items():
        header = headers.get(segment.recording_id)
        duration = header.duration if header is not None else np.inf
        if segment.end > duration + OVERSHOOT:
            recording = plain(segment.recording_id, 80)
            faults[key] = f"ends at {segment.end:g} s, its recording {recording} has a duration of {duration:.3f} s"
    return faults


def feature_problems(path: Path, tables: dict[str, Table], check_keys: bool = False) -> list[Problem]:
    """Feature matrices that are damaged, not finite, of another width, or of another length than utt2num_frames and vad.scp say."""
    from sv_toolkit.io.archives import ScpReader

    feats, vad = tables["feats.scp"], tables.get("vad.scp")
    if vad is not None and index_problems(vad):
        vad = None
    try:
        readers = {table.path.name: ScpReader(table.path, check_keys=check_keys) for table in (feats, vad) if table is not None}
        for name, reader in readers.items():
            refuse_stale(path, name, reader.locations.archives)
        if vad is not None:
            refuse_stale_decisions(path)
    except (ArchiveError, DataError) as error:
        return [Problem(place(path), str(error))]
    num_frames, problems = _check_matrices(readers["feats.scp"], feats)
    problems += _wrong_counts(tables.get("utt2num_frames"), num_frames, feats)
    if vad is not None:
        problems += _wrong_decisions(readers["vad.scp"], vad, num_frames)
    return problems


def _check_matrices(reader: ScpReader, feats: Table) -> tuple[dict[str, int], list[Problem]]:
    """Rows by utterance of the matrices that are fine, and what is wrong with the others."""
    num_frames, problems = {}, []
    width = 0
    for key in feats:
        try:
            matrix = reader.read(key)
        except ArchiveError as error:
            problems.append(Problem(feats.where(key), str(error), _AGAIN))
            continue
        fault = _fault_of(matrix, width)
        if fault:
            problems.append(Problem(feats.where(key), f"{plain(key, 80)}: {fault}", _AGAIN))
        else:
            num_frames[key], width = matrix.shape
    return num_frames, bounded(place(feats.path), problems)


def _fault_of(matrix: np.ndarray, width: int) -> str:
    if matrix.ndim != 2 or not matrix.size:
        return f"a matrix of frames is needed, got the shape {matrix.shape}"
    if width and matrix.shape[1] != width:
        return f"features have {matrix.shape[1]} columns, the others have {width}"
    if not np.isfinite(matrix).all():
        return "features are not finite (NaN or infinite)"
    largest = np.abs(matrix).max()
    return "" if largest <= LARGEST else f"features reach {largest:.3g}, which no finite sound gives"


def _wrong_counts(counts: Table | None, num_frames: dict[str, int], feats: Table) -> list[Problem]:
    if counts is None:
        return []
    said = parse_values(counts)[0]
    wrong = [key for key in said if num_frames.get(key, said[key]) != said[key]]
    what = "{} has {} frames here, its matrix in {} has {}"
    problems = [
        Problem(
            counts.where(key), what.format(plain(key, 80), said[key], place(feats.path), num_frames[key]), "a stale file? extract again"
        )
        for key in wrong
    ]
    return bounded(place(counts.path), problems)


def _wrong_decisions(reader: ScpReader, vad: Table, num_frames: dict[str, int]) -> list[Problem]:
    problems = []
    for key in vad:
        try:
            decisions = reader.read(key)
        except ArchiveError as error:
            problems.append(Problem(vad.where(key), str(error), _AGAIN))
            continue
        if decisions.ndim != 1 or not np.isin(decisions, (0, 1)).all():
            problems.append(Problem(vad.where(key), f"{plain(key, 80)}: vad holds values other than 0 and 1", _AGAIN))
        elif num_frames.get(key, len(decisions)) != len(decisions):
            what = f"{plain(key, 80)}: vad has {len(decisions)} frames, the features have {num_frames[key]}"
            problems.append(Problem(vad.where(key), what, _AGAIN))
    return bounded(place(vad.path), problems)
