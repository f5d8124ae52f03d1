"""Dropping what is wrong in a data directory, in place.

An utterance stays if every table that is there has one good line for it.  An id whose lines contradict each
other is dropped, never picked from.  The plan is made in memory first; the originals go to `.backup/`, what was
dropped is listed in `dropped.tsv`, and a run that was killed is undone before the next one starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sv_toolkit.data.data_dir import invert
from sv_toolkit.data.forms import (
    BY_UTTERANCE,
    DERIVED,
    FORMS,
    PARSERS,
    REQUIRED,
    directory_problems,
    foreign_tables,
    form_of,
    ids_of,
    is_pipe,
    parse_values,
    refuse,
)
from sv_toolkit.data.skipped import left_out, read_skipped
from sv_toolkit.errors import DataError, plain
from sv_toolkit.io.files import regular_file
from sv_toolkit.io.tables import MAX_KEY_LENGTH, Line, Table, format_table, looks_binary, parse_lines, place

Audio = Callable[[Table, "Table | None", "Table | None"], dict[str, str]]


@dataclass(frozen=True, order=True)
class Drop:
    """One thing that goes: an id (or a file), where it stood, and why."""

    key: str
    where: str
    reason: str

    def __str__(self) -> str:
        return f"{plain(self.key, MAX_KEY_LENGTH)}\t{self.where}\t{self.reason}"


@dataclass
class Plan:
    """What a fix would do: the new text of every file (None: the file goes), what is dropped, and the ids that are gone with it."""

    texts: dict[str, str | None] = field(default_factory=dict)
    drops: list[Drop] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    num_utterances: int = 0

    def changes(self, path: Path) -> dict[str, str | None]:
        """The texts that differ from what lies in the data directory `path`."""
        return {name: text for name, text in self.texts.items() if text != _current(path / name)}

    def drop(self, key: str, where: str, reason: str, stays: bool = False) -> None:
        """Note that `key` goes; or, where it `stays`, that only this line of it does."""
        self.drops.append(Drop(key, where, reason))
        if not stays:
            self.gone.add(key)


def refuse_odd_files(path: Path, names: Iterable[str]) -> None:
    """Raise DataError where one of the files is a directory, a pipe (which would never end), a device or a link to nothing."""
    for name in names:
        if os.path.lexists(path / name) and not regular_file(path / name):
            raise DataError(f"{place(path / name)}: is not a regular file (a directory, a named pipe or a broken link); remove it first")


def _current(path: Path) -> str | None:
    """The file's text; None where there is none; bytes that are not UTF-8 compare unequal to every text."""
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else None


def plan_fix(path: Path, bad_audio: Audio | None = None) -> Plan:
    """What has to change in the data directory `path`.

    Args:
        bad_audio: reasons by recording or utterance id why its audio is of no use; None looks at the tables alone.

    Raises:
        DataError: a required table is missing or is no table at all, or nothing would be left.
    """
    refuse(directory_problems(path))
    refuse_odd_files(path, FORMS)
    plan = Plan()
    names = [name for name in (*FORMS, *foreign_tables(path)) if name != "spk2utt"]
    tables = {name: table for name in names if (table := _clean_table(path / name, plan)) is not None}
    for name in REQUIRED:
        if name not in tables:
            raise DataError(f"{place(path / name)}: missing or without any good line; a data directory cannot be fixed without it")
    if bad_audio is not None:
        for key, reason in bad_audio(tables["wav.scp"], tables.get("segments"), tables.get("reco2file_and_channel")).items():
            _drop_audio(key, reason, tables, plan)
    keep = _kept(path, tables, plan)
    if not keep:
        raise DataError(f"{place(path)}: nothing would be left; sv-validate-data shows what is wrong")
    _write_plan(tables, keep, plan)
    plan.num_utterances = len(keep)
    plan.drops.sort()
    return plan


def _clean_table(path: Path, plan: Plan) -> Table | None:
    """The good entries of a file; everything else goes into the plan's drops."""
    if not path.exists():
        return None
    data = path.read_bytes()
    if looks_binary(data) or not data.strip():
        if path.name == "segments":
            raise DataError(
                f"{place(path)}: {'binary data' if data.strip() else 'is empty'}; it decides what an utterance is: fix or delete it yourself"
            )
        plan.drop(path.name, place(path), "binary data, the file goes" if data.strip() else "empty, the file goes")
        plan.texts[path.name] = None
        return None
    lines = list(parse_lines(data, form_of(path.name)))
    if not data.endswith(b"\n") and not lines[-1].fault:
        cut = lines.pop()
        plan.drop(cut.key, place(path, cut.number), "last line without a newline: it may have been cut")
    table = _unique(path, lines, plan)
    _drop_bad_values(table, plan)
    return table


