"""What can go wrong, as types and as records.

Every error is one line that names the place (file:line, utterance), the value and the way out.
"""

from __future__ import annotations

from dataclasses import dataclass


class SvError(Exception):
    """Anything that the user can fix; commands print it as one line and exit with status 1."""


class DataError(SvError):
    """A data directory, a table, a trial list or a score file is wrong."""


class ArchiveError(SvError):
    """An ark or scp file is damaged, of an unknown kind, or not what its index says."""


class AudioError(SvError):
    """A recording cannot be used."""


class ConfigError(SvError):
    """A configuration file or value is wrong."""


class ModelError(SvError):
    """A model folder or a checkpoint is missing, damaged or does not fit."""


class OutputError(SvError):
    """The place to write to is in use, belongs to something else or cannot be written."""


class TooManyBadError(SvError):
    """More utterances had to be skipped than --max-bad allows."""


# What taking fields out of foreign JSON can raise: values of other types, numbers beyond limits, nesting without end.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError)


@dataclass(frozen=True)
class Problem:
    """One finding of a check: where it is, what is wrong, and how to fix it."""

    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"; {self.fix}" if self.fix else "")


def shown(value: object, limit: int = 80) -> str:
    """`value` for a message: quoted, on one line, control characters escaped, cut to `limit` characters.

    >>> shown("a\\x1b[31m")
    "'a\\\\x1b[31m'"
    """
    text = str(value)
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    return ascii(cut) if any(not c.isprintable() for c in cut) else repr(cut)


def plain(value: object, limit: int = 200) -> str:
    """Like `shown` without the quotes, for ids and paths that are part of a sentence.

    >>> plain("spk1-u3")
    'spk1-u3'
    """
    return shown(value, limit)[1:-1]


def examples(names: list[str], limit: int = 3) -> str:
    """The first few names, and how the list goes on.

    >>> examples(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    return ", ".join(plain(name) for name in names[:limit]) + (", ..." if len(names) > limit else "")
