"""Archives of keyed matrices and vectors: random access through an scp file, in order through the ark alone.

Every size is checked against the file before anything is allocated, and the key that stands before a record is
compared with the one that the scp file promises: an index that points at another utterance is an error.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, KeysView, Mapping
from pathlib import Path

import numpy as np

from sv_toolkit.errors import ArchiveError, plain
from sv_toolkit.io import kaldi_text
from sv_toolkit.io.files import whole_binary
from sv_toolkit.io.kaldi_matrix import BINARY, MAX_HEADER, Header, decode_rows, encode_record, parse_header
from sv_toolkit.io.scp import ROW_TOLERANCE, Location, read_scp
from sv_toolkit.io.tables import write_table

__all__ = ["Location", "ScpReader", "check_finite", "encode_record", "read_ark", "read_scp", "read_vectors", "write_ark_scp"]

MAX_OPEN = 64
_LOOK_BACK = 48  # bytes read before the key, to see whether a longer key stands there


class Ark:
    """One archive, open for reading at any offset."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.size = os.fstat(self._handle).st_size
        if not os.path.isfile(path):
            self.close()
            raise OSError(0, "is not a regular file")

    def close(self) -> None:
        os.close(self._handle)

    def read_some(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes; fewer at the end of the file."""
        return os.pread(self._handle, count, offset)

    def read_exactly(self, offset: int, count: int) -> bytes:
        data = os.pread(self._handle, count, offset)
        while len(data) < count:  # one call returns at most 2 GiB
            more = os.pread(self._handle, count - len(data), offset + len(data))
            if not more:
                raise ArchiveError(f"truncated: {count} bytes are needed, {len(data)} are there")
            data += more
        return data

    def header(self, offset: int, head: bytes | None = None) -> Header:
        """The header of the binary record at `offset`, whose size the file can hold."""
        header = parse_header(head if head is not None else self.read_some(offset, MAX_HEADER), offset)
        if header.end > self.size:
            shape = " x ".join(map(str, header.shape))
            raise ArchiveError(
                f"truncated: its header says {header.token} of {shape}, {header.end - header.start} bytes, "
                f"and the file holds {max(self.size - header.start, 0)} more"
            )
        return header


class ScpReader:
    """The records that an scp file lists, read one by one or a few rows at a time.

    Keeps at most `MAX_OPEN` archives open; can be sent to worker processes, where it opens its files anew.

    Args:
        path: the scp file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.locations = read_scp(self.path)
        self._arks: OrderedDict[str, Ark] = OrderedDict()

    def keys(self) -> KeysView[str]:
        return self.locations.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.locations)

    def __contains__(self, key: object) -> bool:
        return key in self.locations

    def __len__(self) -> int:
        return len(self.locations)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "locations": self.locations, "_arks": OrderedDict()}

    def close(self) -> None:
        """Close all archives; reading opens them again."""
        while self._arks:
            self._arks.popitem()[1].close()

    def where(self, key: str) -> str:
        """`feats.scp:3` of `key`."""
        return self.locations[key].where

    def shape(self, key: str) -> tuple[int, ...]:
        """`(rows, columns)` or `(n,)` from the header alone (a record in text form is read whole)."""
        with self._named_errors(key) as location:
            record = self._open_record(key, location)
            rows, columns = _chosen(location, record.shape)
            return (len(rows),) if columns is None else (len(rows), len(columns))

    def read(self, key: str) -> np.ndarray:
        """The whole record, `(rows, columns)` or `(n,)` float32 (int32 for vectors of whole numbers)."""
        return self._read(key, None, None)

    def rows(self, key: str, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` (not included), `(stop - start, columns)`; only these are read and decoded.

        Raises:
            ValueError: the range does not lie in the matrix.
        """
        return self._read(key, start, stop)

    def _read(self, key: str, start: int | None, stop: int | None) -> np.ndarray:
        with self._named_errors(key) as location:
            record = self._open_record(key, location)
            rows, columns = _chosen(location, record.shape)
            if start is None or stop is None:
                start, stop = 0, len(rows)
            elif not 0 <= start <= stop <= len(rows):
                raise ValueError(f"{plain(key)} has {len(rows)} rows, asked for {start} to {stop}")
            array = record.rows(rows.start + start, rows.start + stop)
            if columns is not None and columns != range(record.shape[1]):
                array = array[:, columns.start : columns.stop]
            return array if array.dtype == np.int32 else _own(array)

    def _open_record(self, key: str, location: Location) -> _Binary | _Text:
        ark = self._ark(location.path)
        stored = location.offset - len(key.encode()) - 1
        begin = max(stored - _LOOK_BACK, 0)
        data = ark.read_some(begin, location.offset - begin + MAX_HEADER) if location.offset <= ark.size else b""
        before, head = data[: location.offset - begin], data[location.offset - begin :]
        if location.offset > ark.size or not head:
            raise ArchiveError(f"truncated: the offset lies at or past the end of the file ({ark.size} bytes)")
        if location.offset:
            self._check_key(key, before, head)
        if head[:2] != BINARY and kaldi_text.looks_like_text(head):
            return _Text(ark, location.offset)
        return _Binary(ark, location.offset, head)

    def _check_key(self, key: str, before: bytes, head: bytes) -> None:
        found = self._key_before(before)
        if found == key:
            return
        if head[:2] == BINARY and found is not None:
            raise ArchiveError(
                f"the record there belongs to {plain(found)}, not to {plain(key)}; the scp file is not of this archive: write both again"
            )
        raise ArchiveError(
            "no record of this utterance begins at this offset; the scp file is not of this archive, or one of them is damaged"
        )

    def _key_before(self, before: bytes) -> str | None:
        """The longest known id that ends where the record begins; else the last word there.

        A known id may be the end of another (`u1`, `sp0.9-u1`), and what stands before a key may be any bytes.
        """
        if before[-1:] not in (b" ", b"\t"):
            return None
        word = before[:-1].replace(b"\n", b" ").split(b" ")[-1]
        text = word.decode("utf-8", "surrogateescape")
        known = next((text[i:] for i in range(len(text)) if text[i:] in self.locations), None)
        printable = text[next((i for i in range(len(text), 0, -1) if not text[i - 1].isprintable()), 0) :]
        return known or printable or None

    def _ark(self, path: str) -> Ark:
        if path in self._arks:
            self._arks.move_to_end(path)
            return self._arks[path]
        try:
            ark = Ark(path)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise ArchiveError(_why_not_opened(path, error)) from None
        self._arks[path] = ark
        if len(self._arks) > MAX_OPEN:
            self._arks.popitem(last=False)[1].close()
        return ark

    @contextlib.contextmanager
    def _named_errors(self, key: str) -> Iterator[Location]:
        location = self.locations[key]
        try:
            yield location
        except ArchiveError as error:
            raise ArchiveError(f"{plain(key)}: {location.where}: {plain(location.path, 1000)}:{location.offset}: {error}") from None


class _Binary:
    def __init__(self, ark: Ark, offset: int, head: bytes) -> None:
        self.ark, self.header = ark, ark.header(offset, head)
        self.shape = self.header.shape

    def rows(self, start: int, stop: int) -> np.ndarray:
        return decode_rows(self.header, self.ark.read_exactly, start, stop)


class _Text:
    def __init__(self, ark: Ark, offset: int) -> None:
        self.array, self.end = kaldi_text.read_text(ark.read_some, offset)
        self.shape = self.array.shape

    def rows(self, start: int, stop: int) -> np.ndarray:
        return self.array[start:stop]


def _own(array: np.ndarray) -> np.ndarray:
    """float32, contiguous, and no view of bytes that cannot be written."""
    return np.array(array, np.float32, order="C") if not array.flags.writeable or array.dtype != np.float32 else np.ascontiguousarray(array)


def _why_not_opened(path: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        hint = (
            "" if path.startswith("/") else f"; the path is relative: it is looked up in the current directory, {plain(os.getcwd(), 1000)}"
        )
        return f"no such file{hint}"
    return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _chosen(location: Location, shape: tuple[int, ...]) -> tuple[range, range | None]:
    """Rows and columns that the range of the scp line picks."""
    rows = range(shape[0])
    if location.rows is not None:
        first, last = location.rows
        if first >= shape[0] or last >= shape[0] + ROW_TOLERANCE:
            raise ArchiveError(f"range [{first}:{last}] lies outside of the {shape[0]} rows")
        rows = range(first, min(last + 1, shape[0]))
    if len(shape) == 1:
        if location.columns is not None:
            raise ArchiveError("a range of columns is asked of a vector")
        return rows, None
    columns = range(shape[1])
    if location.columns is not None:
        first, last = location.columns
        if last >= shape[1]:
            raise ArchiveError(f"range [{first}:{last}] lies outside of the {shape[1]} columns")
        columns = range(first, last + 1)
    return rows, columns


def check_finite(array: np.ndarray, key: str, where: str) -> None:
    """Raise ArchiveError where `array` holds NaN or infinite numbers."""
    if not np.isfinite(array).all():
        kind = "NaN" if np.isnan(array).any() else "Inf"
        count = int((~np.isfinite(array)).sum())
        raise ArchiveError(f"{plain(key)}: {where}: {count} of {array.size} numbers are not finite ({kind})")


def read_vectors(path: Path) -> tuple[list[str], np.ndarray]:
    """All vectors of an scp file, for embeddings: the ids and `(n, dim)` float32.

    Raises:
        ArchiveError: a record is no vector, has another dimension than the first, or holds NaN or Inf.
    """
    reader = ScpReader(path)
    ids = list(reader.keys())
    first = reader.read(ids[0])
    vectors = np.empty((len(ids), first.size), np.float32)
    for i, key in enumerate(ids):
        vector = reader.read(key)
        if vector.ndim != 1:
            raise ArchiveError(
                f"{plain(key)}: {reader.where(key)}: a vector is needed, this is a matrix of {vector.shape[0]} x {vector.shape[1]}"
            )
        if vector.size != vectors.shape[1]:
            raise ArchiveError(f"{plain(key)}: {reader.where(key)}: has {vector.size} dimensions, {plain(ids[0])} has {vectors.shape[1]}")
        vectors[i] = vector
    if not np.isfinite(vectors).all():
        worst = ids[int(np.argmin(np.isfinite(vectors).all(axis=1)))]
        check_finite(reader.read(worst), worst, reader.where(worst))
    reader.close()
    return ids, vectors


def read_ark(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Keys and arrays of an archive in the order of the file, in their own number type.

    Raises:
        ArchiveError: names the archive and the offset of the first entry that cannot be read.
    """
    try:
        ark = Ark(str(path))
    except OSError as error:
        raise ArchiveError(f"{plain(path, 1000)}: {_why_not_opened(str(path), error)}") from None
    with contextlib.closing(ark):
        offset = 0
        while offset < ark.size:
            try:
                key, offset_of_record = _key_at(ark, offset)
                array, offset = _record_at(ark, offset_of_record)
            except ArchiveError as error:
                raise ArchiveError(f"{plain(path, 1000)}:{offset}: {error}") from None
            yield key, array


def _key_at(ark: Ark, offset: int) -> tuple[str, int]:
    head = ark.read_some(offset, 1 << 14)
    if head.startswith(b"\x1f\x8b"):
        raise ArchiveError("gzip-compressed; gunzip the archive first")
    key, space, _ = head.partition(b" ")
    try:
        name = key.decode("utf-8")
    except UnicodeDecodeError:
        name = ""
    if not space or not name or not name.isprintable():
        raise ArchiveError("no entry begins here: a key and a space were expected; the archive is damaged or was cut")
    return name, offset + len(key) + 1


def _record_at(ark: Ark, offset: int) -> tuple[np.ndarray, int]:
    head = ark.read_some(offset, MAX_HEADER)
    if head[:2] != BINARY and kaldi_text.looks_like_text(head):
        return kaldi_text.read_text(ark.read_some, offset)
    header = ark.header(offset, head)
    return decode_rows(header, ark.read_exactly, 0, header.rows).copy(), header.end


def write_ark_scp(
    directory: Path, name: str, arrays: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]], compression: str | None = None
) -> Path:
    """Write `name.ark` in the order given and `name.scp` sorted by bytes; the scp comes last and holds absolute paths.

    Raises:
        ValueError: a key occurs twice.
    """
    ark, scp = Path(directory) / f"{name}.ark", Path(directory) / f"{name}.scp"
    entries: dict[str, str] = {}
    scp.unlink(missing_ok=True)  # while the archive changes there is no index of the old one
    with whole_binary(ark) as stream:
        for key, array in arrays.items() if isinstance(arrays, Mapping) else arrays:
            if key in entries:
                raise ValueError(f"the key {plain(key)} occurs twice")
            entries[key] = f"{os.path.abspath(ark)}:{stream.tell() + len(key.encode()) + 1}"
            stream.write(encode_record(key, array, compression))
    write_table(scp, entries)
    return scp
