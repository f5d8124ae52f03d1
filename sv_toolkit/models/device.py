"""Where to compute."""

from __future__ import annotations

import contextlib
import ctypes
import logging

import torch

from sv_toolkit.errors import ModelError

logger = logging.getLogger("sv_toolkit")
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one and says when there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu":
            logger.info("no GPU found: computing on the CPU")
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("--device cuda: no GPU (CUDA) is available here; use --device cpu")
    return torch.device(name)


def keep_freed_memory() -> None:
    """Let glibc keep large blocks that are freed instead of handing them back to the system.

    A training step allocates the same hundreds of megabytes as the one before; faulting them in again every
    time takes up to a quarter of it.  Other C libraries are left as they are.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
        libc.mallopt(M_TOP_PAD, 1 << 27)
