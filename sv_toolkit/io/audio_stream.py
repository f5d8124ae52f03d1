"""An open audio file as its header checks see it."""

from __future__ import annotations

import os
from dataclasses import dataclass

_HEAD = 4096


@dataclass(frozen=True)
class Stream:
    """An open file, or a recording in an archive: handle, size in bytes from its first byte to the end of the file, first bytes.

    Attributes:
        base: where in the file it begins.
    """

    handle: int
    size: int
    head: bytes
    base: int = 0

    def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes at `offset`."""
        if offset + count <= len(self.head):
            return self.head[offset : offset + count]
        return os.pread(self.handle, count, self.base + offset)


def open_stream(handle: int, size: int, base: int = 0) -> Stream:
    """The stream of an open file of `size` bytes, or of the recording that begins at byte `base` of it."""
    head, length = os.pread(handle, _HEAD, base), size - base
    if base and head[:4] == b"RIFF" and len(head) >= 8:  # what follows a recording in an archive is the next one
        length = min(length, 8 + int.from_bytes(head[4:8], "little"))
    return Stream(handle, length, head, base)
