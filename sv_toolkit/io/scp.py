"""Script files: where in which archive every utterance's matrix or vector lies.

The forms of a value are Kaldi's: `feats.ark:1234`, `feats.ark:1234[0:99]` (rows, both ends included),
`feats.ark:1234[0:99,0:19]` (rows and columns) and `one.mat` (a file that holds a single record).
Pipes (`cmd |`) are never run.  A relative path is relative to the current directory, as in Kaldi.
"""

from __future__ import annotations

import re
from pathlib import Path
from sys import intern
from typing import NamedTuple

from sv_toolkit.errors import ArchiveError, shown
from sv_toolkit.io.tables import place, read_table

ROW_TOLERANCE = 3  # Kaldi's: segment ends are rounded, so a range may end up to this many rows late and is then cut
_MAX_DIGITS = 19  # of an offset
_RANGE = re.compile(r"(?:(\d{1,10}):(\d{1,10})|:)(?:,(?:(\d{1,10}):(\d{1,10})|:))?\Z", re.ASCII)

Ends = tuple[int, int]


class Location(NamedTuple):
    """Where a record lies.

    Attributes:
        path: the archive.
        offset: of the record's first byte after `key `; 0 for a file that holds one record without a key.
        rows: first and last row, both included; None for all.
        scp: the scp file, escaped for messages.
        line: number of the line in it.
        columns: first and last column, both included; None for all.
    """

    path: str
    offset: int
    rows: Ends | None
    scp: str
    line: int
    columns: Ends | None = None

    @property
    def where(self) -> str:
        """`feats.scp:3`."""
        return f"{self.scp}:{self.line}"


def read_scp(path: Path) -> dict[str, Location]:
    """Where the records of every id of the file at `path` lie.

    Raises:
        DataError: the file is missing, empty, unsorted, holds an id twice, ...; names the line.
        ArchiveError: a value is a pipe, or its offset or range is not one; names the line.
    """
    table = read_table(Path(path), names="utterance archive:offset")
    scp, lines = place(table.path), table.lines
    return {key: parse_location(value, scp, lines[key]) for key, value in table.items()}


def parse_location(value: str, scp: str, line: int) -> Location:
    """One value of line `line` of the file `scp`."""
    value = value.strip()
    if value.startswith("|") or value.endswith("|"):
        raise ArchiveError(
            f"{scp}:{line}: {shown(value)} is a pipe command, which is never run from an scp file; write its output to an archive"
        )
    rows = columns = None
    if value.endswith("]") and "[" in value:
        value, _, text = value[:-1].rpartition("[")
        rows, columns = _parse_range(text, f"{scp}:{line}")
    path, colon, tail = value.rpartition(":")
    if path and tail.isdecimal() and tail.isascii() and len(tail) <= _MAX_DIGITS:
        return Location(intern(path), int(tail), rows, scp, line, columns)
    if colon and "/" not in tail:
        raise ArchiveError(
            f"{scp}:{line}: offset {shown(tail)} of archive {shown(path)} is not a whole number of bytes; write the scp file again"
        )
    return Location(value, 0, rows, scp, line, columns)


def _parse_range(text: str, where: str) -> tuple[Ends | None, Ends | None]:
    match = _RANGE.match(text)
    rows = (int(match[1]), int(match[2])) if match and match[1] else None
    columns = (int(match[3]), int(match[4])) if match and match[3] else None
    if not match or any(ends and ends[0] > ends[1] for ends in (rows, columns)):
        raise ArchiveError(
            f"{where}: range {shown('[' + text + ']')}: expected [first:last] or [first:last,first:last], both ends included"
        )
    return rows, columns


def chosen_rows(location: Location, num_rows: int) -> range:
    """The rows of a record of `num_rows` that the line picks.

    Raises:
        ArchiveError: they lie outside; with the reason alone.
    """
    if location.rows is None:
        return range(num_rows)
    first, last = location.rows
    if first >= num_rows or last >= num_rows + ROW_TOLERANCE:
        raise ArchiveError(f"range [{first}:{last}] lies outside of the record's {num_rows} rows")
    return range(first, min(last + 1, num_rows))


def chosen_columns(location: Location, shape: tuple[int, ...]) -> range | None:
    """The columns that the line picks, None for all.

    Raises:
        ArchiveError: they lie outside; with the reason alone.
    """
    if location.columns is None:
        return None
    first, last = location.columns
    if len(shape) == 1:
        raise ArchiveError("a range of columns is asked for, the record is a vector")
    if last >= shape[1]:
        raise ArchiveError(f"range [{first}:{last}] lies outside of the record's {shape[1]} columns")
    return range(first, last + 1)
