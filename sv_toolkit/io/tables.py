"""Kaldi's tables: text files of `key value` lines, keys unique and sorted by bytes.

A clean file goes through a few passes at C speed; only a file that fails one of them is looked at line by
line, to say everything that is wrong with it.  The order of Python strings (by code point) and the order of
their UTF-8 bytes (`LC_ALL=C sort`) are the same, so keys are compared as strings.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sv_toolkit.errors import DataError, Problem, plain, shown
from sv_toolkit.io.files import CONTROL, regular_file, whole_file

BOM = b"\xef\xbb\xbf"
MAX_KEY_LENGTH = 10_000
MAX_PROBLEMS = 20
MAX_NULS = 16  # bytes of a table that may be NUL before it is binary data
_EXCERPT = 40  # characters of a foreign line that a message may quote
_BLANKS = re.compile("[ \t]+")


class Table(dict[str, str]):
    """The entries of one file, in its order; knows where each of them stands.

    Attributes:
        path: the file.
        lines: key -> line number, counted from 1.
        damaged: keys of lines that could not be understood; they are not among the entries.
    """

    def __init__(
        self, path: Path, entries: Mapping[str, str] | None = None, lines: dict[str, int] | None = None, damaged: Iterable[str] = ()
    ) -> None:
        super().__init__(entries or {})
        self.path = Path(path)
        self.damaged = set(damaged)
        self._lines = lines
        self._place = place(self.path)

    @property
    def lines(self) -> dict[str, int]:
        """Line numbers; made on first use, because a clean table of a million keys rarely needs them."""
        if self._lines is None:
            self._lines = {key: number for number, key in enumerate(self, 1)}
        return self._lines

    def where(self, key: str) -> str:
        """`path:line` of `key`, or the path alone for a key that is not there."""
        line = self.lines.get(key)
        return self._place if line is None else f"{self._place}:{line}"


@dataclass(frozen=True)
class Line:
    """One line of a table; `fault` says what is wrong with it by itself ("" for a good one), `fix` the way out."""

    number: int
    key: str
    value: str
    fault: str = ""
    fix: str = ""
    text: str = ""


@dataclass(frozen=True)
class Form:
    """How many fields a line has, the key included, and their names for messages."""

    min_fields: int = 2
    max_fields: int | None = None
    names: str = "key value"


def place(path: Path, line: int | None = None) -> str:
    """`path` or `path:line` for a message, on one line and escaped."""
    return plain(path, 1000) + (f":{line}" if line is not None else "")


def read_table(
    path: Path, *, sorted_by_bytes: bool = True, min_fields: int = 2, max_fields: int | None = None, names: str = "key value"
) -> Table:
    """The table at `path`.

    Raises:
        DataError: names the first problem and how many more there are.
    """
    table, problems = check_table(path, sorted_by_bytes=sorted_by_bytes, min_fields=min_fields, max_fields=max_fields, names=names)
    if problems:
        raise DataError(first_of(problems))
    return table


def first_of(problems: list[Problem]) -> str:
    """The first problem as a sentence, and the number of others."""
    more = len(problems) - 1
    return f"{problems[0]}" + (f" (and {more} more problem{'s' if more > 1 else ''})" if more else "")


def check_table(
    path: Path, *, sorted_by_bytes: bool = True, min_fields: int = 2, max_fields: int | None = None, names: str = "key value"
) -> tuple[Table, list[Problem]]:
    """The readable entries of the file, and everything that is wrong with it (at most about 20 problems, then a count).

    Args:
        min_fields: fewest fields of a line, the key included.
        max_fields: most fields; None where the value may hold spaces.
        names: the fields' names, for messages.
    """
    path = Path(path)
    form = Form(min_fields, max_fields, names)
    data = _read_bytes(path)
    if isinstance(data, Problem):
        return Table(path), [data]
    entries = _parse_clean(data, form, sorted_by_bytes)
    if entries is not None:
        return Table(path, entries), []
    return _diagnose(path, data, form, sorted_by_bytes)


def _read_bytes(path: Path) -> bytes | Problem:
    where = place(path)
    try:
        if path.is_dir():
            return Problem(where, "is a directory, a table file is needed")
        if not os.path.lexists(path):
            return Problem(where, "no such file")
        if not regular_file(path):
            return Problem(where, "is not a regular file (a device, a named pipe or a broken link)")
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return Problem(where, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    if not data.strip():
        return Problem(where, "is empty: no utterance, no entry", "make it anew")
    return data


def _parse_clean(data: bytes, form: Form, sorted_by_bytes: bool) -> dict[str, str] | None:
    """The entries of a file without any problem; None sends the caller to the slow diagnosis."""
    if not data.endswith(b"\n") or data.startswith(BOM):
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not text.replace("\n", "").replace("\t", "").isprintable():  # then blanks are space and tab alone
        return None
    lines = text.split("\n")
    lines.pop()
    pairs = [line.split(None, 1) for line in lines]
    if form.min_fields == 1:
        pairs = [pair if len(pair) == 2 else [*pair, ""] for pair in pairs]
    if any(len(pair) != 2 for pair in pairs) or not _fields_fit([pair[1] for pair in pairs], form):
        return None
    entries = {key: value.rstrip() for key, value in pairs}
    keys = list(entries)
    if len(keys) < len(pairs) or max(map(len, keys)) > MAX_KEY_LENGTH:
        return None
    if ".." in text and any(_climbs(key) for key in keys):
        return None
    return entries if not sorted_by_bytes or _is_sorted(keys) else None


def _fields_fit(values: list[str], form: Form) -> bool:
    if form.min_fields <= 2 and form.max_fields is None:
        return True
    most = form.max_fields or len(max(values, key=len))
    return all(form.min_fields <= 1 + len(value.split()) <= most for value in values)


def _is_sorted(keys: list[str]) -> bool:
    return all(map(operator.lt, keys, islice(keys, 1, None)))


def _climbs(key: str) -> bool:
    return ".." in key and ".." in key.split("/")


def parse_lines(data: bytes, form: Form) -> Iterator[Line]:
    """Every line of a table's bytes with what is wrong with it alone; CR before the line end and a BOM are passed over."""
    lines = data.removeprefix(BOM).split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, raw in enumerate(lines, 1):
        yield _parse_line(number, raw.removesuffix(b"\r"), form)


