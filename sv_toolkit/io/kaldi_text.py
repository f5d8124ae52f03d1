"""Kaldi's text form of matrices and vectors, as `copy-feats ark,t:` writes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sv_toolkit.errors import ArchiveError, shown

_FIRST_READ = 1 << 16
_LONGEST_NUMBER = 400  # characters; an array of words takes the longest one's space for each


def looks_like_text(head: bytes) -> bool:
    """True if `head` may begin a matrix or vector in text form."""
    start = head.lstrip(b" \t")[:1]
    return start == b"[" or (start.isdigit() and head[:1] in b" \t0123456789") or start == b"-"


def read_text(read_some: Callable[[int, int], bytes], offset: int, dtype: type = np.float32) -> tuple[np.ndarray, int]:
    """The array in text form at `offset`, and the offset after it.

    Args:
        read_some: `read_some(offset, count)` returns up to `count` bytes, fewer only at the end of the file.
        dtype: np.float32 or np.float64.

    Returns:
        `(rows, columns)` or `(n,)` of that type; `(n,)` int32 for a line of whole numbers without brackets.
    """
    is_bracketed = read_some(offset, 64).lstrip(b" \t")[:1] == b"["
    text = _until(read_some, offset, b"]" if is_bracketed else b"\n")
    if is_bracketed:
        end = offset + len(text)
        return _parse_brackets(text, dtype), end + (1 if read_some(end, 1) == b"\n" else 0)
    return _numbers(text, np.int32), offset + len(text)


def _until(read_some: Callable[[int, int], bytes], offset: int, mark: bytes) -> bytes:
    count = _FIRST_READ
    while True:
        text = read_some(offset, count)
        end = text.find(mark)
        if end >= 0:
            return text[: end + 1]
        if len(text) < count:
            raise ArchiveError(
                f"truncated: the file ends before the {'closing ]' if mark == b']' else 'line end'} of a record in text form"
            )
        count *= 4


def _parse_brackets(text: bytes, dtype: type) -> np.ndarray:
    body = text[text.index(b"[") + 1 : -1]
    lines = [line for line in body.split(b"\n") if line.strip()]
    is_matrix = b"\n" in body
    if not lines:
        return np.zeros((0, 0) if is_matrix else 0, dtype)
    rows = [len(line.split()) for line in lines]
    if len(set(rows)) > 1:
        raise ArchiveError(f"damaged: rows of {min(rows)} and {max(rows)} numbers in one matrix in text form")
    values = _numbers(body, dtype)
    return values.reshape(len(rows), rows[0]) if is_matrix else values


def _numbers(text: bytes, dtype: type) -> np.ndarray:
    parts = text.split()
    try:
        if len(max(parts, key=len, default=b"")) > _LONGEST_NUMBER:
            raise ValueError
        words = np.array(parts, dtype=np.bytes_)
        wide = words.astype(np.int64 if dtype == np.int32 else np.float64)
        if dtype == np.int32 and wide.size and np.abs(wide).max() >= 1 << 31:
            raise OverflowError
    except (ValueError, OverflowError):
        raise ArchiveError(
            f"not a Kaldi record: expected numbers in text form, the bytes there are {shown(text[:20].decode('latin-1'))}"
        ) from None
    with np.errstate(over="ignore"):
        return wide.astype(dtype)
