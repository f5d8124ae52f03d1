"""Configurations that come with the package, by name, and every key of a configuration with what it means."""

from __future__ import annotations

import dataclasses
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sv_toolkit.errors import ConfigError, plain
from sv_toolkit.losses.registry import LOSSES
from sv_toolkit.models.registry import ARCHITECTURES
from sv_toolkit.training.config import SECTIONS, SourceConfig, TrainConfig, as_tables

FOLDER = Path(__file__).resolve().parents[1] / "configs"
WIDTH = 116
_ENTRY = re.compile(r"^ {8}(\w+(?:, \w+)*): (.*)$")


def named_configs() -> dict[str, Path]:
    """Name -> file of the configurations in the package."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def find_config(name: Path) -> Path:
    """The file `name`, or the configuration of the package that is called so.

    Raises:
        ConfigError: it is neither; lists the names.
    """
    if name.exists() or name.suffix in (".toml", ".json") or len(name.parts) > 1:
        return name
    known = named_configs()
    if str(name) not in known:
        raise ConfigError(f"--config {plain(name)}: no such file, and no configuration of the package; these are {', '.join(known)}")
    return known[str(name)]


def config_text(config: TrainConfig) -> str:
    """The configuration as TOML, every key with its meaning as a comment above it."""
    tables = as_tables(config)
    parts = [
        _section("network", tables["network"], type(config.network.options), {"name": ", ".join(ARCHITECTURES)}),
        *_loss(tables["loss"], config),
        *(_section(name, tables[name], cls, {}) for name, cls in SECTIONS.items()),
        "# One table for each --train NAME:DIR, if it differs from the others.\n"
        + _commented(_section("sources.NAME", _defaults(), SourceConfig, {})),
    ]
    return "\n".join(parts)


def _loss(table: dict[str, Any], config: TrainConfig) -> Iterator[str]:
    meanings = {"name": f"{', '.join(LOSSES)}; or terms = [{{name = ..., weight = ...}}, ...], a sum of them"}
    if "terms" not in table:
        yield _section("loss", table, type(config.loss.terms[0].options), meanings)
        return
    for own, term in zip(table["terms"], config.loss.terms):
        yield _section("[loss.terms]", own, type(term.options), {**meanings, "weight": "what the loss is multiplied by"})


def _defaults() -> dict[str, Any]:
    return dataclasses.asdict(SourceConfig())


def _commented(text: str) -> str:
    return "".join(f"# {line}\n".replace("# # ", "#   ") for line in text.splitlines())


def _section(name: str, values: dict[str, Any], cls: type, known: dict[str, str]) -> str:
    about = meanings(cls) | known
    lines = [f"# {(cls.__doc__ or '').strip().splitlines()[0]}", f"[{name}]"]
    said = ""
    for key, value in values.items():
        lines += [f"# {line}" for line in textwrap.wrap(about.get(key, ""), WIDTH) if about.get(key) != said]
        said = about.get(key, "")
        lines.append(f"{key} = {_toml(value)}" if value is not None else f"# {key}: not set")
    return "\n".join(lines) + "\n"


def meanings(cls: type) -> dict[str, str]:
    """What the docstring of a dataclass says of its fields, under "Attributes:"; `a, b: text` is said of both."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in (cls.__doc__ or "").partition("Attributes:\n")[2].splitlines():
        entry = _ENTRY.match(line)
        if entry:
            names = entry.group(1).split(", ")
            found.update(dict.fromkeys(names, entry.group(2).strip()))
        elif line.strip():
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
        else:
            names = []
    return found


def _toml(value: Any) -> str:
    """JSON of numbers, texts, lists and truth is TOML, too."""
    return json.dumps(value, ensure_ascii=False)
