"""One archive file: checked reads at any offset, and its entries in order."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit.errors import ArchiveError, plain
from sv_toolkit.io import kaldi_text
from sv_toolkit.io.kaldi_matrix import MAX_HEADER, Header, decode_rows, parse_header

_MAX_KEY = 1 << 16
_GZIP = b"\x1f\x8b"


class Ark:
    """An open archive.

    Bytes are read at offsets, not mapped: a file that another program cuts short is then an error and not the
    death of the process, and forked workers share the handle without sharing a position.

    Raises:
        ArchiveError: it cannot be opened; with the reason alone.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            status = os.stat(path)  # noqa: PTH116 (a str stays a str: this is called for every archive of a large scp file)
            if not stat.S_ISREG(status.st_mode):
                raise ArchiveError("not a regular file")
            self._handle = os.open(path, os.O_RDONLY)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise ArchiveError(_why_not_opened(path, error)) from None
        self.size = status.st_size

    def close(self) -> None:
        """Give the handle back."""
        os.close(self._handle)

    def read_some(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes; fewer at the end of the file."""
        return os.pread(self._handle, count, offset)

    def read_exactly(self, offset: int, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """`count` bytes as an array of their own."""
        data = np.empty(count, np.uint8)
        self.read_into(offset, data)
        return data

    def read_into(self, offset: int, out: np.ndarray[Any, Any]) -> None:
        """Fill a contiguous array with the bytes from `offset` on."""
        data = out.reshape(-1).view(np.uint8)
        filled = 0
        while filled < len(data):  # one call gives at most 2 GiB
            num = os.preadv(self._handle, [data[filled:].data], offset + filled)
            if not num:
                raise ArchiveError(f"truncated: {len(data)} bytes are needed, {filled} are there")
            filled += num

    def header(self, offset: int, head: bytes) -> Header:
        """The header of the binary record at `offset`, which begins with `head`; the file is large enough to hold it.

        Raises:
            ArchiveError: no header, or larger than the file; with the reason alone.
        """
        header = parse_header(head, offset)
        if header.end <= self.size:
            return header
        shape = " x ".join(map(str, header.shape))
        need, there = header.end - header.start, max(self.size - header.start, 0)
        raise ArchiveError(f"truncated: its header says {header.token} of size {shape}, {need} bytes, and the file holds {there} more")

    def is_boundary(self, offset: int) -> bool:
        """True if the file ends at `offset` or another entry seems to begin there: a key and a space."""
        if offset == self.size:
            return True
        count = 256
        while True:
            key, space, _ = self.read_some(offset, count).partition(b" ")
            if space or count > _MAX_KEY or len(key) < count:
                break
            count *= 16
        return bool(space) and _is_key(key)


def _is_key(key: bytes) -> bool:
    try:
        return key.decode("utf-8").isprintable() and bool(key)
    except UnicodeDecodeError:
        return False


def _why_not_opened(path: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        hint = (
            "" if path.startswith("/") else f"; the path is relative: it is looked up in the current directory, {plain(Path.cwd(), 1000)}"
        )
        return f"no such file{hint}"
    return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def read_ark(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Keys and arrays of an archive in the order of the file, in their own number type.

    Raises:
        ArchiveError: names the archive and the offset of the first entry that cannot be read.
    """
    offset = 0
    try:
        with contextlib.closing(Ark(str(path))) as ark:
            while offset < ark.size:
                key, record = _key_at(ark, offset)
                array, offset = _record_at(ark, record)
                yield key, array
    except ArchiveError as error:
        raise ArchiveError(f"{plain(path, 1000)}:{offset}: {error}") from None


def _key_at(ark: Ark, offset: int) -> tuple[str, int]:
    """The key at `offset` and the offset of its record."""
    head = ark.read_some(offset, _MAX_KEY)
    if head.startswith(_GZIP):
        raise ArchiveError("gzip-compressed; gunzip the archive first")
    key, space, _ = head.partition(b" ")
    if not space or not _is_key(key):
        raise ArchiveError("damaged: no entry (a key, a space and a record) begins here; the archive was cut or written over")
    return key.decode(), offset + len(key) + 1


def _record_at(ark: Ark, offset: int) -> tuple[np.ndarray[Any, Any], int]:
    head = ark.read_some(offset, MAX_HEADER)
    if kaldi_text.looks_like_text(head):
        return kaldi_text.read_text(ark.read_some, offset)
    header = ark.header(offset, head)
    return decode_rows(header, ark.read_exactly, 0, header.rows), header.end
