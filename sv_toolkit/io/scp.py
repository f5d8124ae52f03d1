"""Script files: where in which archive every utterance's matrix or vector lies.

The forms of a value are Kaldi's: `feats.ark:1234`, `feats.ark:1234[0:99]` (rows, both ends included),
`feats.ark:1234[0:99,0:19]` (rows and columns) and `one.mat` (a file that holds a single record).
Pipes (`cmd |`) are never run.  A relative path is relative to the current directory, as in Kaldi.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sv_toolkit.errors import ArchiveError, shown
from sv_toolkit.io.tables import place, read_table

ROW_TOLERANCE = 3  # Kaldi's: segment ends are rounded, so a range may end up to this many rows late and is cut
_OFFSET = re.compile(r"(.+):(\d{1,19})\Z", re.ASCII | re.DOTALL)
_RANGE = re.compile(r"(?:(\d{1,10}):(\d{1,10})|:)(?:,(?:(\d{1,10}):(\d{1,10})|:))?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a record lies.

    Attributes:
        path: the archive.
        offset: of the record's first byte after `key `; 0 for a file that holds one record without a key.
        rows: first and last row, both included; None for all.
        where: line of the scp file, `feats.scp:3`.
        columns: first and last column, both included; None for all.
    """

    path: str
    offset: int
    rows: tuple[int, int] | None
    where: str
    columns: tuple[int, int] | None = None


def read_scp(path: Path) -> dict[str, Location]:
    """Where the records of every id of the file at `path` lie.

    Raises:
        DataError: the file is missing, empty, unsorted, holds an id twice, ...; names the line.
        ArchiveError: a value is a pipe, or its offset or range is not one; names the line.
    """
    table = read_table(Path(path), names="utterance archive:offset")
    where = place(table.path)
    lines = table.lines
    return {key: parse_location(value, f"{where}:{lines[key]}") for key, value in table.items()}


def parse_location(value: str, where: str) -> Location:
    """One value of an scp file; `where` is its `file:line` for messages."""
    value = value.strip()
    if "|" in (value[:1], value[-1:]):
        raise ArchiveError(
            f"{where}: {shown(value)} is a pipe command; commands in scp files are never run: write its output to an archive"
        )
    rest, rows, columns = _split_range(value, where)
    match = _OFFSET.match(rest)
    if match:
        return Location(match[1], int(match[2]), rows, where, columns)
    path, colon, tail = rest.rpartition(":")
    if colon and "/" not in tail:
        raise ArchiveError(
            f"{where}: offset {shown(tail)} of archive {shown(path)} is not a whole number of bytes; write the scp file again"
        )
    return Location(rest, 0, rows, where, columns)


def _split_range(value: str, where: str) -> tuple[str, tuple[int, int] | None, tuple[int, int] | None]:
    if not value.endswith("]") or "[" not in value:
        return value, None, None
    rest, _, text = value[:-1].rpartition("[")
    match = _RANGE.match(text)
    ends = [(int(match[i]), int(match[i + 1])) if match[i] else None for i in (1, 3)] if match else []
    if not match or any(end and end[0] > end[1] for end in ends):
        raise ArchiveError(
            f"{where}: range {shown('[' + text + ']')}: expected [first:last] or [first:last,first:last], both ends included"
        )
    return rest, ends[0], ends[1]
