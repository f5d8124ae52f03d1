"""Kaldi's binary records: a header, sizes that are checked before anything is read, and the numbers.

Kinds (tokens): FM DM matrices, FV DV vectors of float32 and float64, CM CM2 CM3 compressed matrices, and
vectors of int32, which have no token.  Nothing else is ever read: no pickles, no objects.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from sv_toolkit.errors import ArchiveError, shown
from sv_toolkit.io import kaldi_compression
from sv_toolkit.io.kaldi_header import Header, ReadBytes

BINARY = b"\0B"
INT32_VECTOR = "int32 vector"
MAX_HEADER = 32  # bytes that hold any header
_INT32_ENTRY = np.dtype([("size", "i1"), ("value", "<i4")])  # every entry is preceded by its width, 4
_DTYPES = {token: np.dtype(code) for token, code in (("FM", "<f4"), ("DM", "<f8"), ("FV", "<f4"), ("DV", "<f8"))}
_TOKENS = {(1, "f4"): "FV", (2, "f4"): "FM", (1, "f8"): "DV", (2, "f8"): "DM"}
_FOREIGN = {b"PKL": "a pickled object", b"NPY": "a numpy file", b"AUDIO": "audio", b"RIFF": "audio", b"fLaC": "audio"}


def encode_record(key: str, array: np.ndarray, compression: str | None = None) -> bytes:
    """The bytes of one archive entry: the key, a space, and the record in Kaldi's binary form.

    Args:
        array: `(rows, columns)` or `(n,)`, float32 or float64; or `(n,)` int32.
        compression: "CM" (8 bits, scaled by column quantiles; for speech features), "CM2" (16 bits) or "CM3" (8 bits).

    Raises:
        ValueError: a key that is not one word, another kind of array, or numbers to be compressed that are not finite.
    """
    if len(key.split()) != 1 or key != key.strip():
        raise ValueError(f"an archive key must be one word, got {shown(key)}")
    record = encode_body(array) if compression is None else kaldi_compression.compress(array, compression)
    return key.encode() + b" " + BINARY + record


def encode_body(array: np.ndarray) -> bytes:
    """A record without the mark of binary files before it, as it stands inside Kaldi's model files.

    Raises:
        ValueError: not float32 or float64 of one or two dimensions, nor an int32 vector.
    """
    if array.ndim == 1 and array.dtype == np.int32:
        entries = np.empty(len(array), _INT32_ENTRY)
        entries["size"], entries["value"] = 4, array
        return struct.pack("<bi", 4, len(array)) + entries.tobytes()
    token = _TOKENS.get((array.ndim, array.dtype.str[1:]))
    if token is None:
        raise ValueError(f"an archive holds float32 or float64 matrices and vectors and int32 vectors, not {array.dtype} {array.shape}")
    sizes = b"".join(struct.pack("<bi", 4, size) for size in array.shape)
    return token.encode() + b" " + sizes + array.astype(_DTYPES[token], copy=False).tobytes()


def parse_header(head: bytes, offset: int) -> Header:
    """The header of the binary record at `offset` of its file, whose first `MAX_HEADER` bytes are `head`.

    Raises:
        ArchiveError: with the reason alone; the caller adds the place.
    """
    if head[:2] != BINARY:
        raise ArchiveError(not_a_record(head))
    if head[2:3] == b"\x04":
        rows = _sized_int(head, 2)
        return _checked(INT32_VECTOR, rows, None, offset + 7, rows * _INT32_ENTRY.itemsize)
    token, space, _ = head[2:10].partition(b" ")
    name, position = token.decode("latin-1"), 3 + len(token)
    if space and name in _DTYPES:
        return _plain_header(name, head, position, offset)
    if space and name in kaldi_compression.KINDS:
        return _compressed_header(name, head, position, offset)
    raise ArchiveError(f"unknown record type {shown(name)}; matrices (FM DM CM CM2 CM3) and vectors (FV DV, int32) are read")


def _plain_header(token: str, head: bytes, position: int, offset: int) -> Header:
    rows = _sized_int(head, position)
    columns = _sized_int(head, position + 5) if token[1] == "M" else None
    num_bytes = rows * (1 if columns is None else columns) * _DTYPES[token].itemsize
    return _checked(token, rows, columns, offset + position + (5 if columns is None else 10), num_bytes)


def _compressed_header(token: str, head: bytes, position: int, offset: int) -> Header:
    if len(head) < position + 16:
        raise ArchiveError("truncated: the file ends inside the header")
    smallest, extent, rows, columns = struct.unpack_from("<ffii", head, position)
    if not np.isfinite([smallest, extent]).all():
        raise ArchiveError(f"damaged header: the scale of a {token} matrix is not finite")
    num_bytes = kaldi_compression.num_bytes(token, rows, columns)
    return _checked(token, rows, columns, offset + position + 16, num_bytes, (smallest, extent))


def _checked(token: str, rows: int, columns: int | None, start: int, num_bytes: int, scale: tuple[float, float] = (0.0, 0.0)) -> Header:
    header = Header(token, rows, columns, start, start + num_bytes, scale)
    if min(header.shape) < 0:
        raise ArchiveError(f"damaged header: {token} of size {' x '.join(map(str, header.shape))}")
    return header


def _sized_int(head: bytes, position: int) -> int:
    """An int32 that its width, 4, precedes."""
    if len(head) < position + 5:
        raise ArchiveError("truncated: the file ends inside the header")
    width, value = struct.unpack_from("<bi", head, position)
    if width != 4:
        raise ArchiveError(f"damaged header: a size of {width} bytes where 4 belong")
    return int(value)


def not_a_record(head: bytes) -> str:
    """What bytes that are no Kaldi record seem to be, and what to do."""
    if not head:
        return "truncated: nothing stands at this offset"
    if not head.strip(b"\0"):
        return "damaged: zero bytes where a record belongs; the archive was not written to its end"
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            return f"unsupported record type {magic.decode()!r} ({name}); only Kaldi matrices and vectors are read, objects never"
    if head.startswith(b"\x1f\x8b"):
        return "gzip-compressed; gunzip the archive first"
    return f"not a Kaldi record: the bytes there are {shown(head[:8].decode('latin-1'))}"


def decode_rows(header: Header, read: ReadBytes, start: int, stop: int) -> np.ndarray[Any, Any]:
    """Rows `start` to `stop` (not included) of a matrix, or entries of a vector; reads only their bytes.

    Args:
        read: `read(offset, count)` returns exactly `count` bytes as an array of its own, or raises.

    Returns:
        `(stop - start, columns)` or `(stop - start,)`, writable; compressed matrices come as float32.
    """
    if header.token in kaldi_compression.KINDS:
        return kaldi_compression.decompress_rows(header, read, start, stop)
    if header.token == INT32_VECTOR:
        return _decode_int32(header, read, start, stop)
    dtype = _DTYPES[header.token]
    width = dtype.itemsize * (1 if header.columns is None else header.columns)
    flat = read(header.start + start * width, (stop - start) * width).view(dtype)
    return flat if header.columns is None else flat.reshape(stop - start, header.columns)


def _decode_int32(header: Header, read: ReadBytes, start: int, stop: int) -> np.ndarray[Any, Any]:
    width = _INT32_ENTRY.itemsize
    entries = read(header.start + start * width, (stop - start) * width).view(_INT32_ENTRY)
    if (entries["size"] != 4).any():
        raise ArchiveError("damaged: an entry of an int32 vector is not of 4 bytes")
    return entries["value"].astype(np.int32)
