"""What each file of a data directory looks like, and what its values mean."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sv_toolkit.errors import DataError, Problem, plain, shown
from sv_toolkit.io.tables import Form, Table, check_table, first_of, place

FORMS = {
    "wav.scp": Form(2, None, "recording path"),
    "segments": Form(4, 4, "utterance recording start end"),
    "utt2spk": Form(2, 2, "utterance speaker"),
    "spk2utt": Form(2, None, "speaker utterance utterance ..."),
    "spk2gender": Form(2, 2, "speaker m|f"),
    "utt2lang": Form(2, 2, "utterance language"),
    "utt2session": Form(2, 2, "utterance session"),
    "utt2keyword": Form(2, 2, "utterance keyword"),
    "utt2device": Form(2, 2, "utterance device"),
    "utt2date": Form(2, 2, "utterance YYYY-MM-DD|day-number"),
    "utt2speed": Form(2, 2, "utterance factor"),
    "utt2dur": Form(2, 2, "utterance seconds"),
    "utt2num_frames": Form(2, 2, "utterance number-of-frames"),
    "reco2file_and_channel": Form(3, 3, "recording file channel"),
    "feats.scp": Form(2, None, "utterance archive:offset"),
    "vad.scp": Form(2, None, "utterance archive:offset"),
}
BY_UTTERANCE = ("utt2spk", "utt2lang", "utt2session", "utt2keyword", "utt2device", "utt2date", "utt2speed", "utt2dur")
DERIVED = ("feats.scp", "vad.scp", "utt2num_frames")  # made by extraction; tables that describe the recordings are not among them
BASE_TABLES = ("wav.scp", "segments", *BY_UTTERANCE, "spk2gender", "reco2file_and_channel")
REQUIRED = ("wav.scp", "utt2spk")
_FOREIGN = re.compile(r"text|(utt|spk|reco)2\w+|cmvn\.scp", re.ASCII)  # tables of Kaldi's scripts that nothing here reads
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CHANNELS = {"A": 0, "B": 1}


@dataclass(frozen=True)
class Segment:
    """Part of a recording, `[start, end)` in seconds."""

    recording_id: str
    start: float
    end: float


def directory_problems(path: Path) -> list[Problem]:
    """Whether `path` is a directory at all."""
    if path.is_dir():
        return []
    what = "is a file, not a directory" if path.exists() else "no such data directory (does not exist)"
    return [Problem(place(path), what, f"a folder with {' and '.join(REQUIRED)} is needed")]


def load(path: Path) -> Table:
    """The table at `path`, in the form that its file name asks for."""
    table, problems = check(path)
    refuse(problems)
    return table


def check(path: Path) -> tuple[Table, list[Problem]]:
    """`io.tables.check_table` with the form that the file name asks for."""
    form = form_of(path.name)
    return check_table(path, min_fields=form.min_fields, max_fields=form.max_fields, names=form.names)


def form_of(name: str) -> Form:
    """How a line of the file `name` looks; a transcription may be empty."""
    return FORMS.get(name, Form(1 if name == "text" else 2))


def foreign_tables(path: Path) -> list[str]:
    """Tables of a data directory that nothing here reads, sorted: they are carried along and filtered like the others."""
    return sorted(file.name for file in path.iterdir() if file.name not in FORMS and _FOREIGN.fullmatch(file.name) and file.is_file())


def ids_of(name: str) -> str:
    """What the ids of a table are: "utterance", "speaker" or "recording"."""
    if name.startswith("spk2") or name == "cmvn.scp":
        return "speaker"
    return "recording" if name == "wav.scp" or name.startswith("reco2") else "utterance"


def refuse(problems: list[Problem]) -> None:
    """Raise DataError with the first of `problems`, if there is any."""
    if problems:
        raise DataError(first_of(problems))


def number(text: str, what: str, low: float = -math.inf, high: float = math.inf) -> float:
    """`text` as a finite decimal number in [low, high]; `what` names it in the DataError."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not (math.isfinite(value) and low <= value <= high):
        bounds = f" from {low:g} to {high:g}" if math.isfinite(high) else f" of at least {low:g}" if math.isfinite(low) else ""
        raise DataError(f"{what} must be a number{bounds}, got {shown(text)}")
    return value


def parse_segment(value: str) -> Segment:
    """A segment from 'recording start end'."""
    recording, start_text, end_text = value.split()
    start = number(start_text, "segment start (seconds)", 0.0)
    end = number(end_text, "segment end (seconds)")
    if end <= start:
        raise DataError(f"the segment ends at {end_text} s, before or at its start {start_text} s")
    return Segment(recording, start, end)


def parse_channel(value: str) -> int:
    """Channel, counted from 0, of 'file channel': A is 0, B is 1."""
    text = value.split()[1]
    if text in _CHANNELS:
        return _CHANNELS[text]
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 1000):
        raise DataError(f"channel must be A, B or a number from 0, got {shown(text)}")
    return int(text)


def parse_speed(value: str) -> float:
    """Factor by which the waveform is sped up when it is read."""
    return number(value, "speed factor", 0.1, 10.0)


def parse_duration(value: str) -> float:
    """Seconds, more than none."""
    seconds = number(value, "duration (seconds)")
    if seconds <= 0:
        raise DataError(f"duration (seconds) must be above 0, got {shown(value)}")
    return seconds


def parse_count(value: str) -> int:
    """A whole number of frames, at least 1."""
    if not (value.isascii() and value.isdigit() and 0 < len(value) < 19 and int(value) > 0):
        raise DataError(f"the number of frames must be a whole number from 1, got {shown(value)}")
    return int(value)


def parse_date(value: str) -> int:
    """A day as a number, later days larger: of 'YYYY-MM-DD', or a whole number as it stands (days since any one day)."""
    if value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    try:
        return date.fromisoformat(value if _DATE.fullmatch(value) else "").toordinal()
    except ValueError:
        raise DataError(f"a date must be YYYY-MM-DD or a whole number of days, got {shown(value)}") from None


def parse_gender(value: str) -> str:
    """`m` or `f`, as Kaldi writes them."""
    if value not in ("m", "f"):
        raise DataError(f"gender must be m or f, got {shown(value)}")
    return value


PARSERS: dict[str, Callable[[str], Any]] = {
    "segments": parse_segment,
    "reco2file_and_channel": parse_channel,
    "utt2speed": parse_speed,
    "utt2dur": parse_duration,
    "reco2dur": parse_duration,
    "utt2num_frames": parse_count,
    "utt2date": parse_date,
    "spk2gender": parse_gender,
}


def parse_values(table: Table) -> tuple[dict[str, Any], list[Problem]]:
    """The values of a table as what its file name says they are, and every value that is something else."""
    parse = PARSERS[table.path.name]
    values, problems = {}, []
    for key, value in table.items():
        try:
            values[key] = parse(value)
        except DataError as error:
            problems.append(Problem(table.where(key), str(error), f"sv-fix-data drops {plain(key, 60)}"))
    return values, problems


def is_pipe(value: str) -> bool:
    """True for an scp value that is a command ('cmd |', '| cmd') and not a path."""
    return value.startswith("|") or value.endswith("|")
