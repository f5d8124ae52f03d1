"""Kaldi's compressed matrices: 8 bits by column quantiles (CM), 16 bits (CM2) and 8 bits (CM3) on one scale.

CM stores four quantiles of every column (minimum, quarter, three quarters, maximum) as 16-bit numbers between
the smallest and the largest value of the matrix; a value is then 0-64 in the lowest quarter, 64-192 in the
middle half and 192-255 in the highest quarter, linear in between.  Its bytes lie column after column.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from sv_toolkit.errors import shown
from sv_toolkit.io.kaldi_header import Header, ReadBytes

KINDS = ("CM", "CM2", "CM3")
_KNOTS = (0, 64, 192, 255)
_LARGEST = {"CM": 65535, "CM2": 65535, "CM3": 255}
_DTYPES: dict[str, np.dtype[Any]] = {"CM2": np.dtype("<u2"), "CM3": np.dtype("u1")}
_QUANTILE: np.dtype[Any] = np.dtype("<u2")
_WORTH_SEEKING = 1 << 17  # bytes of a column matrix that are not wanted; from here on reads by column cost less than reading all


def _shares() -> np.ndarray[Any, Any]:
    """`(4, 256)`: the share of each quantile in the value of each code."""
    shares = np.zeros((4, 256), np.float32)
    for i, (low, high) in enumerate(zip(_KNOTS, _KNOTS[1:])):
        rising = np.linspace(0, 1, high - low + 1)
        shares[i, low : high + 1], shares[i + 1, low : high + 1] = 1 - rising, rising
    return shares


_SHARES = _shares()


def num_bytes(kind: str, rows: int, columns: int) -> int:
    """Bytes after the header of a matrix of this size."""
    if kind == "CM":
        return columns * (4 * _QUANTILE.itemsize + rows)
    return rows * columns * _DTYPES[kind].itemsize


def decompress_rows(header: Header, read: ReadBytes, start: int, stop: int) -> np.ndarray[Any, Any]:
    """Rows `start` to `stop` (not included), `(stop - start, columns)` float32."""
    smallest = np.float32(header.scale[0])
    step = np.float32(header.scale[1]) / np.float32(_LARGEST[header.token])
    columns = header.columns or 0
    if header.token == "CM":
        size = columns * 4 * _QUANTILE.itemsize
        knots = smallest + read(header.start, size).view(_QUANTILE).reshape(columns, 4).astype(np.float32) * step
        return _look_up(knots, _column_codes(header, read, header.start + size, start, stop))
    dtype = _DTYPES[header.token]
    width = dtype.itemsize * columns
    codes = read(header.start + start * width, (stop - start) * width).view(dtype).reshape(stop - start, columns)
    values = codes.astype(np.float32)
    values *= step
    values += smallest
    return values


def _column_codes(header: Header, read: ReadBytes, begin: int, start: int, stop: int) -> np.ndarray[Any, Any]:
    """`(columns, stop - start)` codes of a matrix that lies column after column from `begin` on."""
    rows, columns = header.rows, header.columns or 0
    if (rows - (stop - start)) * columns > _WORTH_SEEKING:
        return np.stack([read(begin + column * rows + start, stop - start) for column in range(columns)])
    return read(begin, columns * rows).reshape(columns, rows)[:, start:stop]


def _look_up(knots: np.ndarray[Any, Any], codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`(rows, columns)` values of `(columns, rows)` codes, by what each of the 256 codes means in each column."""
    meaning = np.einsum("ck,kv->cv", knots, _SHARES)  # not @: a BLAS would start threads for a product of this size
    places = codes + np.arange(0, meaning.size, 256, dtype=np.intp)[:, None]
    return np.ascontiguousarray(meaning.reshape(-1).take(places).T)


def compress(array: np.ndarray[Any, Any], kind: str) -> bytes:
    """Token, header and bytes of a compressed matrix.

    Raises:
        ValueError: not a matrix of finite float numbers, or an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"no compression {shown(kind)}; known: {', '.join(KINDS)}")
    if array.ndim != 2 or array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError(f"only matrices of finite float numbers can be compressed, not {array.dtype} {array.shape}")
    if array.size == 0:  # Kaldi's form of an empty compressed matrix
        return b"CM " + struct.pack("<ffii", 0.0, 0.0, 0, 0)
    array = array.astype(np.float32)
    smallest, extent = _scale(array)
    header = kind.encode() + b" " + struct.pack("<ffii", smallest, extent, *array.shape)
    if kind != "CM":
        return header + _to_codes(array, smallest, extent, _DTYPES[kind]).tobytes()
    quantiles = _quantiles(array, smallest, extent)
    knots = smallest + quantiles.astype(np.float64) * (float(extent) / 65535)
    return header + quantiles.tobytes() + _codes_by_column(array, knots).tobytes()


def _scale(array: np.ndarray[Any, Any]) -> tuple[np.float32, np.float32]:
    """Smallest value, and how far the largest lies above it: positive, also where all are equal."""
    smallest, largest = np.float32(array.min()), np.float32(array.max())
    return smallest, np.float32(largest - smallest) if largest > smallest else np.float32(1 + abs(smallest))


def _to_codes(array: np.ndarray[Any, Any], smallest: np.float32, extent: np.float32, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    largest = int(np.iinfo(dtype).max)
    return np.clip(np.rint((array.astype(np.float64) - smallest) / extent * largest), 0, largest).astype(dtype)


def _quantiles(array: np.ndarray[Any, Any], smallest: np.float32, extent: np.float32) -> np.ndarray[Any, Any]:
    """`(columns, 4)` strictly rising 16-bit numbers: minimum, quarter, three quarters and maximum of every column."""
    last, quarter = len(array) - 1, len(array) // 4
    picks = [0, quarter, 3 * quarter, last]
    codes = _to_codes(np.partition(array, picks, axis=0)[picks], smallest, extent, _QUANTILE).astype(np.int64).T
    for i in range(4):  # a column of equal values still needs four different knots: their distances are divided by
        codes[:, i] = np.clip(codes[:, i], codes[:, i - 1] + 1 if i else 0, 65532 + i)
    return codes.astype(_QUANTILE)


def _codes_by_column(array: np.ndarray[Any, Any], knots: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`(columns, rows)` codes: the way through each of the three quarters that a value has gone, added up."""
    values = array.T.astype(np.float64)
    codes = np.zeros(values.shape)
    for i in range(3):
        low, high = knots[:, i, None], knots[:, i + 1, None]
        codes += np.clip((values - low) / (high - low), 0, 1) * (_KNOTS[i + 1] - _KNOTS[i])
    return np.rint(codes).astype(np.uint8)
