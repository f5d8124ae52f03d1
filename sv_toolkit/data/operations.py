"""New data directories out of old ones: joined, cut down, split, sped up.  Tables in, tables out; no audio is touched."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.data.data_dir import DataDir, restrict
from sv_toolkit.data.forms import BASE_TABLES, DERIVED, foreign_tables, ids_of, is_pipe, parse_duration, parse_speed
from sv_toolkit.data.skipped import read_skipped
from sv_toolkit.errors import AudioError, DataError, examples, plain
from sv_toolkit.io.audio_files import read_header
from sv_toolkit.io.tables import Table, place, read_table

ALL_TABLES = (*BASE_TABLES, *DERIVED)
OF_FEATURES = (*DERIVED, "cmvn.scp")  # a sped-up copy has others
ITSELF = "the id itself"
PARTIAL_TABLES = {"reco2file_and_channel": None, "utt2speed": "1", "utt2uniq": ITSELF}  # may lack ids; the value that they then stand for

Tables = dict[str, dict[str, str]]
_log = logging.getLogger("sv_toolkit")


def read_source(path: Path) -> DataDir:
    """A data directory as an operation's input; commands in wav.scp are only text here, and it may lack wav.scp."""
    has_audio = os.path.lexists(path / "wav.scp")
    return DataDir.read(path, require=("wav.scp", "utt2spk") if has_audio else ("utt2spk",), allow_pipes=True)


def tables_of(data: DataDir) -> Tables:
    """All tables of `data` that this toolkit knows."""
    found = {name: data.table(name) for name in (*ALL_TABLES, *foreign_tables(data.path))}
    return {name: dict(table) for name, table in found.items() if table is not None}


def skipped_of(sources: Sequence[DataDir], keep: Iterable[str] | None = None) -> str:
    """skipped.tsv of the sources together, cut down to the utterances `keep`."""
    wanted = None if keep is None else set(keep)
    lines = {line for data in sources for line in read_skipped(data.path) if wanted is None or line[0] in wanted}
    return "".join("\t".join(line) + "\n" for line in sorted(lines))


def combine(sources: Sequence[DataDir]) -> Tables:
    """One set of tables out of several.

    A table that only some of the sources have is left out, with a note, unless its absence has a meaning.  Where only some
    have segments, every recording of the others becomes one segment, from 0 to its end (as Kaldi's combine_data.sh does it).

    Raises:
        DataError: an id stands for different things in two sources.
        AudioError: only some have segments, and a recording of the others does not say how long it is.
    """
    if any(data.segments for data in sources):
        sources = [data if data.segments else with_segments(data) for data in sources]
    foreign = sorted({name for data in sources for name in foreign_tables(data.path)})
    return {name: table for name in (*ALL_TABLES, *foreign) if (table := _joined(name, sources))}


def with_segments(data: DataDir) -> DataDir:
    """`data` with a segment for every recording, as long as it is: by utt2dur, or by the header of the file.

    Raises:
        AudioError: the header cannot be read or does not say.
    """
    segments = {key: f"{key} 0 {_recorded_seconds(data, key):.4f}" for key in data.utt2spk}
    table = Table(data.path / "segments", dict(sorted(segments.items())))
    return DataDir(data.path, data.utt2spk, data.wav, {}, {**data._tables, "segments": table})


def _recorded_seconds(data: DataDir, key: str) -> float:
    """Seconds of the recording before it is sped up."""
    durations, speeds = (data.table(name) or Table(data.path / name) for name in ("utt2dur", "utt2speed"))
    if key in durations:
        return parse_duration(durations[key]) * parse_speed(speeds.get(key, "1"))
    where = f"{data.wav.where(key)}: {plain(data.wav[key], 1000)}"
    fix = f"write {place(data.path)}/utt2dur (utterance seconds) first"
    if is_pipe(data.wav[key]):
        raise AudioError(f"{where}: a command does not say how long its recording is; {fix}")
    try:
        seconds = read_header(data.wav[key]).duration
    except AudioError as error:
        raise AudioError(f"{where}: {error}") from None
    if not np.isfinite(seconds):
        raise AudioError(f"{where}: the header does not say how long the recording is; {fix}")
    return seconds


