"""Kaldi's binary records: a header, sizes that are checked before anything is read, and the numbers.

Kinds (tokens): FM DM matrices, FV DV vectors of float32 and float64, CM CM2 CM3 compressed matrices, and
vectors of int32, which have no token.  Nothing else is ever read: no pickles, no objects.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sv_toolkit.errors import ArchiveError, shown
from sv_toolkit.io import kaldi_compression as compression

BINARY = b"\0B"
INT32_VECTOR = "int32 vector"
MAX_HEADER = 32  # bytes that hold any header
_INT32_ENTRY = np.dtype([("size", "i1"), ("value", "<i4")])  # every entry is preceded by its width, 4
_DTYPES = {"FM": "<f4", "DM": "<f8", "FV": "<f4", "DV": "<f8"}
_TOKEN_OF = {(1, "f4"): "FV", (2, "f4"): "FM", (1, "f8"): "DV", (2, "f8"): "DM"}

ReadBytes = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Header:
    """What a record says about itself; `start` and `end` are offsets of its numbers in the file."""

    token: str
    rows: int
    columns: int | None
    start: int
    end: int
    scale: tuple[float, float] = (0.0, 0.0)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows,) if self.columns is None else (self.rows, self.columns)


def encode_record(key: str, array: np.ndarray, compression: str | None = None) -> bytes:
    """The bytes of one archive entry: the key, a space, and the record in Kaldi's binary form.

    Args:
        array: `(rows, columns)` or `(n,)`, float32 or float64; or `(n,)` int32.
        compression: "CM" (8 bits, scaled by column quantiles; for speech features), "CM2" (16 bits) or "CM3" (8 bits).

    Raises:
        ValueError: a key that is not one word, another kind of array, or numbers that are not finite to be compressed.
    """
    if len(key.split()) != 1 or key != key.strip():
        raise ValueError(f"an archive key must be one word, got {shown(key)}")
    return key.encode() + b" " + encode(array, compression)


def encode(array: np.ndarray, kind: str | None = None) -> bytes:
    """The record without its key; see `encode_record`."""
    if kind is not None:
        return BINARY + compression.compress(array, kind)
    if array.ndim == 1 and array.dtype == np.int32:
        entries = np.empty(len(array), _INT32_ENTRY)
        entries["size"], entries["value"] = 4, array
        return BINARY + struct.pack("<bi", 4, len(array)) + entries.tobytes()
    token = _TOKEN_OF.get((array.ndim, array.dtype.str[1:]))
    if token is None:
        raise ValueError(f"an archive holds float32 or float64 matrices and vectors and int32 vectors, not {array.dtype} {array.shape}")
    sizes = b"".join(struct.pack("<bi", 4, size) for size in array.shape)
    return BINARY + token.encode() + b" " + sizes + array.astype(_DTYPES[token], copy=False).tobytes()


def parse_header(head: bytes, offset: int) -> Header:
    """The header of the binary record whose first `MAX_HEADER` bytes are `head`, at `offset` of its file.

    Raises:
        ArchiveError: with the reason alone; the caller adds the place.
    """
    if head[:2] != BINARY:
        raise ArchiveError(not_a_record(head))
    if head[2:3] == b"\x04":
        size = _int(head, 3)
        return _checked(INT32_VECTOR, size, None, offset + 7, size * _INT32_ENTRY.itemsize)
    token_bytes, space, _ = head[2:10].partition(b" ")
    token = token_bytes.decode("latin-1")
    position = 3 + len(token_bytes)
    if space and token in _DTYPES:
        return _plain_header(token, head, position, offset)
    if space and token in compression.KINDS:
        return _compressed_header(token, head, position, offset)
    raise ArchiveError(f"unknown record type {shown(token)}; matrices (FM DM CM CM2 CM3) and vectors (FV DV, int32) are read")


def _plain_header(token: str, head: bytes, position: int, offset: int) -> Header:
    sizes = [_sized_int(head, position + 5 * i) for i in range(1 if token[1] == "V" else 2)]
    num_bytes = int(_DTYPES[token][2])
    for size in sizes:
        num_bytes *= size
    return _checked(token, sizes[0], sizes[1] if len(sizes) == 2 else None, offset + position + 5 * len(sizes), num_bytes)


def _compressed_header(token: str, head: bytes, position: int, offset: int) -> Header:
    if len(head) < position + 16:
        raise ArchiveError("truncated: the file ends inside the header")
    smallest, extent, rows, columns = struct.unpack_from("<ffii", head, position)
    num_bytes = compression.num_bytes(token, rows, columns)
    return _checked(token, rows, columns, offset + position + 16, num_bytes, (smallest, extent))


def _checked(token: str, rows: int, columns: int | None, start: int, num_bytes: int, scale: tuple[float, float] = (0.0, 0.0)) -> Header:
    if rows < 0 or (columns or 0) < 0:
        raise ArchiveError(
            f"damaged header: a {token} of {rows} x {columns} cannot be" if columns is not None else f"damaged header: {rows} entries"
        )
    return Header(token, rows, columns, start, start + num_bytes, scale)


def _sized_int(head: bytes, position: int) -> int:
    if head[position : position + 1] not in (b"\x04", b""):
        raise ArchiveError(f"damaged header: a size of {head[position]} bytes where 4 belong")
    return _int(head, position + 1)


def _int(head: bytes, position: int) -> int:
    if len(head) < position + 4:
        raise ArchiveError("truncated: the file ends inside the header")
    return int(struct.unpack_from("<i", head, position)[0])


def not_a_record(head: bytes) -> str:
    """What bytes that are no Kaldi record seem to be, and what to do."""
    if not head:
        return "truncated: nothing stands at this offset"
    if not head.strip(b"\0"):
        return "damaged: zero bytes where a record header belongs; the archive was not written to its end"
    for magic, name in (
        (b"PKL", "a pickled object"),
        (b"NPY", "a numpy file"),
        (b"AUDIO", "audio"),
        (b"RIFF", "audio"),
        (b"fLaC", "audio"),
    ):
        if head.startswith(magic):
            return f"unsupported record type {magic.decode()!r} ({name}); only Kaldi matrices and vectors are read, objects never"
    if head.startswith(b"\x1f\x8b"):
        return "gzip-compressed; gunzip the archive first"
    return f"not a Kaldi record: no header at this offset, the bytes there are {shown(head[:8].decode('latin-1'))}"


def decode_rows(header: Header, read: ReadBytes, start: int, stop: int) -> np.ndarray:
    """Rows `start` to `stop` (not included) of a matrix, or entries of a vector; reads only their bytes.

    Args:
        read: `read(offset, count)` returns exactly `count` bytes or raises.

    Returns:
        `(stop - start, columns)` or `(stop - start,)`; compressed matrices come as float32.
    """
    if header.token in compression.KINDS:
        return compression.decompress_rows(header, read, start, stop)
    if header.token == INT32_VECTOR:
        width = _INT32_ENTRY.itemsize
        entries = np.frombuffer(read(header.start + start * width, (stop - start) * width), _INT32_ENTRY)
        if (entries["size"] != 4).any():
            raise ArchiveError("damaged: an int32 vector has an entry that is not of 4 bytes")
        return entries["value"].astype(np.int32)
    dtype = np.dtype(_DTYPES[header.token])
    width = dtype.itemsize * (1 if header.columns is None else header.columns)
    flat = np.frombuffer(read(header.start + start * width, (stop - start) * width), dtype)
    return flat.reshape((stop - start, *header.shape[1:]))
