"""The folder a back end lives in: `backend.safetensors` and `backend.json`; neither can run code.

`backend.json` names the back end of the registry, its configuration, where it came from, and size and digest of the
arrays.  It is written last, and read strictly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sv_toolkit import __version__
from sv_toolkit.backends.registry import backend_entry
from sv_toolkit.config import as_table, build
from sv_toolkit.errors import MALFORMED, ConfigError, ModelError, plain
from sv_toolkit.io.files import locked, make_directory, read_json, regular_file, sha256_bytes, whole_binary, write_text

FORMAT = 1
ARRAYS, DESCRIPTION = "backend.safetensors", "backend.json"
MAX_DESCRIPTION_BYTES = 1 << 24


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
    make_directory(folder)
    blob = save({key: np.asarray(array, order="C") for key, array in backend.arrays().items()})
    content = {
        "format": FORMAT,
        "toolkit_version": __version__,
        "backend": name,
        "config": as_table(backend.config),
        "provenance": provenance,
        "arrays": {"size": len(blob), "sha256": sha256_bytes(blob)},
    }
    with locked(folder):
        with whole_binary(folder / ARRAYS) as stream:
            stream.write(blob)
        write_text(folder / DESCRIPTION, json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_stored(folder: Path) -> Stored:
    """What stands in `folder/backend.json`.

    Raises:
        ModelError: not a back end of this toolkit, damaged, or from a newer version.
    """
    where = _file(folder, DESCRIPTION)
    try:
        content = read_json(where)
        if content["format"] != FORMAT:
            raise ModelError(
                f"{plain(where)}: format version {plain(content['format'])}, this toolkit ({__version__}) reads version {FORMAT}"
            )
        arrays = content["arrays"]
        config, provenance = dict(content["config"]), dict(content["provenance"])
        provenance.update({part: dict(provenance[part]) for part in ("job", "counts") if part in provenance})
        return Stored(str(content["backend"]), config, provenance, int(arrays["size"]), str(arrays["sha256"]))
    except MALFORMED:
        raise ModelError(f"{plain(where)}: is not the description of a back end, or it is truncated") from None


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
    try:
        config_class, backend_class = backend_entry(stored.backend)
        backend = backend_class(build(config_class, stored.config, "config"))
        return backend.load_arrays(_read_arrays(folder, stored)), stored
    except (ModelError, ConfigError) as error:
        raise ModelError(f"{where}: {error}") from None


def _read_arrays(folder: Path, stored: Stored) -> dict[str, np.ndarray]:
    path = _file(folder, ARRAYS)
    size = path.stat().st_size
    if size != stored.size:
        raise ModelError(f"{ARRAYS} has {size} bytes, {stored.size} were written: truncated, or the arrays of another back end")
    blob = path.read_bytes()
    if sha256_bytes(blob) != stored.sha256:
        raise ModelError(f"{ARRAYS} is corrupt: its checksum is not the one written here")
    try:
        return load(blob)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{ARRAYS} is not a safetensors file: {plain(error)}") from None


def _file(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise ModelError(f"{plain(folder)}: {what}; a back end is a folder with {ARRAYS} and {DESCRIPTION}, as sv-train-backend makes it")
    path = folder / name
    if not regular_file(path):
        raise ModelError(f"{plain(path)}: missing: {plain(folder)} is not a back end, or its training has not finished")
    if name == DESCRIPTION and path.stat().st_size > MAX_DESCRIPTION_BYTES:
        raise ModelError(f"{plain(path)}: {path.stat().st_size} bytes is too large for the description of a back end")
    return path
