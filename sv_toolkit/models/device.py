"""Where to compute."""

from __future__ import annotations

import logging

import torch

from sv_toolkit.errors import ModelError

logger = logging.getLogger("sv_toolkit")


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one and says when there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu":
            logger.info("no GPU found: computing on the CPU")
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("--device cuda: no GPU (CUDA) is available here; use --device cpu")
    return torch.device(name)