def _parse_line(number: int, raw: bytes, form: Form) -> Line:
    try:
        text = raw.decode("utf-8").strip(" \t")
    except UnicodeDecodeError as error:
        fault = f"not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line"
        return Line(number, "", "", fault, "convert the file, for example with iconv -f LATIN1 -t UTF-8")
    if not text:
        return Line(number, "", "", "blank line", "delete it")
    key, *rest = _BLANKS.split(text, maxsplit=1)
    value = rest[0] if rest else ""
    fault, fix = _fault_of(text, [key, *(_BLANKS.split(value) if rest else [])], form)
    return Line(number, key, value, fault, fix, text)


def _fault_of(text: str, fields: list[str], form: Form) -> tuple[str, str]:
    key = fields[0]
    ids = fields if form.max_fields is not None else [key]
    unclean = next((field for field in ids if not field.isprintable()), None)
    if unclean is not None:
        return f"control or other non-printable characters in the id {shown(unclean, _EXCERPT)}", "rename it"
    if CONTROL.search(text):
        return f"control characters in the value of {shown(key)}", "rename it"
    if len(fields) < form.min_fields or len(fields) > (form.max_fields or len(fields)):
        many = f"{len(fields)} field{'s' if len(fields) > 1 else ''}"
        return f"expected '{form.names}', got {many}", ""
    if len(key) > MAX_KEY_LENGTH:
        return f"an id of {len(key)} characters, at most {MAX_KEY_LENGTH} are allowed", "rename it"
    if _climbs(key):
        return f"'..' is not allowed in ids, got {shown(key)}", "rename it"
    return "", ""


def looks_binary(data: bytes) -> bool:
    """True for bytes that were never text: NULs, or many control bytes at the start."""
    head = data[: 1 << 16]
    control = len(head) - len(head.translate(None, delete=bytes([*range(8), *range(14, 27), *range(28, 32), 127])))
    return b"\0" in data or control > len(head) // 20


