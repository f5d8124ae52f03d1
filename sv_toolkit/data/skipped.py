"""skipped.tsv: which utterances a command left out, and why; lines `utterance<TAB>command<TAB>reason`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from sv_toolkit.errors import DataError, Problem, plain
from sv_toolkit.features.registry import feature_commands
from sv_toolkit.io.files import write_text
from sv_toolkit.io.tables import bounded, first_of, place

SKIPPED = "skipped.tsv"
VAD_COMMAND = "sv-compute-vad"

Line = tuple[str, str, str]


def check_skipped(path: Path) -> tuple[list[Line], list[Problem]]:
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


def read_skipped(path: Path) -> list[Line]:
    """The lines of `path`/skipped.tsv as (utterance, command, reason).

    Raises:
        DataError: a line is something else.
    """
    lines, problems = check_skipped(path)
    if problems:
        raise DataError(first_of(problems))
    return lines


def left_out(lines: Iterable[Line], name: str, with_features: Container[str] = ()) -> set[str]:
    """Utterances that the table `name` may lack, by the lines of the commands that write it or what it is made of.

    Args:
        with_features: ids in feats.scp: a line that says there are none is out of date.
    """
    of_vad = {line[0] for line in lines if line[1] == VAD_COMMAND} if name == "vad.scp" else set()
    return of_vad | {line[0] for line in lines if line[1] in feature_commands() and line[0] not in with_features}


def write_skipped(path: Path, command: str, skipped: Mapping[str, str]) -> None:
    """Replace what `command`, or one that writes the same table, says in skipped.tsv; the file is there even if nothing was skipped.

    Lines of other commands stay.
    """
    replaced = feature_commands() if command in feature_commands() else {command}
    lines = [line for line in read_skipped(path) if line[1] not in replaced]
    lines += [(key, command, plain(reason, 1000)) for key, reason in skipped.items()]
    write_text(Path(path) / SKIPPED, "".join("\t".join(line) + "\n" for line in sorted(lines)))
