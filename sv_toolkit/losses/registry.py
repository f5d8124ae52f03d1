"""Which losses there are: a name, its configuration, its module."""

from __future__ import annotations

from typing import Any

from torch import nn

from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.ge2e import Ge2e, Ge2eConfig

LOSSES: dict[str, tuple[type, type[nn.Module]]] = {"ge2e": (Ge2eConfig, Ge2e)}


def loss_entry(name: str) -> tuple[type, Any]:
    """Configuration class and module class of the loss `name`."""
    if name not in LOSSES:
        raise ConfigError(f"no loss {name!r}; known: {', '.join(sorted(LOSSES))}")
    return LOSSES[name]
