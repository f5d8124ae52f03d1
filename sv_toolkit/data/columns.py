"""Long lists of lines with a fixed number of words (trials, scores), read in blocks at C speed.

The words of a block come from one `split`; that every line has its share of them is made sure with array
operations on the block's bytes.  Only a block that fails is looked at line by line, for the message.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.errors import DataError, shown
from sv_toolkit.io.files import regular_file
from sv_toolkit.io.tables import BOM, looks_binary, place

logger = logging.getLogger("sv_toolkit")
BLOCK = 1 << 22  # bytes; small enough that the words of a block stay in the processor's cache


@dataclass(frozen=True)
class Block:
    """Some lines of a file: the number of the first, and the words of all, `num_columns` per line."""

    first_line: int
    words: list[bytes]
    num_columns: int

    def __len__(self) -> int:
        return len(self.words) // self.num_columns

    def column(self, index: int) -> list[bytes]:
        """The words of one column."""
        return self.words[index :: self.num_columns]


def read_blocks(path: Path, expected: dict[int, str], needs_newline: bool = True) -> Iterator[Block]:
    """The lines of `path`; the first one decides the number of columns.

    Args:
        expected: the allowed numbers of columns, and how a line then looks, for messages.
        needs_newline: refuse a last line without one.  Lists as published end without; a number that was cut is still a number.

    Raises:
        DataError: names the first line that is wrong: `path:line`.
    """
    first_line, num_columns = 1, 0
    for data in _whole_lines(path, needs_newline):
        if not num_columns:
            num_columns = _count_columns(path, data, expected)
        words = data.split()
        if not _is_regular(data, len(words), num_columns):
            raise DataError(_fault(path, data, first_line, num_columns, expected[num_columns]))
        block = Block(first_line, words, num_columns)
        yield block
        first_line += len(block)


def _whole_lines(path: Path, needs_newline: bool) -> Iterator[bytes]:
    where = place(path)
    if path.is_dir() or not path.exists():
        raise DataError(f"{where}: {'is a directory, a file is needed' if path.is_dir() else 'no such file'}")
    if not regular_file(path):
        raise DataError(f"{where}: is not a regular file")
    rest = b""
    with open(path, "rb") as stream:
        while data := stream.read(BLOCK):
            data = rest + data
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            if len(rest) > BLOCK:
                raise DataError(f"{where}: a line of more than {BLOCK} bytes; is this the right file?")
            if end:
                yield data[:end]
    if rest and not needs_newline:
        logger.warning("%s: no newline at the end; the last line is taken as whole: %s", where, shown(rest.decode("utf-8", "replace"), 60))
        yield rest + b"\n"
    elif rest:
        raise DataError(
            f"{where}: no newline at the end (last line {shown(rest.decode('utf-8', 'replace'), 40)}): the file may have been cut"
        )


def _count_columns(path: Path, data: bytes, expected: dict[int, str]) -> int:
    first = data[: data.index(b"\n")]
    num_columns = len(first.split())
    if num_columns not in expected or first.startswith(BOM) or looks_binary(first):
        raise DataError(_fault(path, data, 1, -1, " or ".join(repr(form) for form in expected.values())))
    return num_columns


def _is_regular(data: bytes, num_words: int, num_columns: int) -> bool:
    """True if every line holds `num_columns` words and nothing but them, blanks and the newline."""
    if num_words % num_columns or b"\r" in data:
        return False
    codes = np.frombuffer(data, np.uint8)
    is_blank = codes <= 32
    starts = np.flatnonzero(is_blank[:-1] & ~is_blank[1:]) + 1
    if not is_blank[0]:
        starts = np.concatenate([[0], starts])
    ends = np.flatnonzero(codes == 10)
    if len(starts) != num_words or len(ends) * num_columns != num_words:
        return False
    first, last = starts[::num_columns], starts[num_columns - 1 :: num_columns]  # words of every line, if all have as many
    return bool((last < ends).all() and (first[1:] > ends[:-1]).all())


def _fault(path: Path, data: bytes, first_line: int, num_columns: int, form: str) -> str:
    """What is wrong with the first bad line of `data`, in which no line has -1 columns."""
    if data.startswith(BOM):
        return f"{place(path, first_line)}: starts with a byte order mark (BOM); delete it"
    for number, raw in enumerate(data.split(b"\n")[:-1], first_line):
        where = place(path, number)
        if raw.endswith(b"\r"):
            return f"{where}: Windows line end (CRLF: a carriage return before the newline); sed -i 's/\\r$//' {place(path)}"
        if not raw.strip():
            return f"{where}: blank line; delete it"
        text = raw.decode("utf-8", "replace")
        if any(code < 32 and code != 9 for code in raw):
            return f"{where}: control characters in {shown(text, 40)}"
        if len(raw.split()) != num_columns:
            return f"{where}: expected {form!s}, got {len(raw.split())} fields (columns): {shown(text, 60)}"
    return f"{place(path)}: not a list of {form}"


class Indexer(dict[bytes, int]):
    """Word -> index in order of first appearance."""

    def __missing__(self, word: bytes) -> int:
        self[word] = index = len(self)
        return index

    def indices(self, words: list[bytes]) -> np.ndarray:
        """`(len(words),)` int32."""
        return np.fromiter(map(self.__getitem__, words), np.int32, len(words))

    def by_bytes(self) -> tuple[list[bytes], np.ndarray]:
        """The words sorted, and the place of each index among them, `(num_words,)` int32."""
        words = sorted(self)
        ranks = np.empty(len(words), np.int32)
        ranks[[self[word] for word in words]] = np.arange(len(words), dtype=np.int32)
        return words, ranks


class Lookup(dict[bytes, int]):
    """Word -> its place in a list, -1 for every other word."""

    @classmethod
    def of(cls, ids: list[str]) -> Lookup:
        """The places of `ids`."""
        return cls({key.encode(): i for i, key in enumerate(ids)})

    def __missing__(self, word: bytes) -> int:
        return -1

    def indices(self, words: list[bytes]) -> np.ndarray:
        """`(len(words),)` int32."""
        return np.fromiter(map(self.__getitem__, words), np.int32, len(words))


def with_end(ids: list[str], end: bytes = b" ") -> list[bytes]:
    """Ids as bytes with what follows them in a line."""
    return [key.encode() + end for key in ids]


def interleaved(*columns: list[bytes]) -> bytes:
    """Lines from the words of each column, which bring their own blanks."""
    words: list[bytes] = [b""] * (len(columns) * len(columns[0]))
    for position, column in enumerate(columns):
        words[position :: len(columns)] = column
    return b"".join(words)


def repeated(codes: np.ndarray) -> np.ndarray:
    """Positions of the numbers that stand at an earlier position already, in order."""
    if (np.diff(codes) > 0).all():
        return np.empty(0, np.int64)
    ordered = np.sort(codes)
    if not (ordered[1:] == ordered[:-1]).any():
        return np.empty(0, np.int64)
    order = np.argsort(codes, kind="stable")
    again = np.flatnonzero(codes[order][1:] == codes[order][:-1]) + 1
    return np.sort(order[again])
