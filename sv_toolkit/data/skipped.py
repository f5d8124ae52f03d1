"""skipped.tsv: which utterances a command left out, and why; lines `utterance<TAB>command<TAB>reason`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sv_toolkit.errors import DataError, plain
from sv_toolkit.io.files import write_text
from sv_toolkit.io.tables import place

SKIPPED = "skipped.tsv"


def read_skipped(path: Path) -> list[tuple[str, str, str]]:
    """The lines of skipped.tsv as (utterance, command, reason); none where the file is absent."""
    lines = []
    file = Path(path) / SKIPPED
    if file.exists():
        for count, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            fields = line.split("\t")
            if len(fields) != 3:
                raise DataError(f"{place(file, count)}: expected 'utterance<TAB>command<TAB>reason', got {len(fields)} fields")
            lines.append((fields[0], fields[1], fields[2]))
    return lines


def write_skipped(path: Path, command: str, skipped: Mapping[str, str]) -> None:
    """Replace what `command` says in skipped.tsv; other commands' lines stay; the file is there even if nothing was skipped."""
    lines = [line for line in read_skipped(path) if line[1] != command]
    lines += [(key, command, plain(reason, 1000)) for key, reason in skipped.items()]
    write_text(Path(path) / SKIPPED, "".join("\t".join(line) + "\n" for line in sorted(lines)))
