"""Where recordings lie and what their places say: a pattern over the paths of a folder, or a table with a row for each."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sv_toolkit.data.forms import number, parse_date
from sv_toolkit.errors import ConfigError, DataError, plain, shown
from sv_toolkit.io.tables import place

DEFAULT_PATTERN = "{speaker}/**"
PARTS = ("speaker", "utterance", "session", "device", "date", "gender", "language", "keyword", "split")
SPLITS = ("train", "dev", "test")
# Names of columns, in lower case; the second and further ones are those of corpora that people have.
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "wav", "audio"),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id", "client_id"),
    "utterance": ("utterance", "utterance_id", "utt", "utt_id"),
    "session": ("session", "session_id"),
    "device": ("device", "microphone"),
    "date": ("date", "day"),
    "gender": ("gender", "sex"),
    "language": ("language", "lang", "locale"),
    "keyword": ("keyword",),
    "split": ("split", "subset"),
    "start": ("start", "start_time"),
    "end": ("end", "end_time"),
}
_GENDERS = {"m": "m", "male": "m", "f": "f", "female": "f"}
_PIECE = re.compile(r"\{(\w*)\}|(\*\*)|(\*)")
MAX_TABLE_BYTES = 1 << 30


@dataclass(frozen=True)
class Entry:
    """One utterance before it has an id.

    Attributes:
        path: absolute, of the audio file.
        name: path relative to where the search began, for messages and ids.
        where: `list.csv:3`, or the name again.
        parts: what is known of it, by the names in `PARTS`; nothing is empty.
        start, end: part of the recording, seconds; None for its beginning and its end.
    """

    path: str
    name: str
    where: str
    parts: Mapping[str, str]
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Found:
    """Entries, and the files that are none: name -> why."""

    entries: list[Entry]
    left_out: dict[str, str]


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression with a group for each named part.

    `{speaker}` is any text without a slash, as short as possible; `*` the same without a name; `**` any text.  A part that
    stands twice must be the same text both times.

    Raises:
        ConfigError: an unknown part, or none for the speaker.
    """
    pieces, end, seen = [], 0, set()
    for found in _PIECE.finditer(pattern):
        pieces.append(re.escape(pattern[end : found.start()]))
        end = found.end()
        name, anything, _ = found.groups()
        if anything:
            pieces.append(".*")
        elif name is None:
            pieces.append("[^/]*?")
        elif name not in PARTS:
            raise ConfigError(f"--pattern: unknown part {shown(name)}; known: {', '.join(PARTS)}")
        else:
            pieces.append(f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)")
            seen.add(name)
    if "speaker" not in seen:
        raise ConfigError(
            f"--pattern {shown(pattern)} says nothing about the speaker; an example: {{speaker}}/{{session}}/{{utterance}}.wav"
        )
    return re.compile("".join([*pieces, re.escape(pattern[end:])]), re.DOTALL)


def entries_of_folder(folder: Path, pattern: str, without: Collection[Path] = ()) -> Found:
    """Every file below `folder`, in the order of their paths; links to folders are followed once.

    Args:
        without: folders that are passed over, such as the output.

    Raises:
        DataError: the folder is not there, or no path fits the pattern.
    """
    if not folder.is_dir():
        what = "is a file; a folder, or a table .csv or .tsv, is needed" if folder.exists() else "no such folder"
        raise DataError(f"{place(folder)}: {what}")
    expression, entries, left_out = compile_pattern(pattern), [], {}
    names = sorted(_files(folder, {path.resolve() for path in without}))
    for name in names:
        found = expression.fullmatch(name)
        if any(part.startswith(".") for part in name.split("/")):
            left_out[name] = "a hidden file"
        elif found is None:
            left_out[name] = f"does not fit the pattern {pattern}"
        else:
            entries.append(Entry(os.path.abspath(folder / name), name, name, found.groupdict()))  # noqa: PTH100 - links stay links
    if not entries:
        hint = f", the first is {shown(names[0])}" if names else ""
        raise DataError(f"{place(folder)}: none of {len(names)} files fits the pattern {pattern}{hint}; give another --pattern")
    return Found(entries, left_out)


