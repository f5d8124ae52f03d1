"""What Kaldi's binary records say about themselves, of whatever kind they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

ReadBytes = Callable[[int, int], "np.ndarray[Any, np.dtype[np.uint8]]"]  # offset in the file and number of bytes


class Header(NamedTuple):
    """What a record says about itself; `start` and `end` are the offsets of its numbers in the file.

    `columns` is None for a vector; `scale` holds the smallest value and the extent of a compressed matrix.
    """

    token: str
    rows: int
    columns: int | None
    start: int
    end: int
    scale: tuple[float, float] = (0.0, 0.0)

    @property
    def shape(self) -> tuple[int, ...]:
        """`(rows, columns)` or `(rows,)`."""
        return (self.rows,) if self.columns is None else (self.rows, self.columns)
