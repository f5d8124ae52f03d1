"""A data directory out of recordings: which of them can be used, what they are called, who is held out."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.data.layout import Entry, Found
from sv_toolkit.errors import AudioError, ConfigError, DataError, examples, plain
from sv_toolkit.io.audio_files import Header, check_flac_end, read_header
from sv_toolkit.io.conversion import can_convert, convert

NEEDED_FOR_TRIALS = 2  # utterances of a speaker who is held out: one against another
COMMAND = "sv-make-data"
Tables = dict[str, dict[str, str]]
_BY_UTTERANCE = {"session": "utt2session", "device": "utt2device", "date": "utt2date", "language": "utt2lang", "keyword": "utt2keyword"}
_UNFIT = re.compile(r"[^\w.+@=-]+")  # in an id: blanks part the fields of a table, slashes the folders of an archive
_log = logging.getLogger("sv_toolkit")


@dataclass(frozen=True)
class Recording:
    """An entry whose file can be read: its id, the file (another one where it was converted) and its header."""

    entry: Entry
    utterance_id: str
    speaker_id: str
    path: str
    header: Header

    @property
    def duration(self) -> float:
        """Seconds of the utterance; infinite where nothing says how long it is."""
        start, end = self.entry.start or 0.0, self.entry.end
        return (self.header.duration if end is None else min(end, self.header.duration)) - start


def named(entries: Sequence[Entry]) -> list[tuple[Entry, str, str]]:
    """Each entry with ids of its utterance, `speaker[-session]-name`, and its speaker; blanks become underscores.

    Raises:
        DataError: two utterances, or two speakers, would have one id.
    """
    found = [(entry, *_ids(entry, with_suffix=False)) for entry in entries]
    often = Counter(key for _, key, _ in found)
    found = [(entry, *_ids(entry, with_suffix=True)) if often[key] > 1 else (entry, key, speaker) for entry, key, speaker in found]
    _refuse_shared([(key, entry.where) for entry, key, _ in found], "utterances", "give the utterances other names")
    spoken = {(speaker, entry.parts["speaker"]) for entry, _, speaker in found}
    _refuse_shared(sorted(spoken), "speakers", "rename one of them")
    return found


def _ids(entry: Entry, with_suffix: bool) -> tuple[str, str]:
    speaker = _word(entry.parts["speaker"])
    name = Path(entry.name if with_suffix else Path(entry.name).with_suffix("")).as_posix()
    if "utterance" in entry.parts:
        name = "-".join(
            filter(None, [entry.parts.get("session", ""), entry.parts["utterance"], Path(entry.name).suffix if with_suffix else ""])
        )
    name = name.removeprefix(f"{entry.parts['speaker']}/").replace("/", "-")
    if entry.start is not None:
        name += f"-{round(1000 * entry.start):07d}"
    name = _word(name)
    return (name if name.startswith(f"{speaker}-") else f"{speaker}-{name}"), speaker


def _word(text: str) -> str:
    return _UNFIT.sub("_", text.strip()).strip(".") or "_"


def _refuse_shared(pairs: Sequence[tuple[str, str]], what: str, way_out: str) -> None:
    first: dict[str, str] = {}
    for key, where in pairs:
        if key in first:
            raise DataError(f"two {what} would be called {plain(key, 80)}: {plain(first[key])} and {plain(where)}; {way_out}")
        first[key] = where


def read_recordings(
    found: Found, converted: Path, channel: int | None = None, advance: Callable[[int], None] = lambda _: None
) -> tuple[list[Recording], dict[str, str]]:
    """The recordings whose headers can be read, sorted by id, and the names of the others, each with its reason.

    Args:
        converted: folder for FLAC files of what only ffmpeg reads.
        channel: the one to take of recordings with several, counted from 0.
        advance: told how many files were read.
    """
    recordings, left_out = [], dict(found.left_out)
    headers: dict[str, tuple[str, Header] | str] = {}
    for entry, key, speaker in named(found.entries):
        if entry.path not in headers:
            headers[entry.path] = _header_or_reason(entry, converted / f"{key}.flac", channel)
        header = headers[entry.path]
        if isinstance(header, str):
            left_out[entry.name] = header
        elif (entry.start or 0.0) >= header[1].duration:
            left_out[f"{entry.name} ({entry.where})"] = f"begins at {entry.start:g} s, the recording ends at {header[1].duration:.2f} s"
        else:
            recordings.append(Recording(entry, key, speaker, *header))
        advance(1)
    return sorted(recordings, key=lambda recording: recording.utterance_id), left_out


def _header_or_reason(entry: Entry, flac: Path, channel: int | None) -> tuple[str, Header] | str:
    try:
        _refuse_path(entry.path)
        path, header = entry.path, _read_header(entry.path)
        if header is None:
            convert(entry.path, flac)
            path, header = str(flac.absolute()), read_header(str(flac))
        check_flac_end(path)
    except AudioError as error:
        return str(error)
    if header.num_channels > 1 and channel is None:
        return f"has {header.num_channels} channels; --channel 0 takes the first"
    if channel is not None and header.num_channels > 1 and channel >= header.num_channels:
        return f"has {header.num_channels} channels, counted from 0: there is no channel {channel}"
    return path, header


def _read_header(path: str) -> Header | None:
    """The header; None for what ffmpeg may read: an unknown container, or an MP3 that does not say its length."""
    try:
        return read_header(path)
    except AudioError as error:
        if can_convert(path) and Path(path).is_file() and Path(path).stat().st_size and "truncated" not in str(error):
            return None
        raise


def _refuse_path(path: str) -> None:
    if not path.isprintable() or path != path.strip() or path.endswith("|"):  # surrogates of bytes that are no UTF-8 among them
        raise AudioError("its path cannot stand in a table (not UTF-8, control characters, blanks or | at its end); rename it")


def tables_of(recordings: Sequence[Recording], channel: int | None) -> Tables:
    """The tables of a data directory; one that only some of the utterances have a value for is left out, with a note."""
    keys = {recording.utterance_id: recording for recording in recordings}
    cut = any(recording.entry.start is not None or recording.entry.end is not None for recording in recordings)
    recording_of = _recording_ids(recordings) if cut else {key: key for key in keys}
    tables: Tables = {
        "wav.scp": {recording_of[key]: recording.path for key, recording in keys.items()},
        "utt2spk": {key: recording.speaker_id for key, recording in keys.items()},
    }
    if cut:
        tables["segments"] = {key: _segment(recording_of[key], recording) for key, recording in keys.items()}
    for part, table in _BY_UTTERANCE.items():
        _add(tables, table, {key: _word(r.entry.parts[part]) for key, r in keys.items() if part in r.entry.parts}, len(keys))
    _add(tables, "utt2dur", {key: f"{r.duration:.4f}" for key, r in keys.items() if np.isfinite(r.duration)}, len(keys))
    _add(tables, "spk2gender", _genders(recordings), len(set(tables["utt2spk"].values())))
    if channel is not None and any(recording.header.num_channels > 1 for recording in recordings):
        tables["reco2file_and_channel"] = {
            recording_of[key]: f"{recording_of[key]} {channel}" for key, r in keys.items() if r.header.num_channels > 1
        }
    return {name: dict(sorted(table.items())) for name, table in tables.items()}


def _add(tables: Tables, name: str, values: dict[str, str], wanted: int) -> None:
    if len(values) == wanted:
        tables[name] = values
    elif values:
        _log.info("%s is left out: known of %d of %d", name, len(values), wanted)


def _recording_ids(recordings: Sequence[Recording]) -> dict[str, str]:
    """Utterance -> recording: one id for each file, after its name, where utterances are parts of files."""
    paths = sorted({recording.path for recording in recordings})
    short = {path: _word(Path(path).stem) for path in paths}
    often = Counter(short.values())
    ids = {path: short[path] if often[short[path]] == 1 else _word(path.strip("/").replace("/", "-")) for path in paths}
    _refuse_shared([(key, path) for path, key in ids.items()], "recordings", "rename one of them")
    return {recording.utterance_id: ids[recording.path] for recording in recordings}


def _segment(recording_id: str, recording: Recording) -> str:
    start = recording.entry.start or 0.0
    end = start + recording.duration
    if not np.isfinite(end):
        raise DataError(f"{plain(recording.entry.where)}: the header does not say how long the recording is; give its end, or convert it")
    return f"{recording_id} {start:.4f} {end:.4f}"


def _genders(recordings: Sequence[Recording]) -> dict[str, str]:
    genders: dict[str, str] = {}
    for recording in recordings:
        gender = recording.entry.parts.get("gender")
        if gender is not None and genders.setdefault(recording.speaker_id, gender) != gender:
            raise DataError(f"{plain(recording.entry.where)}: speaker {plain(recording.speaker_id, 80)} is m in one place and f in another")
    return genders


@dataclass(frozen=True)
class Share:
    """So many speakers, or such a share of them."""

    number: int = 0
    share: float = 0.0

    def of(self, total: int) -> int:
        """Speakers; at least one where any were asked for."""
        return self.number or (max(round(self.share * total), 1) if self.share else 0)


def split_speakers(recordings: Sequence[Recording], dev: Share, test: Share, seed: int) -> dict[str, list[Recording]]:
    """Recordings by the name of their set; no speaker is in two.  One set, called "", where nobody is held out.

    The entries may say themselves who is where.  Otherwise speakers are drawn, those with two utterances or more before others:
    of one utterance no target trial can be made.

    Raises:
        DataError: too few speakers, or one who is in two sets.
        ConfigError: sets are asked for that the entries already say.
    """
    says = any("split" in recording.entry.parts for recording in recordings)
    if says and (dev.of(2) or test.of(2)):
        raise ConfigError("--dev and --test: the recordings say themselves which split they are of; leave these out")
    if says:
        set_of = _said(recordings)
    elif dev.of(2) or test.of(2):
        set_of = _drawn(recordings, dev, test, seed)
    else:
        return {"": list(recordings)}
    sets: dict[str, list[Recording]] = {}
    for name in ("train", "dev", "test"):
        own = [recording for recording in recordings if set_of[recording.speaker_id] == name]
        if own:
            sets[name] = own
    return sets


def _said(recordings: Sequence[Recording]) -> dict[str, str]:
    set_of: dict[str, str] = {}
    for recording in recordings:
        name = recording.entry.parts.get("split", "train")
        if set_of.setdefault(recording.speaker_id, name) != name:
            raise DataError(
                f"{plain(recording.entry.where)}: speaker {plain(recording.speaker_id, 80)} is in {set_of[recording.speaker_id]} and in {name}; "
                "a speaker belongs to one split"
            )
    return set_of


def _drawn(recordings: Sequence[Recording], dev: Share, test: Share, seed: int) -> dict[str, str]:
    often = Counter(recording.speaker_id for recording in recordings)
    speakers = sorted(often)
    num_dev, num_test = dev.of(len(speakers)), test.of(len(speakers))
    usable = [speaker for speaker in speakers if often[speaker] >= NEEDED_FOR_TRIALS]
    if num_dev + num_test > len(usable) or num_dev + num_test >= len(speakers):
        raise DataError(
            f"{num_dev + num_test} speakers are to be held out, of {len(speakers)} ({len(usable)} with {NEEDED_FOR_TRIALS} utterances or more); "
            "lower --dev or --test"
        )
    order = [usable[i] for i in np.random.default_rng(seed).permutation(len(usable))]
    return (
        dict.fromkeys(speakers, "train")
        | dict.fromkeys(order[:num_test], "test")
        | dict.fromkeys(order[num_test : num_test + num_dev], "dev")
    )


def skipped_text(left_out: dict[str, str]) -> str:
    """skipped.tsv: the files that are not in the data directory, each with its reason."""
    return "".join(f"{plain(name, 1000)}\t{COMMAND}\t{plain(reason, 1000)}\n" for name, reason in sorted(left_out.items()))


def summary_of(left_out: dict[str, str]) -> str:
    """How many files were left out, by kind, with an example of each.

    >>> summary_of({"a.txt": "not an audio file (format not recognised); convert it", "b.wav": "empty file (0 bytes)"})
    'not an audio file: 1 (a.txt), empty file: 1 (b.wav)'
    """
    kinds: dict[str, list[str]] = {}
    for name, reason in sorted(left_out.items()):
        kinds.setdefault(re.split(r"[(;:,]", reason)[0].strip(), []).append(name)
    return ", ".join(
        f"{kind}: {len(names)} ({examples(names, 2)})" for kind, names in sorted(kinds.items(), key=lambda item: -len(item[1]))
    )
