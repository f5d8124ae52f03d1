"""Rows of RESULTS.md: a result, what it was measured on, and how to get it again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from sv_toolkit.errors import plain
from sv_toolkit.reporting.provenance import Provenance
from sv_toolkit.reporting.results import ALL, Evaluation, Results, percent

ROW_HEADER = (
    "| system | EER [95 % interval] | minDCF | trials | commit | date | hardware | wall time | command |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def markdown_rows(name: str, results: Results, provenance: Provenance) -> list[str]:
    """Lines under `ROW_HEADER`, one per condition."""
    return [_row(name if condition == ALL else f"{name}, {condition}", found, provenance) for condition, found in results.items()]


def append_rows(path: Path, rows: Sequence[str], header: str = ROW_HEADER) -> None:
    """Add rows to the end of a file, under a `header` of their own unless a table with the same one ends there.

    One write, so that recipes that run side by side do not mix their lines.
    """
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    lines = text.splitlines()
    head = [] if _ends_in_rows(lines, header) else ([""] if lines else []) + [header]
    start = "" if not text or text.endswith("\n") else "\n"
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(start + "".join(f"{line}\n" for line in [*head, *rows]))


def _ends_in_rows(lines: Sequence[str], header: str) -> bool:
    """Whether the last table of a file, which ends it, has this header: rows under another would lose their cells."""
    table = list(itertools.takewhile(lambda line: line.startswith("|"), reversed(lines)))
    return header.splitlines() == table[:-3:-1]


def cell_text(text: str) -> str:
    """A text that cannot break out of its cell, nor hold markup of a page."""
    return _on_one_line(plain(text, 400)).replace("<", "&lt;")


def code_text(command: str) -> str:
    """A command between backticks, on one line, with none inside that would end it."""
    return f"`{' '.join(command.replace('`', '').split())}`"


def _row(name: str, evaluation: Evaluation, provenance: Provenance) -> str:
    trials = f"{evaluation.num_targets} target / {evaluation.num_nontargets} nontarget, {evaluation.list_hash}"
    command = code_text(provenance.command) if provenance.command else ""
    made = [provenance.commit, provenance.date, provenance.hardware, provenance.wall_time, command]
    cells = [cell_text(name), *map(_on_one_line, [_rate(evaluation), _costs(evaluation), trials, *made])]
    return "| " + " | ".join(cells) + " |"


def _on_one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _rate(evaluation: Evaluation) -> str:
    if evaluation.eer is None:
        return "not defined"
    if evaluation.eer.interval is None:
        return f"{percent(evaluation.eer)}, no interval: {evaluation.no_interval}"
    return percent(evaluation.eer)


def _costs(evaluation: Evaluation) -> str:
    """minDCF, and of calibrated scores what they cost and the bits they lose."""
    least = ", ".join(f"{measured.value:.3f} ({label})" for label, measured in evaluation.min_dcf.items())
    if not evaluation.actual_dcf:
        return least
    actual = ", ".join(f"{value:.3f} ({label})" for label, value in evaluation.actual_dcf.items())
    return "; ".join([least, f"actDCF {actual}", ", ".join(f"{label} {value:.4f}" for label, value in evaluation.bits.items())])
