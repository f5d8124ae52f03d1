"""skipped.tsv: which utterances a command left out, and why; lines `utterance<TAB>command<TAB>reason`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sv_toolkit.errors import DataError, Problem, plain
from sv_toolkit.io.files import write_text
from sv_toolkit.io.tables import bounded, first_of, place

SKIPPED = "skipped.tsv"


def check_skipped(path: Path) -> tuple[list[tuple[str, str, str]], list[Problem]]:
    """The lines as (utterance, command, reason), and those that are something else; nothing where the file is absent."""
    lines, problems = [], []
    file = Path(path) / SKIPPED
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    for count, line in enumerate(text.splitlines(), 1):
        fields = line.split("\t")
        if len(fields) == 3:
            lines.append((fields[0], fields[1], fields[2]))
        else:
            what = f"expected 'utterance<TAB>command<TAB>reason', got {len(fields)} field{'s' if len(fields) > 1 else ''}"
            problems.append(Problem(place(file, count), what, "delete the file and run the command that wrote it again"))
    return lines, bounded(place(file), problems)


def read_skipped(path: Path) -> list[tuple[str, str, str]]:
    """The lines of `path`/skipped.tsv as (utterance, command, reason).

    Raises:
        DataError: a line is something else.
    """
    lines, problems = check_skipped(path)
    if problems:
        raise DataError(first_of(problems))
    return lines


def write_skipped(path: Path, command: str, skipped: Mapping[str, str]) -> None:
    """Replace what `command` says in skipped.tsv; other commands' lines stay; the file is there even if nothing was skipped."""
    lines = [line for line in read_skipped(path) if line[1] != command]
    lines += [(key, command, plain(reason, 1000)) for key, reason in skipped.items()]
    write_text(Path(path) / SKIPPED, "".join("\t".join(line) + "\n" for line in sorted(lines)))
