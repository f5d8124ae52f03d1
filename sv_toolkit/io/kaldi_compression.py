"""Kaldi's compressed matrices: 8 bits by column quantiles (CM), 16 bits (CM2) and 8 bits (CM3) on one scale.

CM stores four quantiles of every column (minimum, quarter, three quarters, maximum) as 16-bit numbers between
the smallest and the largest value of the matrix; a value is then 0-64 in the lowest quarter, 64-192 in the
middle half and 192-255 in the highest quarter, linear in between.  Its bytes lie column after column.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sv_toolkit.errors import ArchiveError, shown

if TYPE_CHECKING:
    from sv_toolkit.io.kaldi_matrix import Header

KINDS = ("CM", "CM2", "CM3")
_CODES = np.arange(256, dtype=np.float32)[:, None]
_KNOTS = np.array([0, 64, 192, 255], np.float32)
_DTYPE = {"CM2": np.dtype("<u2"), "CM3": np.dtype("u1")}
_QUANTILE = np.dtype("<u2")


def _knot_weights() -> np.ndarray:
    """`(256, 4)`: how much of each quantile a code stands for."""
    weights = np.zeros((256, 4), np.float32)
    codes = np.arange(256)
    for low in range(3):
        inside = (codes >= _KNOTS[low]) & (codes <= _KNOTS[low + 1])
        share = (codes[inside] - _KNOTS[low]) / (_KNOTS[low + 1] - _KNOTS[low])
        weights[inside] = 0
        weights[inside, low], weights[inside, low + 1] = 1 - share, share
    return weights


_WEIGHTS = _knot_weights()


def num_bytes(kind: str, rows: int, columns: int) -> int:
    """Bytes after the header of a matrix of this size."""
    if kind == "CM":
        return columns * (4 * _QUANTILE.itemsize + rows)
    return rows * columns * _DTYPE[kind].itemsize


def decompress_rows(header: Header, read: Callable[[int, int], bytes], start: int, stop: int) -> np.ndarray:
    """Rows `start` to `stop` (not included), `(stop - start, columns)` float32."""
    assert header.columns is not None
    smallest, extent = np.float32(header.scale[0]), np.float32(header.scale[1])
    if not (np.isfinite(smallest) and np.isfinite(extent)):
        raise ArchiveError(f"damaged header: the scale of a {header.token} matrix is not finite")
    if header.token == "CM":
        return _decompress_by_column(header, read, start, stop, smallest, extent)
    dtype = _DTYPE[header.token]
    width = dtype.itemsize * header.columns
    codes = np.frombuffer(read(header.start + start * width, (stop - start) * width), dtype).reshape(
        -1 if width else stop - start, header.columns
    )
    values = codes.astype(np.float32)
    values *= extent / np.float32(np.iinfo(dtype).max)
    values += smallest
    return values


def _decompress_by_column(
    header: Header, read: Callable[[int, int], bytes], start: int, stop: int, smallest: np.float32, extent: np.float32
) -> np.ndarray:
    assert header.columns is not None
    size = header.columns * 4 * _QUANTILE.itemsize
    quantiles = np.frombuffer(read(header.start, size), _QUANTILE).reshape(header.columns, 4)
    knots = smallest + quantiles.astype(np.float32) * (extent / np.float32(65535))
    codes = np.frombuffer(read(header.start + size, header.columns * header.rows), np.uint8).reshape(header.columns, header.rows)[
        :, start:stop
    ]
    if stop - start >= 256:  # then a table of what each code means in each column costs less than computing every value
        table = knots @ _WEIGHTS.T
        return np.ascontiguousarray(np.take_along_axis(table, codes.astype(np.intp), axis=1).T)
    return np.ascontiguousarray(np.matmul(_WEIGHTS[codes], knots[:, :, None])[:, :, 0].T)


def compress(array: np.ndarray, kind: str) -> bytes:
    """Token, header and bytes of a compressed matrix.

    Raises:
        ValueError: not a matrix of finite numbers, or an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"no compression {shown(kind)}; known: {', '.join(KINDS)}")
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"only float matrices can be compressed, not {array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("a matrix with numbers that are not finite cannot be compressed")
    if array.size == 0:  # Kaldi's way to write an empty compressed matrix
        return b"CM " + struct.pack("<ffii", 0.0, 0.0, 0, 0)
    array = array.astype(np.float32)
    smallest, extent = _scale(array)
    header = kind.encode() + b" " + struct.pack("<ffii", smallest, extent, *array.shape)
    if kind != "CM":
        return header + _to_codes(array, smallest, extent, _DTYPE[kind]).tobytes()
    quantiles = _quantiles(array, smallest, extent)
    return header + quantiles.tobytes() + _codes_by_column(array, smallest + quantiles.astype(np.float32) * (extent / np.float32(65535)))


def _scale(array: np.ndarray) -> tuple[np.float32, np.float32]:
    smallest, largest = array.min(), array.max()
    return smallest, np.float32(largest - smallest) if largest > smallest else np.float32(1) + abs(smallest)


def _to_codes(array: np.ndarray, smallest: np.float32, extent: np.float32, dtype: np.dtype) -> np.ndarray:
    largest = np.iinfo(dtype).max
    share = (array.astype(np.float64) - smallest) / extent
    return np.clip(np.rint(share * largest), 0, largest).astype(dtype)


def _quantiles(array: np.ndarray, smallest: np.float32, extent: np.float32) -> np.ndarray:
    """`(columns, 4)` strictly rising 16-bit numbers: minimum, quarter, three quarters and maximum of every column."""
    last = len(array) - 1
    ordered = np.sort(array, axis=0)
    quarter = len(array) // 4
    picks = [0, min(quarter, last), min(3 * quarter, last), last]
    codes = _to_codes(ordered[picks], smallest, extent, _QUANTILE).astype(np.int64).T
    for i in range(4):  # a column of equal values still needs four different knots, or decoding would divide by zero
        low = codes[:, i - 1] + 1 if i else 0
        codes[:, i] = np.clip(codes[:, i], low, 65532 + i)
    return codes.astype(_QUANTILE)


def _codes_by_column(array: np.ndarray, knots: np.ndarray) -> bytes:
    values = array.T.astype(np.float64)[:, :, None]
    low, high = knots[:, None, :-1], knots[:, None, 1:]
    share = np.clip((values - low) / (high - low), 0, 1)
    return np.rint(share @ np.diff(_KNOTS)).astype(np.uint8).tobytes()
