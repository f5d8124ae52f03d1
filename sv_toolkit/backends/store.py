"""The folder a back end lives in: `backend.safetensors` and `backend.json`; neither can run code.

`backend.json` names the back end of the registry, its configuration, where it came from, and size and digest of the
arrays.  It is written last, and read strictly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from sv_toolkit.backends.registry import backend_entry
from sv_toolkit.config import as_table, build
from sv_toolkit.errors import ConfigError, ModelError, plain
from sv_toolkit.io.described import Keeper
from sv_toolkit.io.files import locked

BACKEND = Keeper("backend", "arrays", "a back end", "sv-train-backend")
ARRAYS, DESCRIPTION = BACKEND.arrays, BACKEND.description


@dataclass(frozen=True)
class Stored:
    """What `backend.json` says: registry name, configuration, provenance, size and SHA-256 of the arrays."""

    backend: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    size: int
    sha256: str


def save_backend(folder: Path, name: str, backend: Any, provenance: dict[str, Any]) -> None:
    """Write the folder; a reader that comes in between sees arrays that do not match their description.

    Args:
        name: of the back end in the registry.
        provenance: JSON-ready; what it was trained on.
    """
    backend_entry(name)
    blob = save({key: np.asarray(array, order="C") for key, array in backend.arrays().items()})
    with locked(folder):
        BACKEND.save(folder, blob, {"backend": name, "config": as_table(backend.config), "provenance": provenance})


def read_stored(folder: Path) -> Stored:
    """What stands in `folder/backend.json`.

    Raises:
        ModelError: not a back end of this toolkit, damaged, or from a newer version.
    """
    (name, config, provenance), known = BACKEND.read(folder, _described)
    return Stored(name, config, provenance, known["size"], known["sha256"])


def _described(content: dict[str, Any], where: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    config, provenance = dict(content["config"]), dict(content["provenance"])
    provenance.update({part: dict(provenance[part]) for part in ("job", "counts") if part in provenance})
    return str(content["backend"]), config, provenance


def load_backend(folder: Path, name: str | None = None) -> tuple[Any, Stored]:
    """The back end in `folder` and what is known about it.

    Args:
        name: which one of the registry it must be; None: any.

    Raises:
        ModelError: arrays missing, truncated, corrupt (digest), of other names or shapes, or not finite.
    """
    stored = read_stored(folder)
    where = plain(folder / DESCRIPTION)
    if name is not None and stored.backend != name:
        raise ModelError(f"{where}: holds a back end of the kind {plain(stored.backend)}, {name} is needed")
    arrays = BACKEND.load(folder, {"size": stored.size, "sha256": stored.sha256}, load)
    try:
        config_class, backend_class = backend_entry(stored.backend)
        backend = backend_class(build(config_class, stored.config, "config"))
        return backend.load_arrays(arrays), stored
    except (ModelError, ConfigError) as error:
        raise ModelError(f"{where}: {error}") from None
