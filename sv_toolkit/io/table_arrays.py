"""Kaldi's tables as arrays, for data directories of millions of utterances.

A file is read in pieces; a few passes over the bytes of a piece prove that it is clean and take it apart.  What they
cannot prove (a control character, an unsorted id, a value of another form) makes the function return None: the caller
then reads the file line by line (tables.py), which says what is wrong, where, and what to do.

Plain numpy: pyarrow's CSV reader reads the strings of the same million lines in 1.0 s where this takes 1.7 s with all checks, ids,
codes and offsets; the rest would still be ours to do, and the package takes 150 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sv_toolkit.io.files import regular_file
from sv_toolkit.io.ids import Ids
from sv_toolkit.io.tables import BOM, MAX_KEY_LENGTH

PIECE = 1 << 21  # bytes read at a time
NEWLINE, SPACE, COLON, ZERO = (ord(mark) for mark in "\n :0")
MAX_DIGITS = 18  # of a number that int64 holds for certain


@dataclass
class Piece:
    """Whole lines of a table.

    Attributes:
        data: their bytes.
        starts, blanks, ends: `(num_lines,)` where each line starts, where the blank after its key is, and where its newline is.
    """

    data: bytes
    codes: np.ndarray
    starts: np.ndarray
    blanks: np.ndarray
    ends: np.ndarray

    def keys(self) -> tuple[np.ndarray, np.ndarray]:
        """Bytes of all keys one after the other, and the lengths of the keys."""
        change = np.zeros(len(self.codes) + 1, np.int8)
        change[self.starts] = 1
        change[self.blanks] = -1
        return self.codes[np.cumsum(change[:-1], dtype=np.int8).view(bool)], self.blanks - self.starts

    def words(self, first: np.ndarray, end: np.ndarray) -> list[bytes]:
        """The bytes from `first` to `end` of every line."""
        data = self.data
        return [data[a:b] for a, b in zip(first.tolist(), end.tolist())]


def pieces(path: Path) -> Iterator[Piece | None]:
    """The lines of a clean table of two fields, piece by piece; None as soon as something is not clean."""
    if not regular_file(path):
        yield None
        return
    rest = b""
    with open(path, "rb") as stream:
        size = min(PIECE, path.stat().st_size + 1)
        while block := stream.read(size):
            data = rest + block
            cut = data.rfind(b"\n") + 1
            rest = data[cut:]
            if cut:
                yield _piece(data[:cut])
    if rest:  # no newline at the end
        yield None


def _piece(data: bytes) -> Piece | None:
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes == NEWLINE)
    if np.count_nonzero(codes < SPACE) != len(ends) or data.startswith(BOM) or not _is_printable(data, codes):
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    blanks = np.flatnonzero(codes == SPACE)
    if len(blanks) != len(ends) or (blanks <= starts).any() or (blanks >= ends - 1).any():
        found = _first_blanks(codes, blanks, starts, ends)
        if found is None:
            return None
        blanks = found
    if (blanks - starts).max(initial=0) > MAX_KEY_LENGTH:
        return None
    return Piece(data, codes, starts, blanks, ends)


def _is_printable(data: bytes, codes: np.ndarray) -> bool:
    if codes.max(initial=0) < 127:
        return True
    try:
        return data.decode("utf-8").replace("\n", "").isprintable()
    except UnicodeDecodeError:
        return False


def _first_blanks(codes: np.ndarray, blanks: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
    """The first blank of every line where values hold blanks, too; None where a line has none, begins or ends with one, or has two in a row."""
    place = np.searchsorted(blanks, starts)
    if place.max(initial=-1) >= len(blanks):
        return None
    first = blanks[place]
    if (first <= starts).any() or (first >= ends - 1).any() or (codes[first + 1] == SPACE).any() or (codes[ends - 1] == SPACE).any():
        return None
    return first


@dataclass
class _Keys:
    """The ids of a table as its pieces come in; where they are the known ones, those take their place."""

    known: Ids | None = None
    buffers: list[np.ndarray] = field(default_factory=list)
    lengths: list[np.ndarray] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        """The keys of the next piece."""
        buffer, lengths = piece.keys()
        self.buffers.append(buffer)
        self.lengths.append(lengths.astype(np.uint16))

    def finish(self) -> Ids | None:
        """The ids; None where they are not sorted, or not unique."""
        lengths = np.concatenate(self.lengths) if self.lengths else np.zeros(0, np.uint16)
        buffer = np.concatenate(self.buffers) if self.buffers else np.zeros(0, np.uint8)
        self.buffers.clear()
        found = Ids(buffer, np.cumsum(lengths, dtype=np.int64))
        if self.known is not None and found == self.known:
            return self.known
        return found if _is_sorted(found) and not _climbs(found) else None


def _is_sorted(ids: Ids, step: int = 1 << 15) -> bool:
    """Whether every id is above the one before it, by bytes."""
    for first in range(0, len(ids) - 1, step):
        padded = ids.padded(first, min(first + step + 1, len(ids)))
        if not (padded[:-1] < padded[1:]).all():
            return False
    return True


def _climbs(ids: Ids) -> bool:
    return b".." in ids.content() and any(".." in key.split("/") for key in ids if ".." in key)


def read_words(path: Path, known: Ids | None = None) -> tuple[Ids, np.ndarray, list[str]] | None:
    """A table whose values are ids that come again and again, such as utt2spk.

    Args:
        known: ids of another table; the result holds this very object where the ids are the same.

    Returns:
        Ids, the code `(num_ids,)` int32 of each value, and the values by code, sorted by bytes; None: see the module.
    """
    keys, number, codes = _Keys(known), _Numbers(), []
    for piece in pieces(path):
        if piece is None:
            return None
        keys.add(piece)
        codes.append(number.codes(piece.words(piece.blanks + 1, piece.ends)))
    if any(b" " in word for word in number):
        return None
    ids = keys.finish()
    if ids is None or not len(ids):
        return None
    order = sorted(number)
    rank = np.empty(len(order), np.int32)
    rank[[number[word] for word in order]] = np.arange(len(order), dtype=np.int32)
    return ids, rank[np.concatenate(codes)], [word.decode() for word in order]


class _Numbers(dict[bytes, int]):
    """Word -> number in order of first appearance."""

    def __missing__(self, word: bytes) -> int:
        self[word] = number = len(self)
        return number

    def codes(self, words: list[bytes]) -> np.ndarray:
        return np.fromiter(map(self.__getitem__, words), np.int32, len(words))


def read_integers(path: Path, known: Ids | None = None) -> tuple[Ids, np.ndarray] | None:
    """A table whose values are whole numbers, such as utt2num_frames: ids and `(num_ids,)` int64; None: see the module."""
    keys, values = _Keys(known), []
    for piece in pieces(path):
        if piece is None:
            return None
        keys.add(piece)
        numbers = _integers(piece.codes, piece.blanks + 1, piece.ends)
        if numbers is None:
            return None
        values.append(numbers)
    ids = keys.finish()
    return None if ids is None or not len(ids) else (ids, np.concatenate(values))


def _integers(codes: np.ndarray, first: np.ndarray, end: np.ndarray) -> np.ndarray | None:
    """The decimal numbers that stand from `first` to `end`; None where one is something else."""
    digits = end - first
    if (digits < 1).any() or digits.max(initial=1) > MAX_DIGITS:
        return None
    values = np.zeros(len(first), np.int64)
    for place in range(int(digits.max(initial=0))):
        is_there = digits > place
        digit = codes[np.where(is_there, end - 1 - place, end - 1)].astype(np.int64) - ZERO
        if ((digit < 0) | (digit > 9))[is_there].any():
            return None
        values += np.where(is_there, digit * 10**place, 0)
    return values


def read_places(path: Path, known: Ids | None = None) -> tuple[Ids, np.ndarray, np.ndarray, list[str]] | None:
    """An scp file whose values are all `archive:offset`.

    Returns:
        Ids, the code `(num_ids,)` int32 of each archive, the offsets `(num_ids,)` int64, and the archives by code; None:
        see the module.
    """
    keys, number, codes, offsets = _Keys(known), _Numbers(), [], []
    for piece in pieces(path):
        if piece is None:
            return None
        keys.add(piece)
        colons = np.flatnonzero(piece.codes == COLON)
        last = np.searchsorted(colons, piece.ends) - 1
        if len(colons) == 0 or (last < 0).any() or (colons[last] <= piece.blanks + 1).any():
            return None
        numbers = _integers(piece.codes, colons[last] + 1, piece.ends)
        if numbers is None:
            return None
        codes.append(number.codes(piece.words(piece.blanks + 1, colons[last])))
        offsets.append(numbers)
    if any(word.startswith(b"|") or word != word.strip() for word in number):
        return None
    ids = keys.finish()
    if ids is None or not len(ids):
        return None
    return ids, np.concatenate(codes), np.concatenate(offsets), [word.decode() for word in number]
