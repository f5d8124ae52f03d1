"""How the C library treats memory that is freed."""

from __future__ import annotations

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
LARGEST = (1 << 31) - 1  # what mallopt takes


def keep_freed_memory(largest_block: int) -> None:
    """Let glibc keep freed blocks of up to `largest_block` bytes instead of handing them back to the system.

    One training step allocates what the last one did, one recording what the last one did; faulting the same
    memory in again and again takes up to a fifth of the time.  Other C libraries are left as they are.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, largest_block)
        libc.mallopt(M_TRIM_THRESHOLD, min(4 * largest_block, LARGEST))
