"""Archives of keyed matrices and vectors, read in any order through an scp file.

Every size is checked against the file before anything is allocated, and the key that stands before a record is
compared with those that the scp file lists: an index that mixes utterances up is an error, one that renames them is not.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, KeysView, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sv_toolkit.errors import ArchiveError, plain
from sv_toolkit.io import kaldi_text
from sv_toolkit.io.ark import Ark, read_ark
from sv_toolkit.io.files import whole_binary
from sv_toolkit.io.ids import Ids
from sv_toolkit.io.kaldi_matrix import BINARY, MAX_HEADER, Header, decode_rows, encode_record, not_a_record
from sv_toolkit.io.scp import Location, chosen_columns, chosen_rows, read_scp
from sv_toolkit.io.tables import write_table

__all__ = ["Location", "ScpReader", "check_finite", "encode_record", "read_ark", "read_scp", "read_vectors", "write_ark_scp"]

MAX_OPEN = 64  # archives open at a time
MAX_KNOWN = 100_000  # headers kept in memory, about 20 MB
_LOOK_BACK = 48  # bytes read before a key, to see whether a longer one stands there


class _Record(NamedTuple):
    """A record that was found whole: its header and what the scp line picks of it; `text` instead for the text form."""

    header: Header | None
    text: np.ndarray[Any, Any] | None
    first_row: int
    num_rows: int
    columns: slice | None
    num_columns: int | None


class ScpReader:
    """The records that an scp file lists, read one by one or a few rows at a time.

    Keeps at most `MAX_OPEN` archives open; can be sent to worker processes, where it opens its files anew.
    All methods raise ArchiveError, which names the utterance, the line of the scp file, the archive and the offset.

    Args:
        path: the scp file.
        known: ids that it probably lists, held once where it does.
        check_keys: refuse every record that the archive keeps under another key.  Kaldi does not: its scripts rename
            utterances in the scp file alone (copy_data_dir.sh, subsegment_data_dir.sh).  Without it a record is refused where
            the file lists its key for another place.
    """

    def __init__(self, path: Path, known: Ids | None = None, check_keys: bool = False) -> None:
        self.check_keys = check_keys
        self.path = Path(path)
        self.locations = read_scp(self.path, known)
        self._arks: OrderedDict[str, Ark] = OrderedDict()
        self._known: dict[int, _Record] = {}

    def keys(self) -> KeysView[str]:
        """The ids, sorted by bytes."""
        return self.locations.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.locations)

    def __contains__(self, key: object) -> bool:
        return key in self.locations

    def __len__(self) -> int:
        return len(self.locations)

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_arks": OrderedDict(), "_known": {}}

    def close(self) -> None:
        """Close all archives; reading opens them again."""
        while self._arks:
            self._arks.popitem()[1].close()

    @property
    def ids(self) -> Ids:
        """The ids, sorted by bytes; `..._at` methods take a place among them."""
        return self.locations.ids

    def where(self, key: str) -> str:
        """`feats.scp:3` of `key`."""
        return self.locations[key].where

    def _place(self, key: str) -> int:
        place = self.ids.find(key)
        if place < 0:
            raise KeyError(key)
        return place

    def shape(self, key: str) -> tuple[int, ...]:
        """`(rows, columns)` or `(n,)` from the header alone; only a record in text form is read whole."""
        return self.shape_at(self._place(key))

    def shape_at(self, place: int) -> tuple[int, ...]:
        """`shape` by place."""
        record = self._record(place)
        return (record.num_rows,) if record.num_columns is None else (record.num_rows, record.num_columns)

    def read(self, key: str) -> np.ndarray:
        """The whole record: `(rows, columns)` or `(n,)` float32, or int32 for a vector of whole numbers."""
        return self.rows_at(self._place(key), 0, None)

    def rows(self, key: str, start: int, stop: int | None) -> np.ndarray:
        """Rows `start` to `stop` (not included; None for the end) of a matrix, or entries of a vector; only these are read.

        Raises:
            ValueError: the range does not lie in the record.
        """
        return self.rows_at(self._place(key), start, stop)

    def rows_at(self, place: int, start: int, stop: int | None) -> np.ndarray:
        """`rows` by place."""
        record = self._record(place)
        stop = record.num_rows if stop is None else stop
        if not 0 <= start <= stop <= record.num_rows:
            raise ValueError(f"{plain(self.ids[place])} has {record.num_rows} rows, asked for {start} to {stop}")
        with self._naming(place):
            array = self._decode(self.locations.at(place), record, start + record.first_row, stop + record.first_row)
        return _as_float32(array if record.columns is None else array[:, record.columns])

    def plain_position(self, place: int) -> int:
        """Byte of the archive at which the rows of a record begin, where they lie there as float32 one after another; else -1."""
        record = self._record(place)
        if record.header is None or record.header.token != "FM" or record.columns is not None:
            return -1
        return record.header.start + record.first_row * (record.header.columns or 0) * 4

    def read_into(self, place: int, position: int, out: np.ndarray) -> None:
        """Fill `out` with the bytes from `position` on of the archive of a record; no other checks than that they are there."""
        locations = self.locations
        with self._naming(place):
            self._ark(locations.archives[locations.codes[place]]).read_into(position, out)

    def _decode(self, location: Location, record: _Record, start: int, stop: int) -> np.ndarray[Any, Any]:
        if record.header is not None:
            return decode_rows(record.header, self._ark(location.path).read_exactly, start, stop)
        return np.asarray(record.text)[start:stop]

    def _record(self, place: int) -> _Record:
        record = self._known.get(place)
        if record is None:
            with self._naming(place):
                record = self._find(self.ids[place], self.locations.at(place))
            if record.header is not None:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[place] = record
        return record

    def _find(self, key: str, location: Location) -> _Record:
        ark, offset = self._ark(location.path), location.offset
        if offset >= ark.size:
            raise ArchiveError(f"truncated: the offset lies at or past the end of the file ({ark.size} bytes)")
        begin = max(offset - len(key.encode()) - 1 - _LOOK_BACK, 0)
        data = ark.read_some(begin, offset - begin + MAX_HEADER)
        before, head = data[: offset - begin], data[offset - begin :]
        if offset:
            self._check_key(ark, key, before, head, location)
        if kaldi_text.looks_like_text(head):
            text, _ = kaldi_text.read_text(ark.read_some, offset)
            return _picked(location, text.shape, None, text)
        header = ark.header(offset, head)
        if offset and not ark.is_boundary(header.end):
            raise ArchiveError("damaged: no other entry begins where the record ends; the archive was cut in the middle and written on")
        return _picked(location, header.shape, header, None)

    def _is_listed_elsewhere(self, key: str, location: Location) -> bool:
        """Whether the scp file has another place for the key that the archive has here: then the index is wrong, not renamed."""
        other = self.locations.get(key)
        return other is not None and (other.path, other.offset) != (location.path, location.offset)

    def _check_key(self, ark: Ark, key: str, before: bytes, head: bytes, location: Location) -> None:
        found = self._key_before(before)
        if found == key:
            return
        if ark.read_some(0, 2) == b"\x1f\x8b":
            raise ArchiveError("the archive is gzip-compressed; gunzip it first")
        if not head.strip(b"\0"):
            raise ArchiveError(not_a_record(head))
        is_record = head[:2] == BINARY or kaldi_text.looks_like_text(head)
        if found and is_record and not self.check_keys and not self._is_listed_elsewhere(found, location):
            return
        advice = "the scp file and the archive do not belong together, or one of them is damaged: write both again"
        if head[:2] == BINARY and found:
            raise ArchiveError(f"the record there belongs to {plain(found)}, not to {plain(key)}; {advice}")
        raise ArchiveError(f"no record of {plain(key)} begins at this offset; {advice}")

    def _key_before(self, before: bytes) -> str:
        """The longest known id that ends where the record begins; else the last word there, if it is one.

        A known id may be the end of another (`u1`, `sp0.9-u1`), and before a key may stand any bytes.
        """
        if before[-1:] not in (b" ", b"\t"):
            return ""
        text = before[:-1].decode("utf-8", "surrogateescape")
        begin = len(text)
        while begin and text[begin - 1].isprintable() and text[begin - 1] != " ":
            begin -= 1
        return next((text[i:] for i in range(begin, len(text)) if text[i:] in self.locations), text[begin:])

    def _ark(self, path: str) -> Ark:
        ark = self._arks.get(path)
        if ark is None:
            ark = self._arks[path] = Ark(path)
            if len(self._arks) > MAX_OPEN:
                self._arks.popitem(last=False)[1].close()
        else:
            self._arks.move_to_end(path)
        return ark

    @contextlib.contextmanager
    def _naming(self, place: int) -> Iterator[None]:
        """Put the utterance, the line of the scp file, the archive and the offset in front of a reason."""
        try:
            yield
        except ArchiveError as error:
            location = self.locations.at(place)
            where = f"{location.where}: {plain(location.path, 1000)}:{location.offset}"
            raise ArchiveError(f"{plain(self.ids[place])}: {where}: {error}") from None


def _as_float32(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype == np.int32:
        return array
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, and `check_finite` names it
        return np.ascontiguousarray(array, np.float32)


def _picked(location: Location, shape: tuple[int, ...], header: Header | None, text: np.ndarray[Any, Any] | None) -> _Record:
    rows = chosen_rows(location, shape[0])
    columns = chosen_columns(location, shape)
    num_columns = None if len(shape) == 1 else len(columns) if columns is not None else shape[1]
    return _Record(header, text, rows.start, len(rows), slice(columns.start, columns.stop) if columns is not None else None, num_columns)


def check_finite(array: np.ndarray, key: str, where: str) -> None:
    """Raise ArchiveError where `array` of the utterance `key` holds NaN or infinite numbers."""
    if np.isfinite(array).all():
        return
    kind = "NaN" if np.isnan(array).any() else "Inf"
    raise ArchiveError(f"{plain(key)}: {where}: {int((~np.isfinite(array)).sum())} of {array.size} numbers are not finite ({kind})")


def read_vectors(path: Path) -> tuple[list[str], np.ndarray]:
    """All vectors of an scp file, for embeddings: the ids and `(n, dim)` float32.

    Raises:
        ArchiveError: a record is no vector, has another dimension than the first, or holds NaN or Inf.
    """
    reader = ScpReader(path)
    ids = list(reader)
    vectors = np.empty((len(ids), reader.shape(ids[0])[-1]), np.float32)
    for row, key in zip(vectors, ids):
        vector = reader.read(key)
        if vector.ndim != 1:
            raise ArchiveError(
                f"{plain(key)}: {reader.where(key)}: a vector is needed, this is a matrix of {vector.shape[0]} x {vector.shape[1]}"
            )
        if vector.size != row.size:
            raise ArchiveError(f"{plain(key)}: {reader.where(key)}: has {vector.size} dimensions, {plain(ids[0])} has {row.size}")
        check_finite(vector, key, reader.where(key))
        row[:] = vector
    reader.close()
    return ids, vectors


def write_ark_scp(
    directory: Path, name: str, arrays: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]], compression: str | None = None
) -> Path:
    """Write `name.ark` in the order given and `name.scp` sorted by bytes; the scp comes last and holds absolute paths.

    Returns:
        The scp file.

    Raises:
        ValueError: a key occurs twice.
    """
    ark, scp = Path(directory) / f"{name}.ark", Path(directory) / f"{name}.scp"
    absolute = os.path.abspath(ark)  # noqa: PTH100 (links stay links)
    entries: dict[str, str] = {}
    with whole_binary(ark) as stream:
        for key, array in arrays.items() if isinstance(arrays, Mapping) else arrays:
            if key in entries:
                raise ValueError(f"the key {plain(key)} occurs twice")
            entries[key] = f"{absolute}:{stream.tell() + len(key.encode()) + 1}"
            stream.write(encode_record(key, array, compression))
        scp.unlink(missing_ok=True)  # only now that all is written: no index of the old archive beside the new one
    write_table(scp, entries)
    return scp
