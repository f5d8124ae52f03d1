"""Script files: where in which archive every utterance's matrix or vector lies.

The forms of a value are Kaldi's: `feats.ark:1234`, `feats.ark:1234[0:99]` (rows, both ends included),
`feats.ark:1234[0:99,0:19]` (rows and columns) and `one.mat` (a file that holds a single record).
Pipes (`cmd |`) are never run.  A relative path is relative to the current directory, as in Kaldi.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from sys import intern
from typing import NamedTuple

import numpy as np

from sv_toolkit.errors import ArchiveError, shown
from sv_toolkit.io.ids import Ids
from sv_toolkit.io.table_arrays import read_places
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


class Locations(Mapping[str, Location]):
    """The places that an scp file lists, by id, as arrays; a `Location` is made when it is asked for.

    Attributes:
        ids: sorted by bytes; line i + 1 of the file is that of id i.
        codes, offsets: `(num_ids,)` which of `archives`, and `Location.offset`.
        ranges: rows and columns of the lines that pick some.
    """

    def __init__(
        self,
        scp: str,
        ids: Ids,
        codes: np.ndarray,
        offsets: np.ndarray,
        archives: list[str],
        ranges: dict[int, tuple[Ends | None, Ends | None]] | None = None,
    ) -> None:
        self.scp, self.ids, self.codes, self.offsets, self.archives = scp, ids, codes, offsets, archives
        self.ranges = ranges or {}

    def at(self, place: int) -> Location:
        """The location of id number `place`."""
        rows, columns = self.ranges.get(place, (None, None))
        return Location(self.archives[self.codes[place]], int(self.offsets[place]), rows, self.scp, place + 1, columns)

    def __getitem__(self, key: str) -> Location:
        place = self.ids.find(key)
        if place < 0:
            raise KeyError(key)
        return self.at(place)

    def __contains__(self, key: object) -> bool:
        return key in self.ids

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


def read_scp(path: Path, known: Ids | None = None) -> Locations:
    """Where the records of every id of the file at `path` lie.

    Args:
        known: ids that the file probably has, too; they are then held once.

    Raises:
        DataError: the file is missing, empty, unsorted, holds an id twice, ...; names the line.
        ArchiveError: a value is a pipe, or its offset or range is not one; names the line.
    """
    path = Path(path)
    found = read_places(path, known)
    if found is not None:
        ids, codes, offsets, archives = found
        return Locations(place(path), ids, codes, offsets, archives)
    table = read_table(path, names="utterance archive:offset")
    scp, lines = place(table.path), table.lines
    locations = [parse_location(value, scp, lines[key]) for key, value in table.items()]
    numbers = {archive: code for code, archive in enumerate(dict.fromkeys(location.path for location in locations))}
    return Locations(
        scp,
        Ids.of(table),
        np.array([numbers[location.path] for location in locations], np.int32),
        np.array([location.offset for location in locations], np.uint64),
        list(numbers),
        {i: (own.rows, own.columns) for i, own in enumerate(locations) if own.rows or own.columns},
    )


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
