"""Configuration is data: TOML or JSON in, frozen dataclasses out, nothing swallowed.

A key that no dataclass field answers to is refused with the nearest known one; a value of the wrong
type is refused with the type that is needed.  Ranges and choices stand in the annotations of the fields:
`Share = Annotated[float, Within(0, 1)]`, `Literal["mean", "sum"]`, `Annotated[str, OneOf(POOLINGS)]`; `Options`
holds every instance to them.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import sys
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from sv_toolkit.errors import ConfigError, plain, shown

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)
else:
    T = TypeVar("T")

MAX_CONFIG_BYTES = 1 << 20
MAX_REASON = 1000
MAX_INTEGER = 1 << 63  # as in TOML
TOO_LARGE = "holds a number that is too large to be read"


def read_config(path: Path) -> dict[str, Any]:
    """The tables of a `.toml` or `.json` file as plain dictionaries.

    Raises:
        ConfigError: with file, line and column where the text cannot be parsed.
    """
    where = plain(path)
    if path.is_dir():
        raise ConfigError(f"{where}: is a directory, a configuration file (conf/*.toml) is needed")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{where}: is not a regular file (a device or a named pipe), a configuration file is needed")
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{where}: {path.stat().st_size} bytes, a configuration has at most {MAX_CONFIG_BYTES}")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{where}: no such configuration file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: not UTF-8 text (byte {error.start})") from None
    return _parse_json(text, where) if path.suffix == ".json" else _parse_toml(text, where)


def _parse_toml(text: str, where: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML: {error}") from None
    except ValueError:  # of Python's limit on the digits of an integer, or a date that no calendar has
        raise ConfigError(f"{where}: {TOO_LARGE}") from None
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply to be a configuration") from None


def _parse_json(text: str, where: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key, value in pairs:
            if key in table:
                raise ConfigError(f"{where}: key {shown(key)} stands twice")
            table[key] = value
        return table

    try:
        tables = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}:{error.lineno}: not JSON: {error.msg} (line {error.lineno} column {error.colno})") from None
    except ValueError:
        raise ConfigError(f"{where}: {TOO_LARGE}") from None
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply to be a configuration") from None
    _refuse_half_characters(tables, where)
    if not isinstance(tables, dict):
        raise ConfigError(f"{where}: an object (a table of keys) is needed at the top, got {type(tables).__name__}")
    return tables


def _refuse_half_characters(tables: Any, where: str) -> None:
    try:
        json.dumps(tables, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(f"{where}: holds half a character (a surrogate alone)") from None


def build(cls: type[T], table: Any, where: str) -> T:
    """An instance of the dataclass `cls` from a mapping; nested dataclasses from nested mappings.

    Args:
        where: the file and table, for messages.

    Raises:
        ConfigError: unknown key (with the nearest known one), missing key, wrong type, or a range that `cls` refuses.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: a table of keys is needed, got {type(table).__name__}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in table:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {shown(key)}{nearest(key, fields)}")
    required = [
        name
        for name, field in fields.items()
        if name not in table and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if required:
        raise ConfigError(f"{where}: key {shown(required[0])} is missing")
    values = {key: convert(hints[key], value, f"{where}: {key}") for key, value in table.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        reason = str(error)  # it quotes the value, however long that is
        raise ConfigError(f"{where}: {reason[:MAX_REASON]}{'...' if len(reason) > MAX_REASON else ''}") from None


def with_overrides(tables: dict[str, Any], overrides: typing.Mapping[str, Any], where: str) -> dict[str, Any]:
    """The tables with `{"section.key": value}` laid over them.

    Raises:
        ConfigError: a section is not a table.
    """
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        table = tables.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: {shown(section)} needs a table, got {type(table).__name__}")
        table[name] = value
    return tables


@dataclasses.dataclass(frozen=True)
class Within:
    """Numbers from `low` to `high`; an open end is not among them.

    Attributes:
        symbol: what the papers call the option, for messages.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    symbol: str = ""

    def check(self, name: str, value: float) -> None:
        """Refuse a number outside.

        Raises:
            ConfigError: names the option, its range and the value.
        """
        is_above = value > self.low if self.open_low else value >= self.low
        is_below = value < self.high if self.open_high else value <= self.high
        if not (is_above and is_below):
            raise ConfigError(f"{name}{self.symbol and f' ({self.symbol})'} must be {self._allowed}, got {value:g}")

    @property
    def _allowed(self) -> str:
        if self.high == math.inf:
            return "positive" if self.open_low and self.low == 0 else f"{'above' if self.open_low else 'at least'} {self.low:g}"
        return f"in {'(' if self.open_low else '['}{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Names out of a registry."""

    choices: typing.Iterable[object]

    def check(self, name: str, value: object) -> None:
        """Refuse another name.

        Raises:
            ConfigError: with the choices.
        """
        choices = list(self.choices)
        if value not in choices:
            raise ConfigError(
                f"{name} must be one of {', '.join(map(str, choices))}, got {shown(value) if isinstance(value, str) else value}"
            )


Count = Annotated[int, Within(0)]
Size = Annotated[int, Within(1)]
Share = Annotated[float, Within(0, 1)]
Weight = Annotated[float, Within(0)]
Positive = Annotated[float, Within(0, open_low=True)]


class Options:
    """Base of the dataclasses of options: what the annotations of the fields say holds for every instance.

    A class with rules between fields has a `__post_init__` that calls this one first.
    """

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)):  # type: ignore[arg-type]  # of a class with __hash__
            check(name, hint, getattr(self, name))