def _unique(path: Path, lines: list[Line], plan: Plan) -> Table:
    values: dict[str, set[str]] = {}
    for line in lines:
        if line.fault:
            plan.drop(line.key or path.name, place(path, line.number), line.fault)
        values.setdefault(line.key, set()).add(line.value if not line.fault else f"\0{line.number}")  # unlike any good value
    numbers: dict[str, int] = {}
    for line in lines:
        if line.fault:
            continue
        if len(values[line.key]) > 1:
            plan.drop(line.key, place(path, line.number), "duplicate id with another value: nobody knows which is right")
        elif line.key in numbers:
            plan.drop(line.key, place(path, line.number), "the same line again; one of them stays", stays=True)
        else:
            numbers[line.key] = line.number
    damaged = {line.key for line in lines if line.fault or len(values[line.key]) > 1}
    return Table(path, {key: next(iter(values[key])) for key in numbers}, numbers, damaged)


def _drop_bad_values(table: Table, plan: Plan) -> None:
    name = table.path.name
    bad: dict[str, str] = {}
    if name in PARSERS:
        good = parse_values(table)[0]
        bad = {key: f"{FORMS[name].names}: {plain(value, 60)}" for key, value in table.items() if key not in good}
    elif name == "wav.scp":
        bad = {key: "the path starts with a tilde" for key, value in table.items() if value.startswith("~") and not is_pipe(value)}
    elif name.endswith(".scp"):
        bad = {key: "a command in an archive index" for key, value in table.items() if is_pipe(value)}
    for key, reason in bad.items():
        plan.drop(key, table.where(key), reason)
        del table[key]
    table.damaged |= bad.keys()


def _drop_audio(key: str, reason: str, tables: dict[str, Table], plan: Plan) -> None:
    for name in ("segments", "wav.scp"):
        if key in tables.get(name, {}):
            plan.drop(key, tables[name].where(key), reason)
            del tables[name][key]
            return


def _kept(path: Path, tables: dict[str, Table], plan: Plan) -> set[str]:
    skipped = read_skipped(path)
    keep = set(tables["utt2spk"])
    for name in (*BY_UTTERANCE, *DERIVED):
        if name in tables:
            lost = left_out(skipped, name, tables.get("feats.scp", ())) if name in DERIVED else set()
            keep = _keep_those(keep, tables[name].keys() | lost, tables[name], plan)
    if "segments" in tables:
        keep = _keep_those(keep, set(tables["segments"]), tables["segments"], plan)
    wav, channels = tables["wav.scp"], tables.get("reco2file_and_channel")
    keep = _keep_those(keep, {key for key in keep if _recording(key, tables) in wav}, wav, plan)
    if channels is not None:  # without its line a stereo recording would be read otherwise
        keep = _keep_those(keep, {key for key in keep if _recording(key, tables) not in channels.damaged}, channels, plan)
    return keep


def _recording(utterance: str, tables: dict[str, Table]) -> str:
    return tables["segments"][utterance].split()[0] if "segments" in tables else utterance


def _keep_those(keep: set[str], good: set[str], table: Table, plan: Plan) -> set[str]:
    for key in sorted(keep - good - plan.gone):
        plan.drop(key, place(table.path), "utterance without a good line there")
    return keep & good


def _write_plan(tables: dict[str, Table], keep: set[str], plan: Plan) -> None:
    utt2spk = tables["utt2spk"]
    recordings, speakers = {_recording(key, tables) for key in keep}, {utt2spk[key] for key in keep}
    ids = {"recording": recordings, "speaker": speakers, "utterance": keep}
    for name, table in tables.items():
        wanted = ids[ids_of(name)]
        for key in sorted(table.keys() - wanted - plan.gone):
            plan.drop(key, table.where(key), "belongs to no utterance that stays")
        plan.texts[name] = format_table({key: table[key] for key in table.keys() & wanted}) or None
    if "spk2gender" in tables and not speakers <= tables["spk2gender"].keys():
        plan.drop("spk2gender", place(tables["spk2gender"].path), "some speakers are not in it, the file goes")
        plan.texts["spk2gender"] = None
    plan.texts["spk2utt"] = format_table({key: " ".join(value) for key, value in invert({key: utt2spk[key] for key in keep}).items()})
