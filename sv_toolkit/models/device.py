"""Where to compute."""

from __future__ import annotations

import logging

import torch

from sv_toolkit.errors import ModelError

logger = logging.getLogger("sv_toolkit")
DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str, say: bool = False) -> torch.device:
    """The device of a name in `DEVICES`: `auto` takes a GPU (CUDA, or Apple's MPS) where there is one.

    Args:
        say: log where `auto` finds none.

    Raises:
        ModelError: the device is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if there[device])
        if name == "cpu" and say:
            logger.info("no GPU found: computing on the CPU")
    if not there[name]:
        kind = "GPU (CUDA)" if name == "cuda" else "GPU of Apple's (MPS)"
        raise ModelError(f"--device {name}: no {kind} is available here; use --device cpu")
    return torch.device(name)