def _joined(name: str, sources: Sequence[DataDir]) -> dict[str, str]:
    tables = [(data, data.table(name)) for data in sources]
    lacking = [data for data, table in tables if table is None]
    if len(lacking) == len(sources):
        return {}
    if lacking and name not in PARTIAL_TABLES:
        _log.warning("%s is left out: %s does not have it", name, place(lacking[0].path))
        return {}
    joined: dict[str, str] = {}
    for data, table in tables:
        _add(joined, table if table is not None else _implied(name, data), name, data.path)
    return joined


def _implied(name: str, data: DataDir) -> dict[str, str]:
    """What a table that may be missing then says."""
    fill = PARTIAL_TABLES[name]
    return {key: key if fill == ITSELF else fill for key in data.utt2spk} if fill else {}


def _add(joined: dict[str, str], entries: Mapping[str, str], name: str, path: Path) -> None:
    for key in joined.keys() & entries.keys():
        if joined[key] != entries[key]:
            where = entries.where(key) if isinstance(entries, Table) else place(path / name)
            raise DataError(f"{where}: duplicate id {plain(key)} with another value than in a directory before it; rename one of them")
    joined.update(entries)


@dataclass(frozen=True)
class Selection:
    """Which utterances to keep: first the lists, then the counts in the order of the fields.

    Attributes:
        utterances, speakers: only these; None for all.
        exclude_utterances, exclude_speakers: none of these.
        min_per_speaker: drop speakers with fewer utterances.
        num_speakers: so many of the speakers.
        max_per_speaker: at most so many utterances of each speaker.
        num_utterances: so many utterances in all.
        seed: of the random choices; None takes the first by bytes.
    """

    utterances: frozenset[str] | None = None
    speakers: frozenset[str] | None = None
    exclude_utterances: frozenset[str] = frozenset()
    exclude_speakers: frozenset[str] = frozenset()
    min_per_speaker: int = 1
    num_speakers: int | None = None
    max_per_speaker: int | None = None
    num_utterances: int | None = None
    seed: int | None = 0


def read_ids(path: Path, known: Mapping[str, object] | None, what: str) -> frozenset[str]:
    """The first words of the lines of `path`.

    Raises:
        DataError: one of them is not among the `known` (None: anything goes); `what` says what it should be.
    """
    table = read_table(path, sorted_by_bytes=False, min_fields=1, names="id")
    unknown = [key for key in table if known is not None and key not in known]
    if unknown:
        raise DataError(
            f"{table.where(unknown[0])}: {len(unknown)} of {len(table)} ids are no {what} of the data directory: {examples(unknown)}"
        )
    return frozenset(table)


def select(data: DataDir, selection: Selection) -> list[str]:
    """The chosen utterances, sorted by bytes.

    Raises:
        DataError: more are asked for than there are, or nothing is left.
    """
    rng = None if selection.seed is None else np.random.default_rng(selection.seed)
    spk2utt = {
        speaker: [key for key in utterances if _listed(key, selection.utterances, selection.exclude_utterances)]
        for speaker, utterances in data.spk2utt.items()
        if _listed(speaker, selection.speakers, selection.exclude_speakers)
    }
    spk2utt = {speaker: keys for speaker, keys in spk2utt.items() if len(keys) >= selection.min_per_speaker}
    if selection.num_speakers is not None:
        spk2utt = {speaker: spk2utt[speaker] for speaker in _choose(list(spk2utt), selection.num_speakers, "speakers", rng)}
    if selection.max_per_speaker is not None:
        spk2utt = {speaker: _choose(keys, min(selection.max_per_speaker, len(keys)), "", rng) for speaker, keys in spk2utt.items()}
    chosen = sorted(key for keys in spk2utt.values() for key in keys)
    if selection.num_utterances is not None:
        chosen = _choose(chosen, selection.num_utterances, "utterances", rng)
    if not chosen:
        raise DataError(f"{place(data.path)}: no utterance is left by this selection")
    return chosen


def _listed(key: str, wanted: frozenset[str] | None, unwanted: frozenset[str]) -> bool:
    return (wanted is None or key in wanted) and key not in unwanted