def _files(folder: Path, without: set[Path]) -> Iterator[str]:
    seen: set[Path] = set()
    for current, folders, files in os.walk(folder, followlinks=True):
        resolved = Path(current).resolve()
        if resolved in without or resolved in seen:
            folders.clear()
            continue
        seen.add(resolved)
        for file in files:
            yield (Path(current) / file).relative_to(folder).as_posix()


def entries_of_table(path: Path, root: Path | None = None) -> tuple[Found, list[str]]:
    """The rows of a table with a head line, separated by tabs, semicolons or commas; and the columns that are not used.

    Args:
        root: folder that relative paths start from; None: that of the table.

    Raises:
        DataError: with file and line.
    """
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{place(path)}: is empty; a head line with path and speaker is needed")
    column_of, unused = _columns(path, [cell.strip() for cell in rows[0][1]])
    base = root if root is not None else path.parent
    entries = [_entry(place(path, line), cells, column_of, base) for line, cells in rows[1:] if any(cell.strip() for cell in cells)]
    if not entries:
        raise DataError(f"{place(path)}: has no rows")
    return Found(entries, {}), unused


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row."""
    if not path.is_file():
        raise DataError(f"{place(path)}: no such table")
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise DataError(f"{place(path)}: {path.stat().st_size} bytes, a table has at most {MAX_TABLE_BYTES}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{place(path)}: not UTF-8 text (byte {error.start})") from None
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max("\t;,", key=head.count), strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{place(path, reader.line_num)}: not a table: {plain(error)}") from None


def _columns(path: Path, head: list[str]) -> tuple[dict[str, int], list[str]]:
    lower = [name.lower() for name in head]
    column_of = {}
    for part, names in COLUMNS.items():
        found = [lower.index(name) for name in names if name in lower]
        if found:
            column_of[part] = found[0]
    for part in ("path", "speaker"):
        if part not in column_of:
            raise DataError(
                f"{place(path, 1)}: no column {part} (or {', '.join(COLUMNS[part][1:])}); the columns are {', '.join(map(plain, head))}"
            )
    return column_of, [name for i, name in enumerate(head) if i not in column_of.values()]


def _entry(where: str, cells: list[str], column_of: Mapping[str, int], base: Path) -> Entry:
    values = {part: cells[column].strip() for part, column in column_of.items() if column < len(cells) and cells[column].strip()}
    for part in ("path", "speaker"):
        if part not in values:
            raise DataError(f"{where}: no {part}")
    try:
        start, end = _time(values, "start"), _time(values, "end")
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    if end is not None and end <= (start or 0.0):
        raise DataError(f"{where}: ends at {end:g} s, before or at its start {start or 0.0:g} s")
    file = values["path"]
    parts = {name: values[name] for name in PARTS if name in values}
    return Entry(os.path.abspath(base / file), file, where, parts, start, end)  # noqa: PTH100


def _time(values: Mapping[str, str], name: str) -> float | None:
    return number(values[name], f"{name} (seconds)", 0.0) if name in values else None


def checked_parts(entries: list[Entry]) -> list[Entry]:
    """The entries with genders as m or f; of other words there is none.

    Raises:
        DataError: a date or a split is no such thing, with its place.
    """
    return [replace(entry, parts=_checked(entry)) for entry in entries]


def _checked(entry: Entry) -> dict[str, str]:
    parts = dict(entry.parts)
    gender = _GENDERS.get(parts.pop("gender", "").lower())
    if gender:
        parts["gender"] = gender
    if "date" in parts:
        try:
            parse_date(parts["date"])
        except DataError as error:
            raise DataError(f"{plain(entry.where)}: {error}") from None
    if parts.get("split", "train") not in SPLITS:
        raise DataError(f"{plain(entry.where)}: split must be one of {', '.join(SPLITS)}, got {shown(parts['split'])}")
    return parts