def _diagnose(path: Path, data: bytes, form: Form, sorted_by_bytes: bool) -> tuple[Table, list[Problem]]:
    where = place(path)
    if looks_binary(data.replace(b"\0", b"")) or data.count(b"\0") > MAX_NULS:
        return Table(path), [Problem(f"{where}:1", "binary data, a text table is needed", "is this the right file?")]
    if b"\0" in data:
        number = data.count(b"\n", 0, data.index(b"\0")) + 1
        what = f"a NUL byte ({data.count(0)} in the file): written by a program that crashed, or a damaged disk?"
        return Table(path), [Problem(f"{where}:{number}", what, "make the file anew, or correct this line")]
    problems = _file_problems(where, data)
    entries: dict[str, str] = {}
    numbers: dict[str, int] = {}
    damaged: list[str] = []
    previous = ""
    for line in parse_lines(data, form):
        if line.fault:
            quote = f": {shown(line.text, _EXCERPT)}" if line.text and not damaged else ""  # one: a foreign file is not poured into a log
            problems.append(Problem(f"{where}:{line.number}", line.fault + quote, line.fix))
            damaged.append(line.key)
            continue
        if line.key in entries:
            problems.append(_duplicate(where, line, numbers[line.key], line.value == entries[line.key]))
        elif sorted_by_bytes and line.key < previous:
            what = f"not sorted by bytes: {shown(line.key)} stands after {shown(previous)}"
            problems.append(Problem(f"{where}:{line.number}", what, f"LC_ALL=C sort -o {where} {where}, or sv-fix-data"))
            sorted_by_bytes = False  # the first offending line is enough
        previous = line.key
        entries.setdefault(line.key, line.value)
        numbers.setdefault(line.key, line.number)
    return Table(path, entries, numbers, damaged), bounded(where, problems)


def _duplicate(where: str, line: Line, first: int, same: bool) -> Problem:
    what = f"duplicate id {shown(line.key)}: it stands in line {first} already, with {'the same' if same else 'another'} value"
    fix = "delete one of the lines, or sv-fix-data" if same else "decide which line is right; sv-fix-data drops them all"
    return Problem(f"{where}:{line.number}", what, fix)


def _file_problems(where: str, data: bytes) -> list[Problem]:
    problems = []
    if data.startswith(BOM):
        problems.append(Problem(f"{where}:1", "starts with a byte order mark (BOM)", f"sed -i '1s/^\\xef\\xbb\\xbf//' {where}"))
    num_crlf = data.count(b"\r\n")
    if num_crlf:
        first = data[: data.index(b"\r\n")].count(b"\n") + 1
        what = f"Windows line ends (CRLF: a carriage return before the newline), in {num_crlf} lines"
        problems.append(Problem(f"{where}:{first}", what, f"sed -i 's/\\r$//' {where}"))
    if not data.endswith(b"\n"):
        what = "no newline at the end: the file may have been cut while it was written"
        problems.append(Problem(f"{where}:{data.count(10) + 1}", what, "make it anew, or add the newline if the last line is whole"))
    return problems


def bounded(where: str, problems: list[Problem]) -> list[Problem]:
    """The first problems, and how many more there are."""
    if len(problems) <= MAX_PROBLEMS:
        return problems
    return [*problems[:MAX_PROBLEMS], Problem(where, f"and {len(problems) - MAX_PROBLEMS} more problems like these")]


def format_table(entries: Mapping[str, str]) -> str:
    """The lines of a table, sorted by bytes, each with its newline.

    Raises:
        ValueError: a key that is not one word, or a value with line ends: the file would read back as something else.
    """
    for key, value in entries.items():
        if len(key.split()) != 1 or key != key.strip() or value != value.strip(" \t") or CONTROL.search(value):
            raise ValueError(f"cannot write the table entry {shown(key)} -> {shown(value)}")
    return "".join(f"{key} {entries[key]}".rstrip(" \t") + "\n" for key in sorted(entries))


def write_table(path: Path, entries: Mapping[str, str]) -> None:
    """Write `entries` sorted by bytes; the file is whole or absent."""
    with whole_file(Path(path)) as stream:
        stream.write(format_table(entries))