def _choose(items: list[str], count: int, what: str, rng: np.random.Generator | None) -> list[str]:
    if count > len(items):
        raise DataError(f"{count} {what} are asked for, there are {len(items)}")
    indices = range(count) if rng is None else sorted(rng.permutation(len(items))[:count])
    return [items[i] for i in indices]


def subset(data: DataDir, utterances: Iterable[str]) -> Tables:
    """The tables cut down to `utterances`, with what was extracted for them."""
    return restrict(data, utterances, (*ALL_TABLES, *foreign_tables(data.path)))


def split(data: DataDir, num_parts: int, by_utterance: bool = False) -> list[list[str]]:
    """Utterances cut into consecutive parts of about equal size, whole speakers unless `by_utterance`.

    There are fewer parts, with a note, where there are fewer speakers (utterances).
    """
    groups = [[key] for key in sorted(data.utt2spk)] if by_utterance else list(data.spk2utt.values())
    if num_parts > len(groups):
        _log.warning(
            "%s: %d parts instead of %d: there are no more %s",
            place(data.path),
            len(groups),
            num_parts,
            "utterances" if by_utterance else "speakers",
        )
        num_parts = len(groups)
    ends = np.cumsum([len(group) for group in groups])
    parts: list[list[str]] = []
    start = 0
    for part in range(1, num_parts + 1):
        fair = int(np.searchsorted(ends, round(ends[-1] * part / num_parts))) + 1
        stop = min(max(fair, start + 1), len(groups) - (num_parts - part))  # every part gets something
        parts.append(sorted(key for group in groups[start:stop] for key in group))
        start = stop
    return parts


def perturb_speed(data: DataDir, factors: Sequence[float], include_original: bool, same_speakers: bool = False) -> Tables:
    """Copies of all utterances, `factor` times as fast; the audio is changed when it is read.

    A voice at another speed is another voice: utterances, speakers and recordings get the prefix `sp<factor>-`.  With
    `same_speakers` the speakers stay who they are, and utterances and recordings get the suffix `-sp<factor>`.

    Raises:
        DataError: an id of a copy is taken, or a factor leaves the range that reading supports.
    """
    source = {name: table for name, table in tables_of(data).items() if name not in OF_FEATURES}
    copies = [_sped_up(source, factor, same_speakers) for factor in factors]
    if include_original:
        copies.append({**source, "utt2speed": source.get("utt2speed", dict.fromkeys(data.utt2spk, "1"))})
    joined: Tables = {}
    for copy in copies:
        for name, entries in copy.items():
            _add(joined.setdefault(name, {}), entries, name, data.path)
    return joined


def _sped_up(source: Tables, factor: float, same_speakers: bool) -> Tables:
    def renamed(key: str) -> str:
        return f"{key}-sp{factor:g}" if same_speakers else f"sp{factor:g}-{key}"

    def speaker(key: str) -> str:
        return key if same_speakers else renamed(key)

    copy = {
        name: {(speaker if ids_of(name) == "speaker" else renamed)(key): value for key, value in table.items()}
        for name, table in source.items()
    }
    copy["utt2spk"] = {key: speaker(value) for key, value in copy["utt2spk"].items()}
    if "segments" in copy:
        copy["segments"] = {key: _first_word(renamed, value) for key, value in copy["segments"].items()}
    before = source.get("utt2speed", {})
    copy["utt2speed"] = {renamed(key): _speed_text(parse_speed(before.get(key, "1")) * factor, key) for key in source["utt2spk"]}
    for name in ("utt2dur", "reco2dur"):
        if name in copy:
            copy[name] = {key: f"{parse_duration(value) / factor:.4f}" for key, value in copy[name].items()}
    return copy


def _first_word(change: Callable[[str], str], text: str) -> str:
    word, *rest = text.split(maxsplit=1)
    return " ".join([change(word), *rest])


def _speed_text(speed: float, key: str) -> str:
    text = f"{speed:.6g}"
    try:
        parse_speed(text)
    except DataError as error:
        raise DataError(f"utterance {plain(key, 80)}: {error}") from None
    return text


def counts_of(tables: Tables) -> dict[str, int]:
    """Numbers of utterances and speakers, for the manifest."""
    utt2spk = tables["utt2spk"]
    return {"utterances": len(utt2spk), "speakers": len(set(utt2spk.values()))}
