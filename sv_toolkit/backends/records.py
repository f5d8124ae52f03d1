"""What calibrations and fusions are kept in: JSON with its kind and format in front, read back strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sv_toolkit import __version__
from sv_toolkit.config import as_table, build, read_config
from sv_toolkit.errors import ConfigError, plain, shown
from sv_toolkit.io.files import regular_file, write_lone_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)
else:
    T = TypeVar("T")

FORMAT = 1


def write_record(path: Path, kind: str, record: Any) -> None:
    """Write a dataclass as JSON to `path`, whole or not at all; the same record gives the same bytes.

    Raises:
        ConfigError: the name does not end in .json, by which it would be read back.
    """
    if path.suffix != ".json":
        raise ConfigError(f"{plain(path)}: the name of a {kind} file ends in .json")
    content = {"format": FORMAT, "kind": kind, "toolkit_version": __version__, **as_table(record)}
    lines = [f" {json.dumps(key)}: {_laid_out(value)}" for key, value in content.items()]
    write_lone_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _laid_out(value: Any) -> str:
    """A list of lists gets a line for each, everything else one line."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]"
    return json.dumps(value, ensure_ascii=False)


def read_record(path: Path, kind: str, record: type[T], way_out: str) -> T:
    """The dataclass `record` in a file of this `kind`.

    Raises:
        ConfigError: no such file, another kind or format, or anything in it that `record` does not have.
    """
    path, where = Path(path), plain(path)
    if not regular_file(path):
        raise ConfigError(f"{where}: {'is not a regular file' if path.exists() else 'no such file'}; {way_out}")
    if path.suffix != ".json":
        raise ConfigError(f"{where}: the name of a {kind} file ends in .json; {way_out}")
    content = read_config(path)
    if content.pop("kind", None) != kind:
        raise ConfigError(f"{where}: is not a {kind} of this toolkit; {way_out}")
    found = content.pop("format", None)
    if found != FORMAT or isinstance(found, bool):
        raise ConfigError(f"{where}: {kind} format {shown(found)}, this toolkit ({__version__}) reads {FORMAT}; make it anew")
    content.pop("toolkit_version", None)
    try:
        return build(record, content, where)
    except OverflowError:
        raise ConfigError(f"{where}: a number is too large") from None