@functools.cache
def _hints(cls: Any) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(cls))


def check(name: str, hint: Any, value: Any) -> None:
    """Refuse a value outside the ranges and choices of an annotation; its type is `convert`'s business.

    Raises:
        ConfigError: names the option.
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        check(name, parts[0], value)
        for rule in parts[1:]:
            rule.check(name, value)
    elif origin is Literal:
        OneOf(parts).check(name, value)
    elif origin is tuple:
        for part, item in zip((parts[0],) * len(value) if parts[-1] is Ellipsis else parts, value):
            check(name, part, item)
    elif origin in (typing.Union, types.UnionType) and value is not None:
        check(name, parts[0], value)


def nearest(key: str, known: typing.Iterable[str]) -> str:
    """`, did you mean ...?` or the list of what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(key, known, n=1)
    return f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type `hint`: bool, int, float, str, Path-free unions with None, tuples, dicts, dataclasses."""
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where)
    if origin in (typing.Union, types.UnionType):
        choices = [choice for choice in typing.get_args(hint) if choice is not type(None)]
        return convert(choices[0], value, where) if value is not None else None
    if origin is Literal:
        return _convert_scalar(type(typing.get_args(hint)[0]), value, where)
    if origin is tuple:
        return _convert_tuple(hint, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where} needs a table, got {shown(value)}")
        value_hint = typing.get_args(hint)[1]
        return {key: convert(value_hint, item, f"{where}.{key}") for key, item in value.items()}
    if hint is Any:
        return value
    return _convert_scalar(hint, value, where)


def _convert_tuple(hint: Any, value: Any, where: str) -> tuple[Any, ...]:
    kinds = typing.get_args(hint)
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where} needs a list, got {shown(value)}")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise ConfigError(f"{where} needs {len(kinds)} values, got {len(value)}")
    return tuple(convert(kind, item, where) for kind, item in zip(kinds, value))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[hint]
    if isinstance(value, int) and abs(value) >= MAX_INTEGER:
        raise ConfigError(f"{where} is too large: it needs {wanted} of at most 63 bits, got one of {value.bit_length()}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{where} needs {wanted}, got {type(value).__name__} {shown(value)}")
    if hint is float and not math.isfinite(value):
        raise ConfigError(f"{where} needs a finite number, got {value}")
    return value


def as_table(config: Any) -> dict[str, Any]:
    """The dataclass as plain JSON-ready dictionaries, as it was used."""
    return json.loads(json.dumps(dataclasses.asdict(config)))
