"""Everything that is wrong with a data directory, at once, each with its file, its line and how to fix it."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sv_toolkit.data.clean import speakers_if_clean
from sv_toolkit.data.consistency import (
    extra_problems,
    foreign_problems,
    index_problems,
    match_problems,
    missing_problems,
    order_problems,
    prefix_problems,
    recording_problems,
    speed_problems,
    spk2utt_problems,
    wav_problems,
)
from sv_toolkit.data.forms import (
    BY_UTTERANCE,
    DERIVED,
    FORMS,
    PARSERS,
    REQUIRED,
    check,
    directory_problems,
    foreign_tables,
    ids_of,
    parse_values,
)
from sv_toolkit.data.skipped import Line, check_skipped, left_out
from sv_toolkit.data.suspicions import id_notes, speaker_notes, table_notes
from sv_toolkit.errors import Problem
from sv_toolkit.io.tables import Table, bounded, place


@dataclass(frozen=True)
class Findings:
    """What a check found, and how much it looked at; `notes` are possible, and rarely meant."""

    problems: list[Problem]
    num_utterances: int = 0
    num_speakers: int = 0
    notes: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Rules:
    """What a data directory may do without being wrong.

    Attributes:
        speaker_prefix: utterance ids must start with their speaker's id.
        allow_pipes: wav.scp may hold commands.
        need_wav: wav.scp must be there.
        check_keys: with the data read, records must stand in archives under the keys that the scp file has for them.
    """

    speaker_prefix: bool = True
    allow_pipes: bool = False
    need_wav: bool = True
    check_keys: bool = False


def validate(path: Path, read_data: bool = False, rules: Rules | None = None) -> list[Problem]:
    """Every problem of the data directory `path`; none if it is fine.

    Args:
        read_data: look into the audio files' headers, the archives and the manifests too.
    """
    return examine(path, read_data, rules).problems


def examine(path: Path, read_data: bool = False, rules: Rules | None = None) -> Findings:
    """`validate` with the counts of utterances and speakers."""
    path = Path(path)
    rules = rules or Rules()
    if found := directory_problems(path):
        return Findings(found)
    if not read_data and (clean := speakers_if_clean(path, rules.speaker_prefix, rules.need_wav)):
        ids, codes, speakers = clean
        return Findings([], len(ids), len(speakers), _notes(path, speakers, np.bincount(codes), {}))
    tables, problems = _check_files(path, rules)
    skipped, found = check_skipped(path)
    problems += found + _check_together(tables, skipped, rules)
    if read_data:
        from sv_toolkit.data.stored import stored_problems

        foreign, found = _check_foreign(path, tables)
        problems += found + stored_problems(path, {**foreign, **tables}, rules.check_keys)
    utt2spk = tables.get("utt2spk") or Table(path / "utt2spk")
    counts = dict(sorted(Counter(utt2spk.values()).items()))
    notes = _notes(path, list(counts), np.array(list(counts.values())), tables) if counts else []
    return Findings(problems, len(utt2spk), len(counts), notes)


def _notes(path: Path, speakers: list[str], counts: np.ndarray, tables: dict[str, Table]) -> list[Problem]:
    utt2spk = path / "utt2spk"
    notes = speaker_notes(utt2spk, speakers, counts) + id_notes(utt2spk, speakers, "speakers are")
    return notes + id_notes(utt2spk, tables.get("utt2spk", ()), "utterances are") + table_notes(tables)


def _check_foreign(path: Path, tables: dict[str, Table]) -> tuple[dict[str, Table], list[Problem]]:
    """Tables that nothing here reads and Kaldi's scripts do, and what these would refuse."""
    known, problems = {}, []
    for name in foreign_tables(path):
        table, found = check(path / name)
        problems += found
        if not table or "utt2spk" not in tables:
            continue
        known[name] = table
        if name in PARSERS:
            problems += bounded(place(path / name), parse_values(table)[1])
        kind = ids_of(name)
        source = "wav.scp" if kind == "recording" else "utt2spk"
        if source in tables:
            against = set(tables["utt2spk"].values()) if kind == "speaker" else tables[source].keys()
            problems += foreign_problems(table, against, place(path / source))
    return known, problems


def _check_files(path: Path, rules: Rules) -> tuple[dict[str, Table], list[Problem]]:
    """The tables that can be read at all, and what is wrong with each file by itself."""
    tables, problems = {}, []
    required = [name for name in REQUIRED if rules.need_wav or name != "wav.scp"]
    for name in FORMS:
        if not os.path.lexists(path / name):
            if name in required:
                problems.append(
                    Problem(
                        place(path / name),
                        f"missing: no such file; required are {', '.join(required)}; sv-make-data makes them of recordings",
                    )
                )
            continue
        table, found = check(path / name)
        problems += found
        if table:
            tables[name] = table
            if name in PARSERS:
                problems += bounded(place(path / name), parse_values(table)[1])
    return tables, problems


def _check_together(tables: dict[str, Table], skipped: list[Line], rules: Rules) -> list[Problem]:
    problems: list[Problem] = []
    if "wav.scp" in tables:
        problems += wav_problems(tables["wav.scp"], rules.allow_pipes)
    for name in ("feats.scp", "vad.scp"):
        problems += index_problems(tables[name]) if name in tables else []
    if "utt2spk" not in tables:
        return problems
    utt2spk = tables["utt2spk"]
    if "wav.scp" in tables:
        problems += recording_problems(utt2spk, tables["wav.scp"], tables.get("segments"))
        if "segments" not in tables:
            problems += speed_problems(utt2spk, tables["wav.scp"], tables.get("utt2speed"))
    if "spk2utt" in tables:
        problems += spk2utt_problems(tables["spk2utt"], utt2spk)
    if rules.speaker_prefix:
        problems += prefix_problems(utt2spk) or order_problems(utt2spk)
    for name in BY_UTTERANCE:
        problems += _optional_table(tables.get(name), utt2spk)
    speakers = Table(utt2spk.path, dict.fromkeys(utt2spk.values(), ""))
    problems += _optional_table(tables.get("spk2gender"), speakers)
    for name in DERIVED:
        lost = left_out(skipped, name, tables.get("feats.scp", ()))
        problems += match_problems(tables[name], utt2spk, lost) if name in tables else []
    return problems


def _optional_table(table: Table | None, against: Table) -> list[Problem]:
    if table is None or table is against:
        return []
    fix = "complete the table or delete it"
    return missing_problems(table, against, fix) + extra_problems(table, against, "sv-fix-data drops them")
